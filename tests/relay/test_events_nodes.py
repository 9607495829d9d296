"""Following a log that others write too: what nobody rings for is found, and a store that is away ends nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock

from trio_relay.core.events import wanted
from trio_relay.errors import Unavailable
from trio_relay.relay.events import HELD_BACK, STORE_PAUSE, EventFeed, EventStream
from trio_relay.relay.hub import Hub
from trio_relay.relay.operations.event_log import Event, LogState, Page
from trio_relay.relay.operations.tx import EVENTS

LOOK = 1.0


class SharedLog:
    """What other nodes have written, as far as it can be read."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.last = 0
        self.horizon = 0
        self.away = False
        self.looks = 0

    async def state(self) -> LogState:
        await trio.lowlevel.checkpoint()
        return LogState(0, self.horizon)

    async def page(self, after: int) -> Page:
        await trio.lowlevel.checkpoint()
        self.looks += 1
        if self.away:
            raise Unavailable("the database is away")
        events = [
            Event(number, "token.minted", b"{}", frozenset()) for number in range(after + 1, self.horizon + 1)
        ]
        return Page(0, max(after, self.horizon), events, held_back=self.last > self.horizon)

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[EventStream]:
        feed = EventFeed(
            self.hub, read_state=self.state, read_page=self.page, on_end=lambda _: None, look_every=LOOK
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed.follow)
            with await feed.open(None, wanted(None, None)) as stream:
                await stream.next_chunk()
                yield stream
            nursery.cancel_scope.cancel()


def one(number: int) -> bytes:
    return b"id: %d\nevent: token.minted\ndata: {}\n\n" % number


async def test_what_a_transaction_held_back_is_told_soon_after_it_ended_without_a_word(
    autojump_clock: MockClock,
) -> None:
    log = SharedLog()
    async with log.followed() as stream, trio.open_nursery() as nursery:
        log.last = 1
        log.hub.ring([EVENTS])

        async def end_it() -> None:
            await trio.sleep(0.1)
            log.horizon = 1  # it was rolled back: nobody rings

        nursery.start_soon(end_it)
        assert await stream.next_chunk() == one(1)
    assert 0.1 <= trio.current_time() <= 0.2
    assert log.looks < 10, "it looks less and less often"
    assert HELD_BACK < 0.01


async def test_what_nobody_rang_for_is_found(autojump_clock: MockClock) -> None:
    log = SharedLog()
    async with log.followed() as stream:
        log.last = log.horizon = 1
        assert await stream.next_chunk() == one(1)
    assert trio.current_time() <= LOOK


async def test_a_store_that_is_away_is_waited_for(autojump_clock: MockClock) -> None:
    log = SharedLog()
    async with log.followed() as stream, trio.open_nursery() as nursery:
        log.away = True
        log.hub.ring([EVENTS])

        async def come_back() -> None:
            await trio.sleep(10)
            log.away, log.last, log.horizon = False, 1, 1

        nursery.start_soon(come_back)
        assert await stream.next_chunk() == one(1)
    assert 10 <= trio.current_time() <= 10 + STORE_PAUSE
