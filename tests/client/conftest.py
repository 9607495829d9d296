"""A relay inside the test, in virtual time."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest
import trio
from trio.abc import Clock, Instrument

from trio_relay.client import Relay
from trio_relay.testing import InsideRelay, open_relay

#: More virtual seconds than any of these tests lets pass; the relay keeps house in every one of them.
A_LONG_TIME = 3_600


@pytest.fixture
async def inside(autojump_clock: object) -> AsyncIterator[InsideRelay]:
    async with open_relay() as opened:
        yield opened


@pytest.fixture
async def relay(inside: InsideRelay) -> AsyncIterator[Relay]:
    async with inside.connect() as connected:
        yield connected


def run_within_an_hour(
    main: Callable[[], Awaitable[Any]], *, clock: Clock | None = None, instruments: Sequence[Instrument] = ()
) -> Any:
    """Run a test that would else wait for ever, if it does: the relay's own tasks never let the clock come to rest."""

    async def bounded() -> Any:
        with trio.fail_after(A_LONG_TIME):
            return await main()

    return trio.run(bounded, clock=clock, instruments=instruments)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "inside" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.trio(run=run_within_an_hour))
