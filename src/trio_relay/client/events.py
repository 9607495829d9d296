"""Following what happens in the room: the event log as Server-Sent Events, resumed after every interruption.

The relay keeps its events in a log with numbers. A follower that was cut off goes on after the last number it has
seen, so it misses nothing (a ``gap`` event says where the log itself no longer reaches back).
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from random import random
from typing import Any, Self

import anyio
import msgspec

from trio_relay.client.http import RelayClient
from trio_relay.core.timing import backoff
from trio_relay.errors import ConnectionLost

_PAUSES = partial(backoff, 1.0, 30.0, random)
#: The relay says something every 15 s; after two of those and some, the connection is dead, seconds.
SILENCE = 40.0


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: its number in the log, its kind, and what there is to know about it.

    Kind ``gap``: events are missing before this one, ``data`` says which; read the present state anew.
    """

    id: int
    kind: str
    data: dict[str, Any]


class EventStream:
    """What happens, one event after another, for ever: an async iterator. Use `follow`.

    `last_id` is where another stream would go on; None until the relay has said so.
    """

    def __init__(  # noqa: PLR0917  # made by `follow` alone
        self,
        relay: RelayClient,
        query: dict[str, Any],
        after: int | None,
        on_lost: Callable[[str], None],
        delays: Callable[[], Iterator[float]],
        stack: AsyncExitStack,
    ) -> None:
        self.last_id = after
        self._relay = relay
        self._query = query
        self._on_lost = on_lost
        self._delays = delays
        self._pauses = self._afresh()
        self._stack = stack
        self._next: Callable[[], Awaitable[bytes]] | None = None
        self._buffer = b""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while True:
            try:
                event = await self._event()
            except ConnectionLost as lost:
                await self._lost(lost.detail)
                continue
            if event.kind in {"overrun", "bye"}:
                await self._lost(str(event.data.get("reason", event.kind)))
                continue
            self._pauses = self._afresh()
            return event

    def _afresh(self) -> Iterator[float]:
        """The pauses after a connection that held: the one before it has been made."""
        pauses = self._delays()
        next(pauses)
        return pauses

    async def _event(self) -> Event:
        while True:
            block = await self._block()
            event = self._read(block.decode("utf-8", "replace"))
            if event is not None:
                return event

    async def connect(self) -> Callable[[], Awaitable[bytes]]:
        """Open the stream, unless it is; answer what reads on."""
        if self._next is None:
            headers = {"Accept": "text/event-stream"}
            if self.last_id is not None:
                headers["Last-Event-ID"] = str(self.last_id)
            opening = self._relay.stream("/api/events", query=self._query, headers=headers, silence=SILENCE)
            self._next = await self._stack.enter_async_context(opening)
        return self._next

    async def _block(self) -> bytes:
        following = await self.connect()
        while b"\n\n" not in self._buffer:
            piece = await following()
            if not piece:
                raise ConnectionLost(f"the relay at {self._relay.url} has ended the stream")
            self._buffer += piece
        block, _, self._buffer = self._buffer.partition(b"\n\n")
        return bytes(block)

    def _read(self, block: str) -> Event | None:
        """Take one block; None where it tells nothing but the place to resume from, or nothing at all."""
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if fields.get("id", "").isdecimal():
            self.last_id = int(fields["id"])
        if "data" not in fields:
            return None
        try:
            data = msgspec.json.decode(fields["data"], type=dict[str, Any])
        except msgspec.DecodeError:
            raise ConnectionLost(
                f"what answers at {self._relay.url} is not a relay", code="not_a_relay"
            ) from None
        return Event(self.last_id or 0, fields.get("event", "message"), data)

    async def _lost(self, reason: str) -> None:
        """Hang up, say why, and wait before the next attempt."""
        self._next, self._buffer = None, b""
        await self._stack.aclose()
        self._on_lost(reason)
        await anyio.sleep(next(self._pauses))


@asynccontextmanager
async def follow(
    relay: RelayClient,
    *,
    types: Sequence[str] | None = None,
    agent: str | None = None,
    after: int | None = None,
    on_lost: Callable[[str], None] = lambda _reason: None,
    delays: Callable[[], Iterator[float]] = _PAUSES,
) -> AsyncIterator[EventStream]:
    """Follow the event log after an event (None: from now on; 0: from the beginning).

    `types`: kinds, or families like ``message.*``; `agent`: only what concerns it. A connection that is lost, that
    has fallen too far behind or whose relay shuts down is opened again, `on_lost` hearing why; what the relay refuses
    is raised. `delays` gives the pauses in between, seconds; they start afresh with every event that comes.

    Raises:
        ConnectionLost: the relay cannot be reached to begin with.

    """
    query = {"types": ",".join(types) if types is not None else None, "agent": agent}
    async with AsyncExitStack() as stack:
        stream = EventStream(relay, query, after, on_lost, delays, stack)
        await stream.connect()
        yield stream
