"""``/live``: one stream for an open page, saying at most once a second what has changed.

It carries no content: a digest names kinds and things (``message.receipt``, ``message``, ``message:5``, ``agent:bob``), and the
browser asks again for what it shows of them. However many messages pass, a page costs a digest and at most one small request
a second. The log is read once for all open pages, ids only.
"""

import math
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import suppress
from typing import Any

import trio
from quart import Blueprint, Response

from trio_relay.core.access import Scope
from trio_relay.errors import Unauthorized, Unavailable
from trio_relay.relay.events import HEARTBEAT, block
from trio_relay.relay.operations import board
from trio_relay.relay.operations.tx import EVENTS
from trio_relay.relay.service import RelayService
from trio_relay.relay.web.dashboard.frame import Frame, page
from trio_relay.relay.web.dashboard.session import session_of_request

#: Seconds between two digests of one stream, at least.
PACE = 1.0
#: So often the log is looked at although nothing rang: another node may have written.
LOOK_EVERY = 5.0
#: Nobody looks any more when nobody has for so long.
ASLEEP = 4 * LOOK_EVERY
#: Digests kept for streams that are behind; one that is further behind is told to look at everything.
KEPT = 30
#: Things a digest names, at most; with more it says ``*``: look at everything of these kinds.
MAX_THINGS = 400
#: How the ids in an event's data are called in a digest.
_THINGS = {
    "messageId": "message",
    "threadId": "thread",
    "agentId": "agent",
    "taskId": "task",
    "pairId": "pair",
    "tokenId": "token",
    "approvalId": "approval",
    "replyId": "message",
    "sender": "agent",
    "key": "lease",
}
_HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Pulse:
    """The changes of the log, in digests all open pages share. Whoever is the first to want the next one reads it."""

    def __init__(self, service: RelayService) -> None:
        self._service = service
        self._reading = trio.Lock()
        self._position = 0
        self._read_at = -math.inf
        #: (number, words): the newest digests.
        self._digests: deque[tuple[int, frozenset[str]]] = deque(maxlen=KEPT)
        self._number = 0

    async def begin(self) -> tuple[int, int]:
        """The number of the digest after which a new stream hears, and the last event that is in none it will hear.

        Nothing that commits after this call is missed.
        """
        async with self._reading:
            if trio.current_time() - self._read_at > ASLEEP:
                # Nobody has looked for long, so nobody needs what happened meanwhile.
                self._position = await self._service.read(board.log_end)
                self._read_at = trio.current_time()
            return self._number, self._position

    async def after(self, number: int) -> tuple[int, frozenset[str]]:
        """What has changed after a digest, and the number to go on from. No words: nothing yet."""
        async with self._reading:
            if number == self._number:
                await self._service.hub.pause(self._read_at + PACE)
                self._read_at = trio.current_time()
                self._position, events = await self._service.read(board.changes, self._position)
                if events:
                    self._number += 1
                    self._digests.append((self._number, digest(events)))
        if number < self._number - len(self._digests):
            return self._number, frozenset({"*"})
        return self._number, frozenset().union(*(words for each, words in self._digests if each > number))


def digest(events: Iterable[tuple[str, Mapping[str, Any]]]) -> frozenset[str]:
    """The words for some events, each a kind and its data: kinds, families, things."""
    kinds: set[str] = set()
    things: set[str] = set()
    for kind, data in events:
        kinds.add(kind)
        kinds.add(kind.partition(".")[0])
        for name, thing in _THINGS.items():
            value = data.get(name)
            if value is not None:
                things.add(f"{thing}:{value}")
        for name in ("agents", "members", "recipients"):
            things.update(f"agent:{each}" for each in data.get(name) or ())
    return frozenset(kinds | (things if len(things) <= MAX_THINGS else {"*"}))


def live_pages(pages: Blueprint, frame: Frame) -> None:
    """The route of the stream."""
    service = frame.service
    pulse = Pulse(service)

    @pages.get("/live")
    @page(Scope.OBSERVE)
    async def live() -> Response:
        """Say what changes, for as long as the page is open."""
        session = session_of_request()
        begun = await pulse.begin()
        response = Response(
            _digests(service, pulse, begun, None if session is None else session.token), headers=_HEADERS
        )
        response.timeout = None  # Quart would cut the stream after its RESPONSE_TIMEOUT
        return response


async def _digests(
    service: RelayService, pulse: Pulse, begun: tuple[int, int], token: str | None
) -> AsyncGenerator[bytes, None]:
    number, before = begun
    # A page that was made before that event asks for everything again.
    yield block("hello", {"at": service.now(), "before": before})
    spoke_at = trio.current_time()
    while not service.hub.closed:
        with service.hub.listening(EVENTS) as bell:
            words: frozenset[str] = frozenset()
            with suppress(Unavailable):
                number, words = await pulse.after(number)
            chunk = b""
            if words:
                chunk = block("changed", sorted(words))
            elif trio.current_time() - spoke_at >= HEARTBEAT:
                chunk = b": still here\n\n"
            if chunk:
                spoke_at = trio.current_time()
                try:
                    await service.authenticate(token)  # it may have been revoked meanwhile
                except Unauthorized as error:
                    yield block("bye", {"reason": error.detail})
                    return
                except Unavailable:
                    pass
                yield chunk
            if not words:
                with trio.move_on_after(LOOK_EVERY):
                    await bell.wait()
    yield block("bye", {"reason": "the relay is shutting down"})
