"""Fixtures for pytest: ``pytest_plugins = ["trio_relay.testing.pytest"]`` in a ``conftest.py``.

`relay_server` is for any test. `relay_inside` is for tests on trio (pytest-trio, or anyio's plugin on trio); in virtual
time where the test's clock is.
"""

from collections.abc import AsyncIterator, Iterator

import pytest

from trio_relay.testing.inside import InsideRelay, open_relay
from trio_relay.testing.served import ServedRelay, serve_relay


@pytest.fixture
def relay_server() -> Iterator[ServedRelay]:
    """A relay at ``relay_server.url``, of the test's own."""
    with serve_relay() as served:
        yield served


@pytest.fixture
async def relay_inside() -> AsyncIterator[InsideRelay]:
    """A relay inside the test; ``relay_inside.connect()`` leads to it."""
    async with open_relay() as inside:
        yield inside
