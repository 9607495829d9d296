import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from trio_relay.errors import ConnectionLost, LeaseLost, Unavailable
from trio_relay.supervise import Doorbell, held_lease, insist, keep_connected, stop_on_signal


def delays() -> Iterator[float]:
    yield from (0, 0.5, 1, 2)
    while True:
        yield 4


async def test_a_ring_while_nobody_waits_is_kept(autojump_clock: MockClock) -> None:
    bell = Doorbell()
    bell.ring()
    bell.ring()
    await bell.wait()
    with trio.move_on_after(1) as silence:
        await bell.wait()
    assert silence.cancelled_caught


async def test_a_connection_is_sought_with_growing_pauses_that_start_afresh_once_it_held(
    autojump_clock: MockClock,
) -> None:
    attempts: list[float] = []
    losses: list[str] = []

    @asynccontextmanager
    async def connect() -> AsyncIterator[int]:
        attempts.append(trio.current_time())
        if len(attempts) < 4:
            raise ConnectionLost("refused")
        yield len(attempts)

    async def session(connection: int) -> None:
        await trio.sleep(100 if connection == 4 else 1)
        async with trio.open_nursery():
            raise ConnectionLost("gone")

    with trio.move_on_after(105.5):
        await keep_connected(connect, session, delays=delays, on_lost=lambda e: losses.append(str(e)))
    assert attempts == [0, 0.5, 1.5, 3.5, 103.5, 105.0]
    assert losses == ["refused"] * 3 + ["gone"] * 2


async def test_a_bug_ends_the_connection_loop(autojump_clock: MockClock) -> None:
    @asynccontextmanager
    async def connect() -> AsyncIterator[None]:
        yield None

    async def session(_: None) -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        await keep_connected(connect, session, delays=delays)


async def test_insisting_meets_weather_only(autojump_clock: MockClock) -> None:
    failures: list[Exception] = [ConnectionLost("no"), Unavailable("full")]

    async def attempt() -> float:
        if failures:
            raise failures.pop(0)
        return trio.current_time()

    assert await insist(attempt, delays=delays) == 1.5
    failures.append(KeyError("a bug"))
    with pytest.raises(KeyError):
        await insist(attempt, delays=delays)


async def test_a_renewed_lease_outlives_many_terms(autojump_clock: MockClock) -> None:
    renewals: list[float] = []

    async def renew() -> float:
        renewals.append(trio.current_time())
        return 90.0

    async with held_lease(renew, ttl=90, every=30) as lease:
        await trio.sleep(1000)
    assert not lease.lost
    assert renewals == [30.0 * n for n in range(1, 34)]


async def test_work_stops_before_an_unrenewed_lease_can_lapse(autojump_clock: MockClock) -> None:
    async def renew() -> float:
        if trio.current_time() > 50:
            raise ConnectionLost("relay away")
        return 30.0

    async with held_lease(renew, ttl=30, every=60) as lease:
        await trio.sleep_forever()
    assert lease.lost
    assert trio.current_time() == 50 + 30  # granted at 50, the last good renewal


async def test_a_hung_relay_counts_as_lost(autojump_clock: MockClock) -> None:
    async with held_lease(trio.sleep_forever, ttl=30, every=5) as lease:
        await trio.sleep_forever()
    assert lease.lost
    assert trio.current_time() == 30


async def test_a_lease_taken_away_stops_work_at_once(autojump_clock: MockClock) -> None:
    async def renew() -> float:
        raise LeaseLost("another holds it")

    async with held_lease(renew, ttl=90, every=30) as lease:
        await trio.sleep_forever()
    assert lease.lost
    assert trio.current_time() == 30


async def test_a_bug_in_the_work_passes_through_the_lease(autojump_clock: MockClock) -> None:
    async def renew() -> float:
        return 90.0

    with pytest.RaisesGroup(KeyError):
        async with held_lease(renew, ttl=90, every=30):
            raise KeyError("a bug")


async def test_a_signal_stops(nursery: trio.Nursery) -> None:
    stopped = trio.Event()
    await nursery.start(stop_on_signal, stopped.set)
    os.kill(os.getpid(), signal.SIGTERM)
    await stopped.wait()
