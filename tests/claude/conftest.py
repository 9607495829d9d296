from pathlib import Path

import pytest

from support.claude_keeper import ClaudeStage
from support.relay import Room


@pytest.fixture
async def stage(room: Room, tmp_path: Path) -> ClaudeStage:
    built = ClaudeStage(room, tmp_path)
    await built.join("alice")
    return built
