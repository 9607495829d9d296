"""The frame every page hangs in: templates, navigation, what a live page asks for again, forms, errors as sentences.

A page is one template that extends ``layout.html``. Asked for with the header ``X-Regions`` it answers with those of its
regions only: same view, same template, without the frame around. So a view asks `wants` before it reads what only one
region needs.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec
from urllib.parse import parse_qs, quote, unquote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from quart import Response, g, request

from trio_relay import __version__
from trio_relay.core.access import Scope
from trio_relay.core.model import Authority
from trio_relay.errors import Invalid, RelayError
from trio_relay.relay.operations import board
from trio_relay.relay.service import RelayService
from trio_relay.relay.web.dashboard import words
from trio_relay.relay.web.dashboard.assets import asset
from trio_relay.relay.web.dashboard.navigation import NAVIGATION
from trio_relay.relay.web.dashboard.session import TOUCH_EVERY, Person, keep_mailbox, person
from trio_relay.relay.web.problems import status_of

P = ParamSpec("P")
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Vary": "Cookie, X-Regions",
}
THEMES = ("dark", "light")
#: Holds one sentence from a change to the page after it.
_SAID = "trio_relay_said"
_MAX_FORM_FIELDS = 200
#: What agents are called is looked up again after so many ms.
NAMES_FOR = 2_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What a list is asked for again: the rows that changed, and what is newer than `after`."""

    keys: tuple[str, ...]
    after: int | None


def wants(*regions: str) -> bool:
    """Whether the present request asks for one of these regions; a whole page is made of all of them."""
    asked = request.headers.get("X-Regions")
    return asked is None or not set(regions).isdisjoint(asked.replace(",", " ").split())


def is_fragment() -> bool:
    """Whether regions are asked for and not a page."""
    return "X-Regions" in request.headers


def asked() -> Asked | None:
    """Which rows of a list the present request is about; None: the list as it is.

    ``X-Keys``: the rows it shows that have changed. ``X-After``: the newest it shows.
    """
    keys, after = request.headers.get("X-Keys"), number(request.headers.get("X-After"))
    if keys is None and after is None:
        return None
    return Asked(tuple((keys or "").split()[:200]), after)


def numbers(keys: tuple[str, ...], kind: str) -> list[int]:
    """The ids in keys of one kind: ``message:5`` → 5."""
    found = (number(key.removeprefix(f"{kind}:")) for key in keys if key.startswith(f"{kind}:"))
    return [each for each in found if each is not None]


