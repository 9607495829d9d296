"""A relay inside the test, in virtual time."""

from collections.abc import AsyncIterator

import pytest

from trio_relay.client import Relay
from trio_relay.testing import InsideRelay, open_relay


@pytest.fixture
async def inside(autojump_clock: object) -> AsyncIterator[InsideRelay]:
    async with open_relay() as opened:
        yield opened


@pytest.fixture
async def relay(inside: InsideRelay) -> AsyncIterator[Relay]:
    async with inside.connect() as connected:
        yield connected
