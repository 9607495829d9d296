"""``/login`` and ``/logout``, and ``/theme``: open to everybody, from our own pages only."""

from urllib.parse import quote

import trio
from quart import Blueprint, Response, request

from trio_relay.core.rates import SlidingWindow
from trio_relay.errors import RateLimited, RelayError
from trio_relay.relay.web.dashboard.frame import HEADERS, THEMES, Frame, form, go, inner_path
from trio_relay.relay.web.dashboard.session import (
    drop_cookie,
    log_in,
    log_out,
    recognise,
    set_cookie,
)
from trio_relay.relay.web.problems import status_of

#: So many attempts in so many seconds, of everybody together: a token has far too many digits to be guessed at this pace.
ATTEMPTS, SPAN = 20, 60.0
#: The name of the blueprint.
ENTRANCE = "entrance"
#: A link on another site brings no cookie along (SameSite=Strict). A page of our own that goes on by itself does.
_AGAIN = '<!doctype html><meta charset="utf-8"><title>trio-relay</title><meta http-equiv="refresh" content="0;url={}">'


def login_path(wanted: str) -> str:
    """Where to ask a visitor of the page `wanted` who they are."""
    return "/login" if wanted == "/" else f"/login?next={quote(wanted)}"


def to_login() -> Response:
    """Send a visitor nobody knows to the login, and from there back."""
    wanted = inner_path(request.full_path.rstrip("?")) if request.method == "GET" else "/"
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        return Response(_AGAIN.format(login_path(wanted)), headers=HEADERS)
    return go(login_path(wanted))


def entrance_blueprint(frame: Frame) -> Blueprint:
    """The routes by which people come in and go out."""
    routes = Blueprint(ENTRANCE, __name__)
    service = frame.service
    attempts = SlidingWindow(ATTEMPTS, SPAN)

    async def ask(
        wanted: str | None, *, status: int = 200, name: str = "", error: RelayError | None = None
    ) -> Response:
        return await frame.show(
            "login.html",
            title="Come in",
            here="",
            status=status,
            needs_token=not service.credentials.is_open,
            wanted=inner_path(wanted),
            name=name,
            error=error,
        )

    @routes.get("/login")
    async def login_page() -> Response:
        """Ask who is there."""
        if await recognise(service) is not None:
            return go(inner_path(request.args.get("next")))
        return await ask(request.args.get("next"))

    @routes.post("/login")
    async def login() -> Response:
        """Let a person in."""
        fields = await form()
        name = fields.get("name", "")
        try:
            wait = attempts.take(trio.current_time())
            if wait:
                raise RateLimited("too many attempts to log in: wait a minute", retry_after=wait)
            session = await log_in(service, fields.get("token", "").strip() or None, name)
        except RelayError as error:
            return await ask(fields.get("next"), status=status_of(error), name=name, error=error)
        response = go(inner_path(fields.get("next")))
        set_cookie(response, session)
        return response

    @routes.post("/logout")
    async def logout() -> Response:
        """Let a person go."""
        await log_out(service)
        response = go("/login", said="You are logged out.")
        drop_cookie(response)
        return response

    @routes.post("/theme")
    async def choose_theme() -> Response:
        """Remember dark or light; anything else is the system's choice."""
        fields = await form()
        chosen = fields.get("theme", "")
        response = go(inner_path(fields.get("next")))
        if chosen in THEMES:
            response.set_cookie("trio_relay_theme", chosen, max_age=366 * 86_400, samesite="Strict")
        else:
            response.delete_cookie("trio_relay_theme", samesite="Strict")
        return response

    @routes.errorhandler(RelayError)
    async def on_fault(error: RelayError) -> Response:
        return await frame.fault(error)

    return routes
