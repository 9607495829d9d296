"""A message arrives while the person at the real TUI is in the middle of something. Everything is real but the model.

Each moment is a scene of its own: the session is idle and a line half typed; a reply streams; a tool runs; Codex asks
for a permission; the session is put into the background. The screens are kept in pytest's temporary directory.
"""

import shlex
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from support.codex_session import CODEX_RELAY, World, codex_world
from support.mock_model import Script, Text, ToolCall, shell
from support.processes import until
from support.tmux import Terminal
from trio_relay.core.model import Rung
from trio_relay.core.wire import Agent, ReceiptStep, SentMessage

pytestmark = pytest.mark.codex

READY = "Ask Codex to do anything"
ANSWER = Text("It is 42.")
RISK = shell("echo the risk was taken", sandbox_permissions="require_escalated", justification="May I?")
DIALOG = "Would you like to run the following command?"
ASKING = ("--", "--ask-for-approval", "on-request")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with codex_world(tmp_path, ANSWER) as made:
        yield made


async def test_a_half_typed_line_is_kept_and_then_sent_whole(world: World) -> None:
    with trio.fail_after(60):
        async with world.tui() as tui:
            agent = await at_work(world, tui)
            await tui.write("a line half ty")
            await tui.shows("a line half ty")
            message = await sent(world, agent, "Are you there?")
            await world.answer_to(message)
            screen = await tui.shows(ANSWER.text)
            assert in_order(screen, "Are you there?", ANSWER.text, "a line half ty")
            assert READY not in screen
            await tui.type("ped")
            await world.model.seen(lambda one: one.last_user_text == "a line half typed")
            await world.receipt(message)


async def test_a_message_joins_the_reply_that_streams(world: World) -> None:
    held = trio.Event()
    world.model.script = lambda request: (
        Text("Once upon a time", hold=held, chunk=9) if request.last_user_text == "a story" else ANSWER
    )
    with trio.fail_after(60):
        async with world.tui() as tui:
            agent = await at_work(world, tui)
            await tui.type("a story")
            await tui.shows("Once upon")
            message = await sent(world, agent, "Make it short.")
            reply = await world.answer_to(message)
            screen = await tui.shows(ANSWER.text)
            assert in_order(screen, "a story", "Make it short.", ANSWER.text)
            assert reply.body == ANSWER.text
            assert world.model.requests[-1].contains("a story")
            assert (await step(world, message)).evidence["mode"] == "steer"
            held.set()


async def test_a_message_waits_for_the_tool_that_runs(world: World) -> None:
    go = world.project() / "go"
    tool = shell("until [ -e go ]; do sleep 0.05; done; echo the tool is done", yield_time_ms=30_000)
    world.model.script = after_a_tool(tool)
    with trio.fail_after(60):
        async with world.tui() as tui:
            agent = await at_work(world, tui)
            await tui.type("use your tool")
            await world.model.seen()
            message = await sent(world, agent, "Stop at ten.")
            await world.taken_by_codex(message)
            went_on = now()
            go.touch()
            await world.answer_to(message)
            screen = await tui.shows(ANSWER.text)
            assert in_order(screen, "use your tool", "the tool is done", "Stop at ten.", ANSWER.text)
            assert (await step(world, message)).at >= went_on


async def test_a_permission_dialog_stays_the_persons_to_answer(world: World) -> None:
    world.model.script = after_a_tool(RISK)
    with trio.fail_after(60):
        async with world.tui(*ASKING) as tui:
            agent = await at_work(world, tui)
            await tui.type("take a risk")
            await tui.shows(DIALOG)
            message = await sent(world, agent, "Careful!")
            await world.taken_by_codex(message)
            screen = await tui.screen()
            assert DIALOG in screen
            assert "Careful!" not in screen
            pressed = now()
            await tui.press("y")
            await world.answer_to(message)
            screen = await tui.shows(ANSWER.text)
            assert in_order(
                screen, "You approved codex to run", "the risk was taken", "Careful!", ANSWER.text
            )
            assert (await step(world, message)).at >= pressed


async def test_a_refused_permission_loses_no_message(world: World) -> None:
    """Codex had taken the text; then Escape ended the turn that was to read it."""
    world.model.script = lambda request: RISK if request.last_user_text == "take a risk" else ANSWER
    with trio.fail_after(60):
        async with world.tui(*ASKING) as tui:
            agent = await at_work(world, tui)
            await tui.type("take a risk")
            await tui.shows(DIALOG)
            message = await sent(world, agent, "Careful!")
            await world.taken_by_codex(message)
            await tui.press("Escape")
            assert (await world.answer_to(message)).body == ANSWER.text
            screen = await tui.shows(ANSWER.text)
            assert in_order(screen, "You canceled the request", "Careful!", ANSWER.text)
            assert screen.count("Careful!") == 1
            assert "the risk was taken" not in screen.replace(RISK.arguments["cmd"], "")


async def test_a_session_in_the_background_goes_on(world: World) -> None:
    world.environment["PS1"] = "READY$ "
    with trio.fail_after(60):
        async with world.terminal(["bash", "--norc", "-i"]) as tui:
            await tui.shows("READY$")
            await tui.type(shlex.join(CODEX_RELAY))
            agent = await at_work(world, tui)
            await tui.press("C-z")
            await tui.shows("Stopped")
            message = await sent(world, agent, "Meanwhile.")
            await world.answer_to(message)
            await tui.type("fg")
            screen = await tui.shows(ANSWER.text)
            assert in_order(screen, "Meanwhile.", ANSWER.text)
            await tui.press("C-c")
            await tui.shows("codex-relay: ")
            await until(lambda: [one for one in world.processes() if not one.runs("bash")] == [])


def after_a_tool(call: ToolCall) -> Script:
    """Call a tool, then answer once its output is there."""
    return lambda request: ANSWER if request.tool_outputs else call


async def at_work(world: World, tui: Terminal) -> Agent:
    """The agent of a session that is ready, also for the eye."""
    await tui.shows(READY)
    return await world.agent()


async def sent(world: World, agent: Agent, body: str) -> SentMessage:
    return await world.send(await world.person(), agent.id, body)


async def step(world: World, message: SentMessage) -> ReceiptStep:
    """The step at which the message was in the model's context; its receipt is settled."""
    receipt = await world.receipt(message)
    (found,) = [one for one in receipt.steps if one.state is Rung.IN_CONTEXT]
    return found


def now() -> int:
    """Unix ms by this machine's clock, which is also the relay's."""
    return time.time_ns() // 1_000_000


def in_order(screen: str, *texts: str) -> bool:
    """Whether the screen shows all `texts`, the first at the top."""
    places = [screen.find(text) for text in texts]
    return -1 not in places and places == sorted(places)
