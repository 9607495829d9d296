"""Fixtures every tier uses."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support.relay import Room, open_room


@pytest.fixture
async def room(tmp_path: Path, autojump_clock: Any) -> AsyncIterator[Room]:
    """A relay in this process, in virtual time."""
    async with open_room(tmp_path) as opened:
        yield opened
