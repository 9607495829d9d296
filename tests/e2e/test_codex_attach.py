"""`trio-relay attach codex`: a plain `codex` and the daemon it starts. Everything is real but the model."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from support.codex import codex_program
from support.codex_session import World, codex_world
from support.mock_model import Text
from support.processes import until
from support.tmux import Terminal, terminal
from trio_relay.codex.daemon import find_thread
from trio_relay.core.model import AgentStatus, Rung

pytestmark = pytest.mark.codex

READY = "Ask Codex to do anything"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with codex_world(tmp_path, Text("It is 42.")) as made:
        yield made


@asynccontextmanager
async def plain_codex(world: World, project: str = "project") -> AsyncIterator[Terminal]:
    """A person's plain `codex`. Its daemon outlives it, and is ended by us."""
    program = codex_program()
    socket = world.home / ".codex/app-server-control/app-server-control.sock"
    async with terminal([program], env=world.environment, cwd=world.project(project)) as tui:
        try:
            await tui.shows(READY)
            await until(socket.exists)  # the daemon takes some seconds, the terminal is there before it
            while (await find_thread(f"unix://{socket}", str(world.project(project)))).thread_id is None:
                await trio.sleep(0.1)
            yield tui
        finally:
            with trio.CancelScope(shield=True):
                for one in world.processes(lambda one: "app-server" in one.arguments):
                    os.kill(one.pid, signal.SIGKILL)


async def attach(world: World, *options: str, project: str = "project") -> trio.Process:
    return await trio.lowlevel.open_process(
        [sys.executable, "-m", "trio_relay", "attach", "codex", *options],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=world.environment,
        cwd=world.project(project),
    )


async def said(process: trio.Process) -> str:
    """What a process says until it ends."""
    assert process.stderr is not None
    text = b"".join([piece async for piece in process.stderr])
    await process.wait()
    return text.decode()


async def test_a_plain_codex_is_joined_followed_and_left_as_it_was(world: World) -> None:
    with trio.fail_after(90):
        tester = await world.person()
        async with plain_codex(world) as tui:
            attached = await attach(world)
            agent = await world.agent()
            message = await world.send(tester, agent.id, "What is 6 times 7?")
            assert (await world.answer_to(message)).body == "It is 42."
            await world.receipt(message, Rung.SETTLED)
            await tui.shows("What is 6 times 7?")

            await tui.type("/new")
            while (await world.relay.agent(agent.id)).meta["threadId"] == agent.meta["threadId"]:
                await trio.sleep(0.05)
            message = await world.send(tester, agent.id, "and in the new thread?")
            await world.answer_to(message)
            await tui.shows("and in the new thread?")

            attached.send_signal(signal.SIGINT)
            await said(attached)
            assert attached.returncode == 0
            assert (await world.relay.agent(agent.id)).status is AgentStatus.OFFLINE
            await tui.type("are you still there?")
            await world.model.seen(lambda one: one.last_user_text == "are you still there?")

            again = await attach(world)
            assert (await world.agent()).id == agent.id
            again.send_signal(signal.SIGTERM)
            await said(again)


async def test_without_a_daemon_it_says_what_to_do(world: World) -> None:
    with trio.fail_after(60):
        process = await attach(world)
        text = await said(process)
        assert process.returncode == 4
        assert text.startswith("trio-relay: no Codex daemon at ")
        assert "start `codex` (0.169 or newer, without -c)" in text
