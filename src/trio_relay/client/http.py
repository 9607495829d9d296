"""The relay over HTTP: one method an API call, errors mapped once. The only module that knows the HTTP library.

Every call is bounded. What the relay refuses arrives as the same error class the relay raised; whatever is the
weather's fault (no connection, no answer in time, a 5xx) arrives as `ConnectionLost`, and may be tried again: writes
that matter carry an idempotency key or a session.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import quote

import httpx2
import msgspec
import trio

from trio_relay.core.model import AgentStatus, Rung
from trio_relay.core.wire import (
    Agent,
    AgentRegistration,
    ClaimedMessage,
    ClaimRequest,
    Cursor,
    InboxMessage,
    LabelChange,
    Message,
    Problem,
    ReadMark,
    ReadyChange,
    Receipt,
    ReceiptReport,
    SendRequest,
    SentMessage,
    SessionFields,
    Stats,
    StatusChange,
    TagsChange,
)
from trio_relay.core.wire_access import Caller
from trio_relay.errors import (
    Conflict,
    ConnectionLost,
    FieldError,
    Invalid,
    LeaseLost,
    NotFound,
    RateLimited,
    Refused,
    RelayError,
    StaleInstance,
    Unauthorized,
)

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode
_BY_CODE: dict[str, type[RelayError]] = {
    "stale_instance": StaleInstance,
    "session_required": StaleInstance,
    "lease_lost": LeaseLost,
}
_BY_STATUS: dict[int, type[RelayError]] = {401: Unauthorized, 403: Refused, 404: NotFound, 409: Conflict}
#: The server closes idle connections after 75 s; closing ours first avoids writing into a closing one.
_KEEPALIVE = 5.0


class RelayClient:
    """A relay, as a client sees it. Use `RelayClient.open`."""

    def __init__(self, http: httpx2.AsyncClient, url: str, timeout: float) -> None:
        self.url = url
        self._http = http
        self._timeout = timeout

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str,
        token: str | None = None,
        timeout: float = 10.0,  # noqa: ASYNC109  # bounds every later call, not this one
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> AsyncIterator["RelayClient"]:
        """Talk to the relay at `url`; each call is given `timeout` seconds, beside what it is asked to wait.

        Raises:
            Invalid: `url` or `token` cannot be meant (codes ``bad_url``, ``bad_token``).

        """
        _check_url(url)
        headers = {"Accept": "application/json"}
        if token is not None:
            if not (token.isascii() and token.isprintable()):
                raise Invalid("the token holds characters that no header can carry", code="bad_token")
            headers["X-Agent-Relay-Token"] = token
        limits = httpx2.Limits(
            max_connections=None, max_keepalive_connections=50, keepalive_expiry=_KEEPALIVE
        )
        async with httpx2.AsyncClient(
            base_url=url, headers=headers, timeout=None, limits=limits, transport=transport, trust_env=False
        ) as http:
            yield cls(http, url, timeout)

    @classmethod
    def inside(
        cls, app: Callable[..., Awaitable[None]], token: str | None
    ) -> AbstractAsyncContextManager["RelayClient"]:
        """Talk to the relay served by `app` in this very process, as whoever holds `token`."""
        transport = httpx2.ASGITransport(app)
        return cls.open("http://127.0.0.1", token, transport=transport)

    async def whoami(self) -> Caller:
        """Who this client is to the relay: what its token may do, and the agent it is bound to."""
        return await self.call("GET", "/api/whoami", Caller)

    # Agents

    async def register(self, registration: AgentRegistration) -> Agent:
        """Register an agent, or register it again; the answer carries the epoch."""
        return await self.call("POST", "/api/agents", Agent, body=registration)

    async def heartbeat(self, agent_id: str, session: SessionFields | None = None) -> Agent:
        """Say that the agent lives."""
        return await self.call(
            "POST", f"{_agent(agent_id)}/heartbeat", Agent, body=session or SessionFields()
        )

    async def set_status(
        self, agent_id: str, status: AgentStatus, session: SessionFields | None = None
    ) -> Agent:
        """Say what the agent is doing."""
        body = StatusChange(status=status, **_fields(session))
        return await self.call("PATCH", f"{_agent(agent_id)}/status", Agent, body=body)

    async def set_ready(
        self, agent_id: str, ready: bool, session: SessionFields | None = None, reason: str | None = None
    ) -> Agent:
        """Say whether the agent can take messages, and if not, why."""
        body = ReadyChange(ready=ready, reason=reason, **_fields(session))
        return await self.call("PATCH", f"{_agent(agent_id)}/ready", Agent, body=body)

    async def set_label(self, agent_id: str, label: str | None) -> Agent:
        """Set the agent's label; None clears it."""
        return await self.call("PATCH", f"{_agent(agent_id)}/label", Agent, body=LabelChange(label=label))

    async def set_tags(
        self,
        agent_id: str,
        tags: Sequence[str] | None = None,
        *,
        add: Sequence[str] = (),
        remove: Sequence[str] = (),
    ) -> Agent:
        """Replace the agent's tags, or add and remove some."""
        body = TagsChange(tags=None if tags is None else list(tags), add=list(add), remove=list(remove))
        return await self.call("PATCH", f"{_agent(agent_id)}/tags", Agent, body=body)

    async def agents(self, **filters: Any) -> list[Agent]:
        """Everyone who matches the filters (status, tag, cap, label, machine, ready, thread)."""
        return await self.call("GET", "/api/agents", list[Agent], query=filters)

    async def agent(self, agent_id: str) -> Agent:
        """One agent."""
        return await self.call("GET", _agent(agent_id), Agent)

    async def remove_agent(self, agent_id: str) -> None:
        """Remove an agent."""
        await self.call("DELETE", _agent(agent_id), dict[str, Any])

    # Messages

    async def send(self, request: SendRequest) -> SentMessage:
        """Send a message. When this returns the message is durable, and the verdicts say who gets it."""
        return await self.call("POST", "/api/messages", SentMessage, body=request)

    async def inbox(
        self,
        agent_id: str,
        *,
        unread: bool = True,
        since_id: int | None = None,
        after_seq: int | None = None,
        state: Rung | None = None,
        wait: float | None = None,
        limit: int = 100,
        watch: Iterable[int] = (),
    ) -> list[InboxMessage]:
        """What is in the inbox, oldest first; with `wait` seconds (at most 60), once there is something.

        Before that, those of the messages in `watch` (about a hundred, at most) that have lost their point.
        """
        query = {
            "for": agent_id,
            "unread": unread,
            "sinceId": since_id,
            "afterSeq": after_seq,
            "state": state,
            "wait": wait,
            "limit": limit,
            "watch": ",".join(map(str, watch)) or None,
        }
        return await self.call("GET", "/api/messages", list[InboxMessage], query=query, patience=wait or 0.0)

    async def browse(self, **filters: Any) -> list[Message]:
        """History, newest first (filters from, to, channel, thread, before, limit)."""
        return await self.call("GET", "/api/messages", list[Message], query=filters)

    async def cursor(self) -> Cursor:
        """The newest message id and arrival number."""
        return await self.call("GET", "/api/messages/cursor", Cursor)

    async def message(self, message_id: int) -> Message:
        """One message."""
        return await self.call("GET", _message(message_id), Message)

    async def thread(self, message_id: int) -> list[Message]:
        """The whole reply chain of a message, oldest first."""
        return await self.call("GET", f"{_message(message_id)}/thread", list[Message])

    async def mark_read(
        self, message_id: int, agent_id: str, session: SessionFields | None = None
    ) -> Message:
        """Say that this recipient is done with a message."""
        body = ReadMark(read_by=agent_id, **_fields(session))
        return await self.call("PATCH", _message(message_id), Message, body=body)

    async def delete(self, message_id: int) -> None:
        """Remove a message from history."""
        await self.call("DELETE", _message(message_id), dict[str, Any])

    # Receipts and claims

    async def receipts(self, message_id: int) -> list[Receipt]:
        """The delivery ladder of every recipient."""
        return await self.call("GET", f"{_message(message_id)}/receipts", list[Receipt])

    async def report(
        self,
        message_id: int,
        agent_id: str,
        state: Rung,
        evidence: dict[str, Any],
        session: SessionFields | None = None,
    ) -> Receipt:
        """Report a rung that was seen; repeating a report is safe."""
        body = ReceiptReport(agent_id=agent_id, state=state, evidence=evidence, **_fields(session))
        return await self.call("POST", f"{_message(message_id)}/receipts", Receipt, body=body)

    async def claim(
        self,
        message_id: int,
        agent_id: str,
        session: SessionFields | None = None,
        ttl_ms: int | None = None,
    ) -> ClaimedMessage:
        """Claim a message; the holder that asks again gets its own lease back, for `ttl_ms` from now."""
        body = ClaimRequest(agent_id=agent_id, ttl_ms=ttl_ms, **_fields(session))
        return await self.call("POST", f"{_message(message_id)}/claim", ClaimedMessage, body=body)

    async def renew(
        self, message_id: int, agent_id: str, lease_token: str, session: SessionFields | None = None
    ) -> ClaimedMessage:
        """Keep a claim."""
        body = ClaimRequest(agent_id=agent_id, lease_token=lease_token, **_fields(session))
        return await self.call("POST", f"{_message(message_id)}/claim/renew", ClaimedMessage, body=body)

    async def release(
        self, message_id: int, agent_id: str, lease_token: str | None, session: SessionFields | None = None
    ) -> Message:
        """Give a claim back; without its token the holder's name and session decide."""
        body = ClaimRequest(agent_id=agent_id, lease_token=lease_token, **_fields(session))
        return await self.call("POST", f"{_message(message_id)}/claim/release", Message, body=body)

    async def complete(
        self,
        message_id: int,
        agent_id: str,
        lease_token: str | None,
        result: Any = None,
        session: SessionFields | None = None,
    ) -> Message:
        """Complete the claimed work; without its token the holder's name and session decide."""
        body = ClaimRequest(agent_id=agent_id, lease_token=lease_token, result=result, **_fields(session))
        return await self.call("POST", f"{_message(message_id)}/claim/complete", Message, body=body)

    # The relay itself

    async def stats(self) -> Stats:
        """Counts, version, uptime."""
        return await self.call("GET", "/api/stats", Stats)

    async def ready(self) -> bool:
        """Whether the relay can serve now."""
        try:
            await self.call("GET", "/readyz", dict[str, Any])
        except ConnectionLost:
            return False
        return True

    async def call(
        self,
        method: str,
        path: str,
        answer: type[T],
        *,
        body: msgspec.Struct | None = None,
        query: dict[str, Any] | None = None,
        patience: float = 0.0,
    ) -> T:
        """Make one call: what every method above does, for the parts of the API that have no method here.

        Raises:
            ConnectionLost: no connection, no answer within the time-out and `patience` seconds, or a 5xx.
            RelayError: what the relay refuses, as the class it raised there.

        """
        parameters = {name: _word(value) for name, value in (query or {}).items() if value is not None}
        headers = {"Content-Type": "application/json"} if body is not None else None
        content = _without_nulls(body) if body is not None else None
        try:
            with trio.fail_after(self._timeout + patience):
                response = await self._http.request(
                    method, path, params=parameters, content=content, headers=headers
                )
        except trio.TooSlowError:
            raise ConnectionLost(f"the relay at {self.url} did not answer in time", code="timeout") from None
        except httpx2.TransportError as error:
            raise ConnectionLost(
                f"the relay at {self.url} cannot be reached ({type(error).__name__})"
            ) from error
        if response.is_success:
            try:
                return msgspec.json.decode(response.content, type=answer)
            except (msgspec.DecodeError, UnicodeDecodeError):
                raise ConnectionLost(
                    f"what answers at {self.url} is not a relay", code="not_a_relay"
                ) from None
        raise _error_of(response, self.url)


