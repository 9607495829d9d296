"""`codex-relay` with the real TUI in a terminal, as a person has it. Everything is real but the model."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from support.codex_session import World, codex_world
from support.mock_model import Text, shell
from support.processes import until
from trio_relay.core.model import AgentStatus, Rung

pytestmark = pytest.mark.codex

READY = "Ask Codex to do anything"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with codex_world(tmp_path, Text("It is 42.")) as made:
        yield made


async def test_a_message_is_shown_where_the_person_works(world: World) -> None:
    with trio.fail_after(60):
        tester = await world.person()
        async with world.tui() as tui:
            await tui.shows(READY)
            agent = await world.agent()
            message = await world.send(tester, agent.id, "What is 6 times 7?")
            assert (await world.answer_to(message)).body == "It is 42."
            await world.receipt(message, Rung.SETTLED)
            screen = await tui.shows("It is 42.")
            assert "What is 6 times 7?" in screen
            await tui.type("and what did I ask?")
            await world.model.seen(lambda one: one.last_user_text == "and what did I ask?")
            await tui.type("/quit")
            screen = await tui.shows("EXIT")
            assert "EXIT 0" in screen
            thread = agent.meta["threadId"]
            assert f"codex-relay -- resume {thread}" in " ".join(screen.split())
            await world.nothing_left()
        assert world.run_directories() == []
        assert world.model.requests[0].headers["originator"] == "codex-tui"


async def test_what_arrives_while_the_person_is_away_is_there_on_return(world: World) -> None:
    with trio.fail_after(60):
        tester = await world.person()
        async with world.tui() as tui:
            await tui.shows(READY)
            agent = await world.agent()
            thread = agent.meta["threadId"]
            message = await world.send(tester, agent.id, "before")
            await world.answer_to(message)
            await tui.type("/quit")
            await tui.shows("EXIT 0")
        message = await world.send(tester, agent.id, "while you were away")
        assert [one.verdict for one in message.recipients] == ["offline_queued"]
        async with world.tui("--", "resume", thread) as tui:
            await tui.shows("while you were away")
            await world.answer_to(message)
            assert (await world.agent()).id == agent.id


async def test_the_end_of_the_tui_ends_what_the_model_still_runs(world: World) -> None:
    world.model.script = shell("sleep 1000", yield_time_ms=30_000)
    with trio.fail_after(60):
        async with world.tui() as tui:
            await tui.shows(READY)
            await tui.type("take your time")
            await until(lambda: bool(world.processes(lambda one: one.runs("sleep", "1000"))))
            await tui.press("C-c")
            await tui.type("/quit")
            await tui.shows("EXIT")
            await world.nothing_left()
        assert world.run_directories() == []


async def test_a_signal_to_the_launcher_ends_everything_and_frees_the_terminal(world: World) -> None:
    with trio.fail_after(60):
        async with world.tui() as tui:
            await tui.shows(READY)
            os.kill(world.launcher().pid, signal.SIGTERM)
            await tui.shows(f"EXIT {128 + signal.SIGTERM}")
            await world.nothing_left()
        assert world.run_directories() == []


async def test_closing_the_window_ends_everything(world: World) -> None:
    with trio.fail_after(60):
        async with world.tui() as tui:
            await tui.shows(READY)
            agent = await world.agent()
        await world.nothing_left()
        assert world.run_directories() == []
        assert (await world.relay.agent(agent.id)).status is AgentStatus.OFFLINE


async def test_kill_9_of_the_launcher_leaves_nothing_running(world: World) -> None:
    with trio.fail_after(60):
        async with world.tui() as tui:
            await tui.shows(READY)
            await world.agent()
            os.kill(world.launcher().pid, signal.SIGKILL)
            await world.nothing_left()
            (left,) = world.run_directories()
        async with world.headless():
            await world.agent()
            assert left not in world.run_directories(), "the next one tidies up"


async def test_an_app_server_that_dies_comes_back_under_the_person(world: World) -> None:
    with trio.fail_after(90):
        tester = await world.person()
        async with world.tui() as tui:
            agent = await world.agent()
            await world.answer_to(await world.send(tester, agent.id, "before"))
            (native,) = world.native_app_servers()
            os.kill(native.pid, signal.SIGKILL)
            await until(lambda: native not in world.native_app_servers() != [])
            message = await world.send(tester, agent.id, "after the crash")
            await world.answer_to(message)
            await tui.shows("after the crash")


async def test_a_sidecar_that_dies_is_missed_by_nobody(world: World) -> None:
    with trio.fail_after(60):
        tester = await world.person()
        async with world.tui() as tui:
            await tui.shows(READY)
            agent = await world.agent()
            await tui.write("a line half typed")
            await tui.shows("a line half typed")
            (sidecar,) = world.sidecars()
            os.kill(sidecar.pid, signal.SIGKILL)
            message = await world.send(tester, agent.id, "Who is there?")
            await world.answer_to(message)
            screen = await tui.shows("It is 42.")
            assert screen.count("Who is there?") == 1
            assert "a line half typed" in screen
            assert (await world.agent()).id == agent.id
            (successor,) = world.sidecars()
            assert successor.pid != sidecar.pid


async def test_what_an_app_server_took_with_it_is_said_again(world: World) -> None:
    """It dies with a text in its hands that the model has not read; the TUI comes back with the thread."""
    world.model.script = shell("sleep 1000", yield_time_ms=30_000)
    with trio.fail_after(90):
        tester = await world.person()
        async with world.tui() as tui:
            await tui.shows(READY)
            agent = await world.agent()
            await tui.type("take your time")
            await until(lambda: bool(world.processes(lambda one: one.runs("sleep", "1000"))))
            message = await world.send(tester, agent.id, "Are you stuck?")
            await world.taken_by_codex(message)
            world.model.script = Text("It is 42.")
            (native,) = world.native_app_servers()
            os.kill(native.pid, signal.SIGKILL)
            await world.answer_to(message)
            screen = await tui.shows("It is 42.")
            assert screen.count("Are you stuck?") == 1
            await tui.type("and now?")
            await world.model.seen(lambda one: one.last_user_text == "and now?")
            await tui.type("/quit")
            await tui.shows("EXIT 0")
            await world.nothing_left()


async def test_kill_9_of_the_tui_ends_everything_and_frees_the_terminal(world: World) -> None:
    with trio.fail_after(60):
        async with world.tui() as tui:
            await tui.shows(READY)
            agent = await world.agent()
            native = world.processes(lambda one: one.arguments[0].endswith("/codex") and one.runs("--remote"))
            os.kill(native[-1].pid, signal.SIGKILL)
            screen = await tui.shows("EXIT")
            assert f"EXIT {128 + signal.SIGKILL}" in screen
            assert f"codex-relay -- resume {agent.meta['threadId']}" in " ".join(screen.split())
            await world.nothing_left()
        assert world.run_directories() == []


async def test_ctrl_c_at_an_empty_line_quits(world: World) -> None:
    with trio.fail_after(60):
        async with world.tui() as tui:
            await tui.shows(READY)
            agent = await world.agent()
            await tui.press("C-c")
            await tui.shows("EXIT 0")
            await world.nothing_left()
        assert world.run_directories() == []
        assert (await world.relay.agent(agent.id)).status is AgentStatus.OFFLINE
