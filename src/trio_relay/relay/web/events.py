"""``/api/events``: the event log as Server-Sent Events."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import Annotated

import msgspec
from quart import Blueprint, Response, request

from trio_relay.core.access import Scope
from trio_relay.core.events import KINDS, STREAM_KINDS, wanted
from trio_relay.core.wire import AgentId, Wire
from trio_relay.errors import FieldError, Invalid, Unauthorized, Unavailable
from trio_relay.relay.events import EventStream
from trio_relay.relay.service import RelayService
from trio_relay.relay.web.access import token_of_request
from trio_relay.relay.web.api import Media, api
from trio_relay.relay.web.messages import Id

_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}
_LAST_EVENT_ID = ("Last-Event-ID", "Go on after this event; browsers send it when they reconnect.")
_STREAM = Media(
    "text/event-stream",
    "Server-Sent Events. `id` is the event's id, `data` one JSON object. "
    + "; ".join(f"`{kind}`: {meaning}" for kind, meaning in {**KINDS, **STREAM_KINDS}.items())
    + ".",
)


class EventQuery(Wire, kw_only=True):
    """Query of ``GET /events``.

    `types`: kinds to pass on, comma separated; ``message.*`` is a whole family. `agent`: only what names this agent or
    happens to a message it sent or received. `lastEventId`: as the header, for clients that cannot set one; the header
    wins. Without either the stream begins with what happens next; 0 is the beginning of the log.
    """

    types: Annotated[str, msgspec.Meta(min_length=1, max_length=2000)] | None = None
    agent: AgentId | None = None
    last_event_id: Id | None = None


def events_blueprint(service: RelayService) -> Blueprint:
    """The route of the event stream."""
    routes = Blueprint("events", __name__, url_prefix="/api/events")

    @routes.get("")
    @api(query=EventQuery, responses={200: _STREAM}, headers=(_LAST_EVENT_ID,), scopes=(Scope.OBSERVE,))
    async def follow_events(query: EventQuery) -> Response:
        """Follow what happens, from now on or from an event on."""
        header = _after(request.headers.get("Last-Event-ID"))
        after = query.last_event_id if header is None else header
        if request.method == "HEAD":
            return Response(b"", headers=_HEADERS)
        kinds = None if query.types is None else [kind.strip() for kind in query.types.split(",")]
        stream = await service.events.open(after, wanted(kinds, query.agent))
        authenticate = partial(service.authenticate, token_of_request())
        response = Response(_chunks(stream, authenticate), headers=_HEADERS)
        response.timeout = None  # Quart would cut the stream after its RESPONSE_TIMEOUT
        return response

    return routes


async def _chunks(
    stream: EventStream, authenticate: Callable[[], Awaitable[object]]
) -> AsyncGenerator[bytes, None]:
    with stream:
        while True:
            try:
                chunk = await stream.next_chunk()
                if chunk is None:
                    return
                # A stream outlives the request's own check: a token may be revoked or expire meanwhile.
                await authenticate()
            except (Unauthorized, Unavailable) as error:
                chunk = stream.end("bye", error.detail)
            yield chunk


def _after(header: str | None) -> int | None:
    """Read ``Last-Event-ID``; absent and empty are the same.

    Raises:
        Invalid: it is no id of ours.

    """
    if not header:
        return None
    # 18 digits: more than any log will hold, and within what the store can look up.
    if not (header.isascii() and header.isdigit() and len(header) <= 18):
        expected = FieldError("Last-Event-ID", "expected the id of an event")
        raise Invalid("the Last-Event-ID header is no id of an event", fields=(expected,))
    return int(header)