def _check_url(url: str) -> None:
    try:
        address = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise Invalid(f"{url!r} is not a relay URL: {error}", code="bad_url") from None
    if address.scheme not in {"http", "https"} or not address.host:
        raise Invalid(f"{url!r} is not a relay URL: expected http://HOST:PORT", code="bad_url")


def _error_of(response: httpx2.Response, url: str) -> RelayError:
    """The error the relay raised, from its problem document."""
    try:
        document = msgspec.json.decode(response.content, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        document = Problem(title="", status=response.status_code)
    detail = document.detail or f"the relay at {url} answered {response.status_code}"
    if response.status_code >= 500 or response.status_code == 408:
        return ConnectionLost(detail, code=document.code or "server_error")
    if response.status_code == 429:
        wait = response.headers.get("Retry-After", "")
        return RateLimited(
            detail, retry_after=float(wait) if wait.isdecimal() else 1.0, code=document.code or None
        )
    kind = _BY_CODE.get(document.code) or _BY_STATUS.get(response.status_code, Invalid)
    fields = tuple(FieldError(each.get("path", ""), each.get("message", "")) for each in document.errors)
    return kind(detail, code=document.code or None, fields=fields)


def _without_nulls(body: msgspec.Struct) -> bytes:
    """Encode a request; fields left unset stay out, except a label, where null means: clear it."""
    if isinstance(body, LabelChange):
        return _encode(body)
    return _encode({name: value for name, value in msgspec.to_builtins(body).items() if value is not None})


def _fields(session: SessionFields | None) -> dict[str, Any]:
    return {} if session is None else {"instance_id": session.instance_id, "epoch": session.epoch}


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _agent(agent_id: str) -> str:
    return f"/api/agents/{quote(agent_id, safe='')}"


def _message(message_id: int) -> str:
    return f"/api/messages/{message_id}"
