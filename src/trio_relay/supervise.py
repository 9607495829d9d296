"""Our few trio tools: keep a connection, hold a lease, ring a doorbell, stop on a signal.

The rule they share: the outside's weather is met by name and retried for ever; any other error is a bug and passes
through every loop.
"""

import math
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

import trio

from trio_relay.errors import ConnectionLost, LeaseLost, Unavailable

#: What retrying can mend: the other side is away, slow, or not able to serve just now.
WEATHER = (ConnectionLost, Unavailable)

C = TypeVar("C")
E = TypeVar("E", bound=BaseException)
T = TypeVar("T")


class Doorbell:
    """Wake one task that looks at shared state. Rings while nobody waits are kept, many count as one.

    The waiter resets the bell before it looks, so no ring between two looks is lost.
    """

    def __init__(self) -> None:
        self._rung = trio.Event()

    def ring(self) -> None:
        """Wake the waiter, now or when it next waits."""
        self._rung.set()

    async def wait(self) -> None:
        """Return once the bell has rung since the last return."""
        await self._rung.wait()
        self._rung = trio.Event()


def first_of(group: BaseExceptionGroup[BaseException], kind: type[E]) -> E:
    """Pick the first error out of a group whose leaves are all of `kind`."""
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, kind)
    return first


async def keep_connected(
    connect: Callable[[], AbstractAsyncContextManager[C]],
    session: Callable[[C], Awaitable[None]],
    *,
    delays: Callable[[], Iterator[float]],
    stable_after: float = 60.0,
    on_lost: Callable[[Exception], None] = lambda _: None,
    weather: tuple[type[Exception], ...] = WEATHER,
) -> None:
    """Hold one connection after another, for ever.

    `delays` gives the pauses (seconds) before each attempt; they start afresh after a connection that held for
    `stable_after` seconds, or a session that ended by itself. `on_lost` hears why a connection could not be made
    or kept. Only `weather` is met; every other error passes through.
    """
    while True:
        for delay in delays():
            await trio.sleep(delay)
            opened_at = math.inf
            try:
                async with connect() as connection:
                    opened_at = trio.current_time()
                    await session(connection)
            except* weather as lost:
                on_lost(first_of(lost, Exception))
            if trio.current_time() - opened_at >= stable_after:
                break


async def insist(
    attempt: Callable[[], Awaitable[T]],
    *,
    delays: Callable[[], Iterator[float]],
    on_failure: Callable[[Exception], None] = lambda _: None,
) -> T:
    """Call `attempt` until it gets through, pausing as `delays` says; only `WEATHER` is retried."""
    for delay in delays():
        await trio.sleep(delay)
        try:
            return await attempt()
        except WEATHER as failure:
            on_failure(failure)
    raise AssertionError("delays never end")


class Lease:
    """A lease as its holder sees it: `lost` once it could not be kept."""

    def __init__(self, scope: trio.CancelScope) -> None:
        self._scope = scope

    @property
    def lost(self) -> bool:
        """Say whether the lease ran out or was taken away."""
        return self._scope.cancelled_caught


@asynccontextmanager
async def held_lease(
    renew: Callable[[], Awaitable[float]], *, ttl: float, every: float, retry: float = 1.0
) -> AsyncIterator[Lease]:
    """Hold a lease of `ttl` seconds for as long as the body runs, by renewing it.

    `renew` answers with the seconds granted, counted from before the request, so a slow relay only shortens our
    view of the lease. The body is cancelled before the lease can lapse: when renewals do not get through until
    then, or when `renew` raises `LeaseLost`. Renewals come `every` seconds, at the latest a third of the lease
    after the last good one, and `retry` seconds after one that failed.
    """
    with trio.move_on_after(ttl) as scope:
        async with trio.open_nursery() as nursery:

            async def renewals() -> None:
                pause = min(every, ttl / 3)
                while True:
                    await trio.sleep(pause)
                    asked_at = trio.current_time()
                    try:
                        granted = await renew()
                    except LeaseLost:
                        scope.cancel()
                        return
                    except WEATHER:
                        pause = retry
                    else:
                        scope.deadline = asked_at + granted
                        pause = min(every, granted / 3)

            nursery.start_soon(renewals)
            yield Lease(scope)
            nursery.cancel_scope.cancel()


async def stop_on_signal(
    stop: Callable[[], None], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Call `stop` at the first SIGTERM or SIGINT; a second one meets the default handling again."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            break
    stop()
