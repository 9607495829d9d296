from collections.abc import Iterator
from pathlib import Path

import pytest

from support.claude_keeper import ClaudeStage
from support.commands import ServingRelay, clean_environment, serving_relay
from support.relay import Room


@pytest.fixture
async def stage(room: Room, tmp_path: Path) -> ClaudeStage:
    built = ClaudeStage(room, tmp_path)
    await built.join("alice")
    return built


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingRelay]:
    """A relay in a process of its own."""
    home = tmp_path_factory.mktemp("relay")
    with serving_relay(env=clean_environment(home), cwd=home) as serving:
        yield serving
