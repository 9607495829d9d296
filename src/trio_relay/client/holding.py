"""Our few anyio tools: insist on a call, hold a lease, let the body's errors out bare.

What `supervise.py` is to the programs on trio, for a library that also runs on asyncio. The rule is the same: the
outside's weather is met by name; any other error passes through every loop.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from random import random
from typing import TypeVar

import anyio

from trio_relay.core.timing import backoff
from trio_relay.errors import ConnectionLost, LeaseLost, RateLimited

T = TypeVar("T")
Delays = Callable[[], Iterator[float]]

#: Pauses before each attempt to reach a relay that is away, seconds.
DELAYS: Delays = partial(backoff, 0.5, 30.0, random)
#: Seconds after which a renewal that failed is tried again.
_RETRY = 1.0


async def insist(
    attempt: Callable[[], Awaitable[T]],
    delays: Delays,
    on_failure: Callable[[str], None] = lambda _reason: None,
) -> T:
    """Call until it gets through, pausing as `delays` says; only weather is met, and a relay that asks to wait."""
    for delay in delays():
        await anyio.sleep(delay)
        try:
            return await attempt()
        except ConnectionLost as failure:
            on_failure(failure.detail)
        except RateLimited as busy:
            on_failure(busy.detail)
            await anyio.sleep(busy.retry_after)
    raise AssertionError("delays never end")


class Held:
    """A lease as its holder sees it: `lost` once it could not be kept."""

    def __init__(self, scope: anyio.CancelScope) -> None:
        self._scope = scope

    @property
    def lost(self) -> bool:
        """Whether the lease ran out or was taken away."""
        return self._scope.cancelled_caught


@asynccontextmanager
async def held(renew: Callable[[], Awaitable[float]], *, ttl: float) -> AsyncIterator[Held]:
    """Hold a lease of `ttl` seconds for as long as the body runs, renewing it after every third of it.

    `renew` answers with the seconds granted, counted from before the request, so a slow relay only shortens our view
    of the lease. The body is cancelled before the lease can lapse, or when `renew` raises `LeaseLost`.
    """
    with bare_errors(), anyio.move_on_after(ttl) as scope:
        async with anyio.create_task_group() as group:

            async def renewals() -> None:
                pause = ttl / 3
                while True:
                    await anyio.sleep(pause)
                    asked_at = anyio.current_time()
                    try:
                        granted = await renew()
                    except LeaseLost:
                        scope.cancel()
                        return
                    except (ConnectionLost, RateLimited):
                        pause = _RETRY
                    else:
                        scope.deadline = asked_at + granted
                        pause = granted / 3

            group.start_soon(renewals)
            yield Held(scope)
            group.cancel_scope.cancel()


@contextmanager
def bare_errors() -> Iterator[None]:
    """Let the only error of a task group out as itself: a body's `ValueError` is caught by ``except ValueError``."""
    try:
        yield
    except BaseExceptionGroup as group:
        if len(group.exceptions) != 1:
            raise
        only = group.exceptions[0]
        raise only from only.__cause__
