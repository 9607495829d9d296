"""A session with an older Codex, from the first message to `/quit`; see `tests/codex/test_app_server_versions.py`."""

from pathlib import Path

import pytest
import trio

from support.codex import older_versions
from support.codex_session import World, codex_world
from support.mock_model import Text
from trio_relay.core.model import Rung
from trio_relay.core.wire import Agent

pytestmark = pytest.mark.codex

#: Which proof a version gives.
PROOFS = {"0.130.0": "text", "0.150.0": "clientId"}


async def exchange(world: World, sender: str, agent: Agent, text: str) -> dict[str, str]:
    """Send a message and see it answered: the evidence that it was in context."""
    message = await world.send(sender, agent.id, text)
    assert (await world.answer_to(message)).body == "It is 42."
    receipt = await world.receipt(message, Rung.SETTLED)
    return next(step.evidence for step in receipt.steps if step.state is Rung.IN_CONTEXT)


if older_versions():

    @pytest.mark.parametrize("version", older_versions())
    async def test_a_session_with_an_older_codex(version: str, tmp_path: Path) -> None:
        with trio.fail_after(90):
            async with codex_world(tmp_path, Text("It is 42."), version=version) as world, world.tui() as tui:
                tester = await world.person()
                agent = await world.agent()
                seen = await exchange(world, tester, agent, "What is 6 times 7?")
                assert (seen["proof"], seen["threadId"]) == (PROOFS[version], agent.meta["threadId"])
                await tui.shows("What is 6 times 7?")
                await tui.type("/new")
                while (await world.relay.agent(agent.id)).meta["threadId"] == agent.meta["threadId"]:
                    await trio.sleep(0.05)
                seen = await exchange(world, tester, agent, "And once more?")
                assert seen["threadId"] != agent.meta["threadId"]
                await tui.shows("And once more?")
                await tui.type("/quit")
                await tui.shows("EXIT 0")
                await world.nothing_left()
