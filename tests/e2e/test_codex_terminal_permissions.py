"""The permissions of a session are those it was started with, in every thread the person begins. All real but the model."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from support.codex_session import World, codex_world
from trio_relay.core.wire import Agent

pytestmark = pytest.mark.codex

READY = "Ask Codex to do anything"
#: What stands before the line that Enter chooses.
MARK = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with codex_world(tmp_path) as made:
        yield made


async def permissions(world: World, agent: Agent) -> tuple[str, str]:
    """Approval policy and kind of sandbox of the agent's thread, by the app-server's own word."""
    async with world.app_server(agent) as server:
        attached = await server.thread_resume(agent.meta["threadId"])
    return attached.permissions["approvalPolicy"], attached.permissions["sandbox"]["type"]


async def next_thread(world: World, before: Agent) -> Agent:
    """The agent, once it has followed the person to another thread."""
    while (agent := await world.agent()).meta["threadId"] == before.meta["threadId"]:
        await trio.sleep(0.05)
    return agent


@pytest.mark.parametrize(
    ("mode", "configured", "expected"),
    [
        ("open", None, ("never", "workspaceWrite")),
        ("open", "danger-full-access", ("never", "workspaceWrite")),
        ("read-only", None, ("never", "readOnly")),
    ],
)
async def test_each_thread_has_the_permissions_of_the_approval_mode(
    world: World, mode: str, configured: str | None, expected: tuple[str, str]
) -> None:
    if configured is not None:
        config = world.home / ".codex/config.toml"
        config.write_text(f'sandbox_mode = "{configured}"\n{config.read_text()}')
    world.environment["AGENT_RELAY_APPROVAL"] = mode
    with trio.fail_after(60):
        async with world.tui() as tui:
            await tui.shows(READY)
            first = await world.agent()
            assert await permissions(world, first) == expected
            await tui.type("/new")
            assert await permissions(world, await next_thread(world, first)) == expected


async def test_a_folder_trusted_a_moment_ago_can_be_worked_in(world: World) -> None:
    with trio.fail_after(120):
        async with world.tui(project="new") as tui:
            await tui.shows(" 1. Trust and continue")
            # Codex 0.169.0 throws away what is typed until this dialog has stood for some 10 ms, an Enter too: the keys
            # that come first do no harm, and when they have moved the mark it listens.
            await tui.press_until("Down", f"{MARK} 2.")
            await tui.press_until("Up", f"{MARK} 1.")
            await tui.press("Enter")
            await tui.shows(READY)
            assert await permissions(world, await world.agent("new")) == ("never", "workspaceWrite")
