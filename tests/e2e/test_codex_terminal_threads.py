"""The agent goes where the person goes: /new, /clear, /fork, /resume and /quit at the real TUI. All real but the model."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from support.codex_session import World, codex_world
from support.mock_model import ModelRequest, Text
from support.tmux import Terminal
from trio_relay.core.model import AgentStatus
from trio_relay.core.wire import Agent

pytestmark = pytest.mark.codex

READY = "Ask Codex to do anything"


def answer(request: ModelRequest) -> Text:
    """Say which of our texts came last, so that a screen tells one answer from another."""
    return Text(f"Answered {re.findall(r'text-[a-z-]+', request.last_user_text)[-1]}.")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with codex_world(tmp_path, answer) as made:
        yield made


@dataclass
class Walk:
    """A person at the TUI, somebody who writes to them, and the thread they are in."""

    world: World
    tui: Terminal
    agent: Agent

    @property
    def thread(self) -> str:
        thread: str = self.agent.meta["threadId"]
        return thread

    async def say(self, text: str) -> None:
        """The person writes, and is answered."""
        await self.tui.type(text)
        await self.turn_is_over(text)

    async def arrives(self, text: str) -> None:
        """A message is shown where the person is, and answered there."""
        message = await self.world.send(await self.world.person(), self.agent.id, text)
        reply = await self.world.answer_to(message)
        assert reply.body == f"Answered {text}."
        await self.turn_is_over(text)
        (in_context,) = [
            one.evidence for one in (await self.world.receipt(message)).steps if "itemId" in one.evidence
        ]
        assert in_context["threadId"] == self.thread

    async def turn_is_over(self, text: str) -> None:
        """Wait until the TUI shows the answer and the end of its turn: before, it takes no commands."""
        screen = await self.tui.shows(f"Answered {text}.")
        while "Worked for" not in screen.rpartition(f"Answered {text}.")[2]:
            screen = await self.tui.screen()
            await trio.sleep(0.05)

    async def goes(self, command: str) -> str:
        """The person goes to another thread, the agent follows: the thread they have left."""
        before = self.thread
        await self.tui.type(command)
        await self.followed(before)
        return before

    async def followed(self, before: str) -> None:
        while self.thread == before:
            self.agent = await self.world.agent()
            await trio.sleep(0.05)


async def test_the_agent_goes_where_the_person_goes(world: World) -> None:
    with trio.fail_after(90):
        async with world.tui() as tui:
            await tui.shows(READY)
            walk = Walk(world, tui, await world.agent())
            identity, first = walk.agent.id, walk.thread
            await walk.arrives("text-first")

            assert await walk.goes("/new") == first
            await walk.arrives("text-new")
            assert "text-first" not in await tui.screen()
            await walk.say("text-mine")

            new = await walk.goes("/fork")
            await tui.shows("Thread forked from")
            await walk.arrives("text-fork")
            assert "text-mine" in await tui.screen()

            fork = await walk.goes("/clear")
            await walk.arrives("text-clear")
            assert "text-fork" not in await tui.screen()
            assert len({first, new, fork, walk.thread}) == 4
            assert walk.agent.id == identity

            await tui.type("/quit")
            screen = await tui.shows("EXIT")
            assert "EXIT 0" in screen
            assert f"codex-relay -- resume {walk.thread}" in " ".join(screen.split())
            await world.nothing_left()
        assert world.run_directories() == []
        assert (await world.relay.agent(identity)).status is AgentStatus.OFFLINE
        assert await world.relay.agents(ready=True) == []


async def test_the_agent_comes_back_with_the_person(world: World) -> None:
    with trio.fail_after(60):
        async with world.tui() as tui:
            await tui.shows(READY)
            walk = Walk(world, tui, await world.agent())
            await walk.arrives("text-first")
            first = await walk.goes("/new")
            await walk.arrives("text-second")
            second = walk.thread
            await tui.type("/resume")
            await tui.shows("1 / 2")
            await tui.press("Down")
            await tui.press("Enter")
            await tui.shows("text-first")
            await walk.followed(second)
            assert walk.thread == first
            await walk.arrives("text-third")
