"""What the tests of Claude Code stand on: the real program in a terminal, with the mock as its only model."""

from functools import partial
from pathlib import Path

import pytest
import trio

from support.claude import older_versions
from support.claude_session import claude_world
from support.mock_messages import Text, bash
from support.processes import until

pytestmark = pytest.mark.claude


async def test_the_real_claude_code_says_what_the_mock_says(tmp_path: Path) -> None:
    with trio.fail_after(180):
        async with claude_world(tmp_path, Text("It is 42.")) as world:
            assert await world.print("What is 6 times 7?") == "It is 42.\n"
            (request,) = world.model.requests
            assert request.last_user_text == "What is 6 times 7?"
            assert "Bash" in request.tools
            async with world.tui() as tui:
                await world.submit(tui, "and in a terminal?")
                await tui.shows("It is 42.")
                world.model.script = [bash("touch made-by-claude"), Text("It is made.")]
                await world.submit(tui, "make a file")
                made = partial(until, (world.project() / "made-by-claude").exists)
                await world.choose(tui, "Enter", dialog="Do you want to proceed?", effect=made)
                await tui.shows("It is made.")
                await world.leave(tui)


if older_versions():

    @pytest.mark.parametrize("version", older_versions())
    async def test_an_older_claude_code_too(version: str, tmp_path: Path) -> None:
        with trio.fail_after(180):
            async with (
                claude_world(tmp_path, Text("It is 42."), version=version) as world,
                world.tui() as tui,
            ):
                await world.submit(tui, "What is 6 times 7?")
                await tui.shows("It is 42.")
                await world.leave(tui)
