from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.fake_app_server import fake_app_server
from support.relay import Room
from support.sidecar import Stage


@pytest.fixture
async def stage(room: Room, tmp_path: Path) -> AsyncIterator[Stage]:
    async with fake_app_server() as fake:
        built = Stage(room, fake, tmp_path)
        await built.join("alice")
        yield built
