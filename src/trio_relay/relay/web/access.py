"""Who may call: whoever has a token that counts, and no foreign web page.

Without a token the relay is open to this machine, which includes every web page its browser shows. So the ``Host``
must be ours (a page that rebinds its name to 127.0.0.1 sends its own) and an ``Origin``, which browsers attach to
cross-site requests, must be our own or one that was allowed.
"""

import ipaddress
from urllib.parse import urlsplit

from quart import Response, g, request
from quart_trio import QuartTrio

from trio_relay.core.access import Scope
from trio_relay.core.integrations import by_token
from trio_relay.errors import Refused, RelayError
from trio_relay.relay.credentials import caller
from trio_relay.relay.operations import board
from trio_relay.relay.service import RelayService
from trio_relay.relay.web.dashboard.frame import is_fragment
from trio_relay.relay.web.dashboard.login import ENTRANCE, to_login
from trio_relay.relay.web.dashboard.session import person, recognise
from trio_relay.relay.web.problems import problem_of
from trio_relay.settings import ServerSettings

#: Served to anyone: signs of life, what the API is, and tickets, which are a credential themselves.
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/openapi.json", "/api/join"})
#: The documentation, which says nothing about this relay, the login and what its page is made of: their blueprints.
OPEN_BLUEPRINTS = frozenset({"docs", "site", ENTRANCE, "assets"})
#: The blueprint of the pages for people, who come with a cookie. It counts nowhere else.
DASHBOARD = "dashboard"
#: The blueprint of the routes that have tokens of their own.
INTEGRATIONS = "integrations"
_CORS_HEADERS = {
    "Access-Control-Allow-Methods": "GET, POST, PATCH, DELETE",
    "Access-Control-Allow-Headers": (
        "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-Agent-Relay-Token, "
        "MCP-Protocol-Version, MCP-Method, MCP-Name"
    ),
    "Access-Control-Max-Age": "600",
}


def install(app: QuartTrio, service: RelayService, settings: ServerSettings) -> None:
    """Check every request of `app` before its view runs."""

    @app.before_request
    async def check() -> Response | None:
        # Take the body whatever the answer will be: a connection whose request was not read to its end cannot carry
        # another one, and the client would learn that only from its next request failing.
        await request.get_data(parse_form_data=False)
        try:
            check_host(request.headers.get("Host", ""), settings)
            check_origin(request.headers.get("Origin"), request.headers.get("Host", ""), settings)
            if request.method == "OPTIONS":
                return Response(b"", status=204)  # without a body Quart asks asyncio for one
            if request.blueprint == INTEGRATIONS:
                pass  # its own tokens, checked by its own blueprint
            elif request.blueprint in (DASHBOARD, ENTRANCE):
                check_own_page()
                if request.blueprint == DASHBOARD:
                    return await _let_in(service)
            elif request.path not in OPEN_PATHS and request.blueprint not in OPEN_BLUEPRINTS:
                check_reach(token_of_request(), service.settings)
                caller.set(await service.authenticate(token_of_request()))
        except RelayError as error:
            if request.blueprint in (DASHBOARD, ENTRANCE):
                raise  # a person wants a sentence; the blueprint's own handler writes it
            return problem_of(error)
        return None

    @app.after_request
    async def cors(response: Response) -> Response:
        origin = request.headers.get("Origin")
        if origin is not None and _is_allowed(origin, settings):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Vary"] = "Origin"
            if request.method == "OPTIONS":
                response.headers.update(_CORS_HEADERS)
        return response


def token_of_request() -> str | None:
    """The token the present request carries, if any."""
    return token_of(request.headers.get("Authorization"), request.headers.get("X-Agent-Relay-Token"))


def token_of(authorization: str | None, own_header: str | None) -> str | None:
    """The token a request carries, in either of its headers."""
    if own_header is not None:
        return own_header.strip()
    if authorization is not None and authorization[:7].lower() == "bearer ":
        return authorization[7:].strip()
    return None


async def _let_in(service: RelayService) -> Response | None:
    """Let a person see the dashboard; whoever is not known is sent to the login."""
    who = await recognise(service)
    if who is None:
        return to_login()
    person.set(who)
    caller.set(who.principal)
    if request.method == "GET" and not is_fragment() and who.may(Scope.OBSERVE):
        # Read before all else the page shows, so that its stream can tell whether something happened between the two.
        g.log_end = await service.read(board.log_end)
    return None


def check_own_page() -> None:
    """Take what changes something from our own pages only, whatever origins may use the API: it comes with a cookie.

    Raises:
        Refused: it comes from elsewhere, or does not say from where (code ``origin_refused``).

    """
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    origin, host = request.headers.get("Origin", ""), request.headers.get("Host", "")
    if not (_parses(origin.partition("://")[2]) and urlsplit(origin).netloc.lower() == host.lower()):
        raise Refused("this can only be asked by the relay's own pages", code="origin_refused")


def check_reach(secret: str | None, settings: ServerSettings) -> None:
    """Keep integrations where they belong.

    Raises:
        Refused: this is the token of an integration (code ``integration_only``).

    """
    if secret is not None and by_token(settings.integrations, secret) is not None:
        raise Refused("this token reaches /api/integrations only", code="integration_only")


def check_host(host: str, settings: ServerSettings) -> None:
    """Without a token, answer only to this machine's own names.

    Raises:
        Refused: the request names another host (code ``host_refused``).

    """
    if settings.token is not None or settings.allow_unauth:
        return
    name = urlsplit(f"//{host}").hostname if _parses(host) else None
    if name is None or not (name == "localhost" or name == settings.host.lower() or is_loopback(name)):
        raise Refused(
            "without a token the relay answers only to this machine's own names", code="host_refused"
        )


def check_origin(origin: str | None, host: str, settings: ServerSettings) -> None:
    """A browser page must be our own or an allowed one.

    Raises:
        Refused: it is another one (code ``origin_refused``).

    """
    if origin is None or _is_allowed(origin, settings):
        return
    if _parses(origin.partition("://")[2]) and urlsplit(origin).netloc.lower() == host.lower():
        return
    raise Refused("pages of this origin may not call the relay", code="origin_refused")


def is_loopback(name: str) -> bool:
    """Whether a host name is an address of this machine's loopback."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"


def _is_allowed(origin: str, settings: ServerSettings) -> bool:
    return "*" in settings.cors_origins or origin in settings.cors_origins


def _parses(host: str) -> bool:
    try:
        return bool(urlsplit(f"//{host}").hostname)
    except ValueError:
        return False