def number(text: str | None) -> int | None:
    """An id as a page's address or form says it; None: none, or none of ours."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= 18 else None


async def form() -> dict[str, str]:
    """The fields of a submitted form.

    Raises:
        Invalid: it is none (code ``not_a_form``).

    """
    if request.mimetype != "application/x-www-form-urlencoded":
        raise Invalid("this page takes forms only", code="not_a_form")
    raw: bytes = await request.get_data(parse_form_data=False)  # type: ignore[assignment]  # as_text is False
    try:
        fields = parse_qs(
            raw.decode(), keep_blank_values=True, max_num_fields=_MAX_FORM_FIELDS, errors="strict"
        )
    except (ValueError, UnicodeDecodeError):
        raise Invalid("the form cannot be read", code="not_a_form") from None
    return {name: values[-1].replace("\r\n", "\n") for name, values in fields.items()}


def go(path: str, *, said: str | None = None) -> Response:
    """Send the browser to a page of ours after a change; `said` is shown there once."""
    response = Response(b"", status=303, headers={"Location": path, "Cache-Control": "no-store"})
    if said is not None:
        response.set_cookie(_SAID, quote(said[:500]), max_age=30, httponly=True, samesite="Strict")
    return response


def inner_path(path: str | None) -> str:
    """A path on this server to go to; whatever else was given becomes the first page."""
    if (
        not path
        or not path.startswith("/")
        or path.startswith(("//", "/\\", "/log"))
        or not path.isprintable()
    ):
        return "/"
    return path


class Frame:
    """Renders pages. One a relay."""

    def __init__(self, service: RelayService) -> None:
        self.service = service
        #: What agents are called, as it was a moment ago.
        self._names: dict[str, str] = {}
        self._names_at = -NAMES_FOR
        #: When the mailbox of each person was seen to.
        self._kept: dict[str, int] = {}
        self.templates = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self.templates.globals.update(
            wants=wants,
            asset=asset,
            navigation=NAVIGATION,
            version=__version__,
            person=lambda: person.get(None),
            rungs=words.RUNGS,
            meanings=words.MEANINGS,
            now=service.now,
            name_of=lambda agent_id: self._names.get(agent_id, agent_id),
        )
        self.templates.filters.update(
            ago=lambda at: words.ago(at, service.now()),
            when=lambda at: words.when(at, service.now()),
            clock=words.clock,
            span=words.span,
            condition=words.condition,
            shown_name=words.shown_name,
            excerpt=words.excerpt,
            left=lambda until: words.left(until, service.now()),
            thousands=words.thousands,
            minute=words.minute,
        )

    async def show(self, template: str, *, title: str, here: str, status: int = 200, **data: Any) -> Response:
        """Answer with a page, or with the regions of it that are asked for.

        `title` says in a few words what the page shows; `here` is its key in the navigation.
        """
        said = request.cookies.get(_SAID)
        counts: dict[str, int] = {}
        who = person.get(None)
        if who is not None and wants("counts") and who.may(Scope.OBSERVE):
            counts = await self.service.read(board.counts, who.name)
        if who is not None:
            await self._keep_mailbox(who)
        if who is not None and self._names_at + NAMES_FOR <= self.service.now():
            self._names, self._names_at = await self.service.read(board.names), self.service.now()
        html = self.templates.get_template(template).render(
            layout="fragment.html" if is_fragment() else "layout.html",
            title=title,
            here=here,
            counts=counts,
            said=None if said is None else unquote(said),
            log_end=g.get("log_end"),
            theme=theme(),
            path=request.full_path.rstrip("?"),
            **data,
        )
        response = Response(html, status=status, headers=HEADERS)
        if said is not None:
            response.delete_cookie(_SAID)
        return response

    async def _keep_mailbox(self, who: Person) -> None:
        """See to the mailbox of somebody who looks: one that nobody uses is removed in the end."""
        now = self.service.now()
        bound = who.principal.authority is Authority.HUMAN and who.principal.agent_id == who.name
        if bound and not is_fragment() and self._kept.get(who.name, now - TOUCH_EVERY) <= now - TOUCH_EVERY:
            with suppress(RelayError):  # not the page's matter
                await keep_mailbox(self.service, who.name)
            self._kept[who.name] = now

    async def fault(self, error: RelayError) -> Response:
        """Answer with what went wrong, as a sentence."""
        return await self.show(
            "fault.html", title="That did not work", here="", status=status_of(error), error=error
        )


def theme() -> str:
    """What the reader has chosen, ``dark`` or ``light``; empty: what their system says."""
    chosen = request.cookies.get("trio_relay_theme", "")
    return chosen if chosen in THEMES else ""


def page(
    *scopes: Scope, decides: bool = False
) -> Callable[[Callable[P, Awaitable[Response]]], Callable[P, Awaitable[Response]]]:
    """Mark a view: who looks needs one of `scopes`; with `decides`, the right to decide what waits for a person.

    Raises:
        Refused: they lack it (``scope_missing``).

    """

    def decorate(view: Callable[P, Awaitable[Response]]) -> Callable[P, Awaitable[Response]]:
        @wraps(view)
        async def checked(*args: P.args, **kwargs: P.kwargs) -> Response:
            who = person.get()
            if decides and not who.decides:
                who.principal.check_scope(Scope.ADMIN)
            who.principal.check_scope(*scopes)
            return await view(*args, **kwargs)

        return checked

    return decorate
