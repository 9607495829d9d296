"""Who is looking: the cookie that stands for a person, and how it is come by.

A browser keeps what it was given at the login in one cookie: ``HttpOnly`` (no script reads it), ``SameSite=Strict`` (no
other site's page makes the browser send it). Whoever may mint tokens trades theirs for a minted one that expires, speaks
with the authority of a person and is bound to the name they gave; any other token is kept and used as it is, with its
own powers. The cookie counts for the pages of the dashboard only, never below ``/api``.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from quart import Response, request

from trio_relay.core.access import Principal, Scope
from trio_relay.core.integrations import by_token
from trio_relay.core.model import MAILBOX_RIG, AgentStatus, Authority
from trio_relay.core.targets import check_agent_id
from trio_relay.core.wire import AgentRegistration
from trio_relay.core.wire_access import TokenRequest
from trio_relay.errors import Conflict, FieldError, Invalid, NotFound, Refused, Unauthorized
from trio_relay.relay.credentials import caller
from trio_relay.relay.operations import agents, tokens
from trio_relay.relay.service import RelayService

COOKIE = "trio_relay_session"
#: How long a login holds, ms.
LIFETIME = 7 * 86_400_000
#: A mailbox is seen to again after so many ms of its person looking: one nobody looks at is removed in the end.
TOUCH_EVERY = 600_000
_MINTED, _GIVEN = "m", "g"
_MAX_NAME = 60


@dataclass(frozen=True, slots=True)
class Person:
    """Who looks at the dashboard: the name they write as, and what their credential allows."""

    name: str
    principal: Principal

    def may(self, scope: str) -> bool:
        """Whether their credential allows things of this scope."""
        return self.principal.allows(Scope(scope))

    @property
    def decides(self) -> bool:
        """Whether they may decide what waits for a person."""
        return self.principal.authority is Authority.HUMAN or self.principal.allows(Scope.ADMIN)


@dataclass(frozen=True, slots=True)
class Session:
    """What the cookie holds. `minted`: the token is the dashboard's own, to be revoked at the end."""

    token: str
    name: str
    minted: bool

    @property
    def cookie(self) -> str:
        """The session as it stands in the cookie."""
        name = urlsafe_b64encode(self.name.encode()).decode()
        return f"{_MINTED if self.minted else _GIVEN}.{name}.{self.token}"


#: Who looks, in this request.
person: ContextVar[Person] = ContextVar("person")


def session_of_request() -> Session | None:
    """Read the cookie of the present request; None without one of ours."""
    kind, _, rest = request.cookies.get(COOKIE, "").partition(".")
    name, _, token = rest.partition(".")
    if kind not in (_MINTED, _GIVEN) or not token:
        return None
    try:
        said = urlsafe_b64decode(name).decode()
    except ValueError:  # not base64, or not text
        return None
    return Session(token, said, minted=kind == _MINTED) if said else None


async def recognise(service: RelayService) -> Person | None:
    """Tell who sent the present request; None: nobody we know."""
    session = session_of_request()
    if session is None:
        return None
    try:
        principal = await service.authenticate(session.token)
    except Unauthorized:
        return None
    if session.minted and principal.agent_id is None:
        return None  # an open relay takes any word for a token, but minted it was not
    return Person(principal.agent_id or session.name, principal)


async def log_in(service: RelayService, token: str | None, name: str) -> Session:
    """Trade a token (None: an open relay asks for none) for a session of `name`.

    Raises:
        Invalid: the name cannot be one.
        Unauthorized: the token does not count.
        Refused: it is the token of an integration (``integration_only``).
        Conflict: an agent goes by this name.

    """
    name = plain_name(name)
    if token and by_token(service.settings.integrations, token) is not None:
        raise Refused("this token is an integration's: it is not for people", code="integration_only")
    principal = await service.authenticate(token or None)
    caller.set(principal)
    if not principal.allows(Scope.ADMIN):
        return Session(token or "", principal.agent_id or name, minted=False)
    await keep_mailbox(service, name)
    request = TokenRequest(
        name=f"dashboard: {name}",
        agent_id=name,
        scopes=[Scope.ADMIN],
        authority=Authority.HUMAN,
        ttl_ms=LIFETIME,
    )
    minted = await service.write(tokens.mint, request)
    return Session(minted.token, name, minted=True)


async def log_out(service: RelayService) -> None:
    """End the session of the present request; a token it was given stays what it was."""
    who = await recognise(service)
    session = session_of_request()
    if who is None or session is None or not session.minted:
        return
    caller.set(who.principal)
    await service.write(tokens.revoke, int(who.principal.name.removeprefix("token ")))
    service.credentials.forget()


async def keep_mailbox(service: RelayService, name: str) -> None:
    """Have a mailbox for a person, so that agents can answer; one that is there is seen to be in use.

    Raises:
        Conflict: an agent that is no mailbox goes by this name (``name_taken``).

    """
    try:
        present = await service.read(agents.get_agent, name)
    except NotFound:
        present = None
    if present is not None and present.rig != MAILBOX_RIG:
        raise Conflict(
            f"an agent here is called {name}",
            code="name_taken",
            fields=(FieldError("name", "expected a name no agent has"),),
        )
    kept: dict[str, Any] = (
        {}
        if present is None
        else {"tags": present.tags, "capabilities": present.capabilities, "meta": present.meta}
    )
    await service.write(
        agents.register,
        AgentRegistration(
            id=name, name=name, rig=MAILBOX_RIG, status=AgentStatus.OFFLINE, ready=False, **kept
        ),
    )


def plain_name(given: str) -> str:
    """A person's name as an address: without white space.

    Raises:
        Invalid: nothing is left, or it reads as a target.

    """
    name = re.sub(r"\s+", "-", given.strip())
    if not name or len(name) > _MAX_NAME:
        expected = FieldError("name", f"expected 1 to {_MAX_NAME} characters")
        raise Invalid("give the name under which you write", fields=(expected,))
    check_agent_id(name)
    return name


def set_cookie(response: Response, session: Session) -> None:
    """Have the browser keep a session."""
    response.set_cookie(
        COOKIE,
        session.cookie,
        max_age=LIFETIME // 1000,
        httponly=True,
        samesite="Strict",
        secure=is_https(),
    )


def drop_cookie(response: Response) -> None:
    """Have the browser forget it."""
    response.delete_cookie(COOKIE, httponly=True, samesite="Strict", secure=is_https())


def is_https() -> bool:
    """Whether the browser speaks TLS, to us or to the proxy before us."""
    return request.is_secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"
