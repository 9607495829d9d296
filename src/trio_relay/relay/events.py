"""Following the event log: one reader of the store for any number of connections.

`EventFeed.follow` is one task a process. While somebody listens it reads new events once, as soon as they are
committed, and keeps the newest in a window that all connections share. A connection is no more than a place in the
log (`EventStream`): it takes what follows its place from the window, or, where its place lies before the window, from
the log itself, in bounded pages. So a resume, a burst of large messages and a slow reader are the same case, and what
a connection holds in memory is the piece it is sending.

A connection that has once caught up and then falls more than `MAX_BEHIND` events behind is told so and ended; with
its last id it can go on from there. (One whose peer takes nothing at all is cut by the server's send time-out.)
"""

import math
from bisect import bisect_right
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import msgspec
import structlog
import trio

from trio_relay.core.events import Wanted
from trio_relay.errors import Unavailable
from trio_relay.relay.hub import Hub
from trio_relay.relay.operations.event_log import Event, LogState, Page
from trio_relay.relay.operations.tx import EVENTS

log = structlog.get_logger("trio_relay.events")

#: How many events a connection may fall behind; also the events the shared window holds.
MAX_BEHIND = 5000
#: What one piece takes from the window: events and (about) bytes, at most. Larger than a page of the log, so that
#: a thousand connections keep up with the one task that reads it.
PIECE = 1000
PIECE_BYTES = 256 * 1024
#: Bytes the shared window holds, about.
WINDOW_BYTES = 8 * 1024 * 1024
#: A comment is sent after this many quiet seconds, so that both sides notice a dead connection.
HEARTBEAT = 15.0
#: How long a client waits before it connects again, milliseconds.
RETRY = 1000
#: Pause before the store is tried again, seconds.
STORE_PAUSE = 1.0
#: The first pause before looking again for what a transaction under way holds back, seconds; the next are longer.
HELD_BACK = 0.005
_encode = msgspec.json.Encoder().encode


def block(kind: str, data: object, event_id: int | None = None) -> bytes:
    """One Server-Sent Event of our own making."""
    return _frame(kind, _encode(data), event_id)


def _frame(kind: str, data: bytes, event_id: int | None) -> bytes:
    head = b"" if event_id is None else b"id: %d\n" % event_id
    return head + b"event: %s\ndata: %s\n\n" % (kind.encode(), data)


@dataclass(frozen=True, slots=True)
class Frame:
    """An event as it is sent, encoded once for all connections."""

    id: int
    kind: str
    concerned: frozenset[str] | None
    encoded: bytes


def frame_of(event: Event) -> Frame:
    """Encode an event."""
    return Frame(event.id, event.kind, event.concerned, _frame(event.kind, event.data, event.id))


