"""Older Claude Code, whose monitors need a flag of Anthropic's: its sessions are woken by a hook that waits (asyncRewake)."""

from pathlib import Path

import pytest
import trio

from support.claude import older_versions
from support.claude_session import ClaudeWorld, claude_world
from support.colleague import Colleague
from support.mock_messages import Text
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.core.wire import Agent

pytestmark = pytest.mark.claude


async def exchange(world: ClaudeWorld, agent: Agent, text: str) -> None:
    """A message wakes the session, which reads it and answers; every rung has its proof."""
    message = await world.send("tester", agent.id, text)
    assert (await world.answer_to(message)).body == "It is 42."
    evidence = {step.state: step.evidence for step in (await world.receipt(message)).steps}
    assert evidence[Rung.HANDED_OFF]["by"] == "asyncRewake"
    assert evidence[Rung.IN_CONTEXT]["by"] == "PostToolUse"
    await world.status(agent, AgentStatus.IDLE)


if older_versions():

    @pytest.mark.parametrize("version", older_versions())
    async def test_a_session_without_monitors_hears_its_messages_too(version: str, tmp_path: Path) -> None:
        colleague = Colleague()
        with trio.fail_after(180):
            async with claude_world(tmp_path, colleague, version=version) as world:
                await world.install()
                await world.person()
                async with world.tui() as tui:
                    agent = await world.agent()
                    await exchange(world, agent, "What is 6 times 7?")

                    # After Esc no hook says that the turn is over.
                    world.model.script = Text("I think. And I think.", hold=trio.Event(), chunk=9)
                    await world.submit(tui, "Think.")
                    await world.status(agent, AgentStatus.BUSY)
                    await tui.press("Escape")
                    await world.status(agent, AgentStatus.IDLE)
                    world.model.script = colleague
                    await exchange(world, agent, "And after Esc?")

                    await world.submit(tui, "/clear")
                    while (await world.relay.agent(agent.id)).meta["threadId"] == agent.meta["threadId"]:
                        await trio.sleep(0.05)
                    await exchange(world, agent, "And after /clear?")
                    await world.leave(tui)
                    await world.status(agent, AgentStatus.OFFLINE)
            assert set(colleague.heard.values()) == {1}