class EventFeed:
    """The newest events, shared by everybody who follows the log.

    The window holds, in order, every event after `floor` up to `position`. It is kept only while somebody listens.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        read_state: Callable[[], Awaitable[LogState]],
        read_page: Callable[[int], Awaitable[Page]],
        on_end: Callable[[str], None],
        max_behind: int = MAX_BEHIND,
        window_bytes: int = WINDOW_BYTES,
        look_every: float = math.inf,
    ) -> None:
        self.read_state = read_state
        self.read_page = read_page
        self.max_behind = max_behind
        self.window_bytes = window_bytes
        #: How many connections follow.
        self.streams = 0
        self.floor = 0
        self.position = 0
        #: Events ever put into the window: what a connection's delay is counted in.
        self.total = 0
        #: Set, and replaced, when there is something new.
        self.news = trio.Event()
        self._hub = hub
        self._look_every = look_every
        self._on_end = on_end
        self._window: list[Frame] = []
        self._bytes = 0
        #: Whether something waits for a transaction that is under way.
        self._held_back = False

    @property
    def closed(self) -> bool:
        """Whether the relay is stopping."""
        return self._hub.closed

    async def follow(self) -> None:
        """Task: read what is new whenever something is, until the relay stops."""
        soon = HELD_BACK
        while not self._hub.closed:
            with self._hub.listening(EVENTS) as bell:
                patience = self._look_every if self.streams else math.inf
                try:
                    while self.streams and await self._read_on():
                        pass
                except Unavailable as error:
                    log.warning("following the events put off", reason=error.detail)
                    patience = STORE_PAUSE
                else:
                    if self._held_back:
                        patience, soon = min(soon, patience), soon * 2
                    else:
                        soon = HELD_BACK
                with trio.move_on_after(patience):
                    await bell.wait()
        self._tell()

    async def open(self, after: int | None, wanted: Wanted) -> "EventStream":
        """Begin to follow after an event (None: from now on). Nothing that commits after this call is missed."""
        log = await self.read_state()
        return EventStream(self, log, log.horizon if after is None else after, wanted)

    def join(self, horizon: int) -> None:
        """Count one more stream; `horizon` is where the log stood when it opened."""
        if not self.streams:
            self.floor = self.position = horizon
        self.streams += 1
        self._hub.ring((EVENTS,))

    def leave(self, reason: str) -> None:
        """Count one stream less; `reason` is why it ended."""
        self.streams -= 1
        self._on_end(reason)
        if not self.streams:
            self._window.clear()
            self._bytes = 0

    def window_after(self, event_id: int) -> tuple[list[Frame], int]:
        """A bounded piece of the window after an id, and how many events came into the window up to its end."""
        start = bisect_right(self._window, event_id, key=lambda frame: frame.id)
        piece: list[Frame] = []
        size = 0
        for frame in self._window[start : start + PIECE]:
            if size >= PIECE_BYTES:
                break
            piece.append(frame)
            size += len(frame.encoded)
        return piece, self.total - len(self._window) + start + len(piece)

    async def _read_on(self) -> bool:
        """Put the next page into the window; answer whether to look for more."""
        position = self.position
        page = await self.read_page(position)
        if self.position != position or not self.streams:
            return not self.closed  # everybody left while we read, and others may have come
        if page.trimmed_to > position:
            # We were further behind than the log is long; every stream finds its gap in the log itself.
            self._drop(len(self._window))
            self.floor = page.trimmed_to
        self.position = page.end
        self._held_back = page.held_back
        if not page.events:
            return False
        frames = [frame_of(event) for event in page.events]
        self._window += frames
        self._bytes += sum(len(frame.encoded) for frame in frames)
        self.total += len(frames)
        self._trim()
        self._tell()
        return not self.closed

    def _trim(self) -> None:
        excess = max(0, len(self._window) - self.max_behind)
        left = self._bytes - sum(len(frame.encoded) for frame in self._window[:excess])
        while left > self.window_bytes and excess < len(self._window):
            left -= len(self._window[excess].encoded)
            excess += 1
        if excess:
            self.floor = self._window[excess - 1].id
            self._drop(excess)

    def _drop(self, count: int) -> None:
        self._bytes -= sum(len(frame.encoded) for frame in self._window[:count])
        del self._window[:count]

    def _tell(self) -> None:
        self.news.set()
        self.news = trio.Event()


class EventStream:
    """One connection's place in the log. A context manager around its life; `next_chunk` is what to send next."""

    def __init__(self, feed: EventFeed, log: LogState, after: int, wanted: Wanted) -> None:
        self._feed = feed
        self._log = log
        self._wanted = wanted
        #: Everything up to this id has been passed on, or left out as not wanted.
        self._last = after
        #: The last id the client has been told.
        self._told = -1
        #: Where the window stood at our place, counted in events; None until we have caught up once.
        self._index: int | None = None
        self._begun = False
        self._ended: str | None = None

    def __enter__(self) -> Self:
        self._feed.join(self._log.horizon)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._feed.leave(self._ended or "client_left")

    async def next_chunk(self) -> bytes | None:
        """Wait for the next piece to send: events, a heartbeat, a farewell; None when the stream has ended."""
        if self._ended is not None:
            return None
        if not self._begun:
            self._begun = True
            return self._begin()
        deadline = trio.current_time() + HEARTBEAT
        while True:
            news = self._feed.news
            if self._feed.closed:
                return self.end("bye", "the relay is shutting down")
            behind = 0 if self._index is None else self._feed.total - self._index
            if behind > self._feed.max_behind:
                reason = f"this connection is more than {self._feed.max_behind} events behind"
                return self.end("overrun", reason)
            place = self._last
            chunk = await self._take()
            if chunk:
                return chunk
            if self._last == place:
                with trio.move_on_at(deadline):
                    await news.wait()
            if trio.current_time() >= deadline:
                return self._heartbeat()

    def _begin(self) -> bytes:
        """The first piece: how soon to come back, and the present place, so that a resume works from here on."""
        gap = b""
        if self._last > self._log.horizon:
            # An id this log never gave: it is another log, or one restored from a backup.
            lost = {"from": self._log.horizon + 1, "to": self._last, "reason": "unknown_id"}
            self._last = self._log.horizon
            gap = block("gap", lost, self._last)
        self._told = self._last
        return b"retry: %d\nid: %d\n\n%s" % (RETRY, self._last, gap)

    async def _take(self) -> bytes:
        """Go on from our place; answer what of it is wanted."""
        feed, gap = self._feed, b""
        if self._last >= feed.floor:
            frames, self._index = feed.window_after(self._last)
        else:
            page = await feed.read_page(self._last)
            if page.trimmed_to > self._last:
                lost = {"from": self._last + 1, "to": page.trimmed_to, "reason": "trimmed"}
                gap = block("gap", lost, page.trimmed_to)
                self._told = page.trimmed_to
            self._last = page.end
            frames = [frame_of(event) for event in page.events]
            if self._index is not None:
                self._index += len(frames)
        if frames:
            self._last = frames[-1].id
        if not self._wanted.everything:
            frames = [frame for frame in frames if self._wanted.wants(frame.kind, frame.concerned)]
        if frames:
            self._told = frames[-1].id
        return gap + b"".join(frame.encoded for frame in frames)

    def _heartbeat(self) -> bytes:
        """A comment; with the present place if unwanted events have moved it."""
        if self._told == self._last:
            return b": heartbeat\n\n"
        self._told = self._last
        return b": heartbeat\nid: %d\n\n" % self._last

    def end(self, kind: str, reason: str) -> bytes:
        """End the stream; answer its last piece, which says why."""
        self._ended = kind
        return block(kind, {"reason": reason})
