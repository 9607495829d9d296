"""Claude Code with our plugin, as a person has it: everything is real but the model.

One session walks through several scenes, because starting one costs seconds.
"""

import os
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import trio

from support.claude_session import TRIO_RELAY, ClaudeWorld, claude_world
from support.colleague import DONE, Colleague, by_command
from support.mock_messages import Text, ToolCall, bash
from support.processes import until
from trio_relay.client import pairs
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.core.wire_approvals import ApprovalState

pytestmark = pytest.mark.claude

PROMPT = "\N{HEAVY RIGHT-POINTING ANGLE QUOTATION MARK ORNAMENT}"
DIALOG = "Do you want to proceed?"
LADDER = [Rung.ACCEPTED, Rung.QUEUED, Rung.HANDED_OFF, Rung.IN_CONTEXT, Rung.ANSWERED, Rung.SETTLED]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[ClaudeWorld]:
    async with claude_world(tmp_path) as made:
        yield made


async def test_messages_reach_the_session_whatever_it_does(world: ClaudeWorld) -> None:
    """Idle, in the middle of a tool call, while its person types, after /clear; answered by command and by tool."""
    colleague = world.model.script = Colleague()
    settings = (world.config / "settings.json").read_bytes()
    await world.install()
    with trio.fail_after(180):
        tester = await world.person()
        async with world.tui("--allowedTools", "Bash(sh wait.sh)") as tui:
            agent = await world.agent()
            assert agent.status is AgentStatus.IDLE

            # An idle session begins a turn by itself. It reads and answers, and its person is asked nothing.
            first = await world.send(tester, agent.id, "What is 6 times 7?")
            answer = await world.answer_to(first)
            assert (answer.sender, answer.body) == (agent.id, "It is 42.")
            receipt = await world.receipt(first)
            assert [step.state for step in receipt.steps] == LADDER
            woken, *_ = world.model.requests
            assert woken.contains(f"You are agent {agent.id}"), "the session was told who it is"
            assert "What is 6 times 7?" in woken.news
            await tui.shows(DONE)

            # A long text is fetched whole, though only a short line announces it.
            lines = [f"{number} bottles of beer" for number in range(300)]
            second = await world.send(tester, agent.id, "\n".join(lines))
            await world.answer_to(second)
            fetched = await world.model.seen(lambda one: lines[-1] in one.news)
            assert [each for each in map(str.strip, fetched.news.splitlines()) if each in lines] == lines

            # In the middle of a tool call: it joins the turn.
            (world.project() / "wait.sh").write_text("sleep 0.3; echo waited")
            colleague.told["Work for a while."] = [bash("sh wait.sh")]
            colleague.meanwhile = bash("sh wait.sh")
            await world.submit(tui, "Work for a while.")
            await world.model.seen(lambda one: "waited" in one.news)
            assert (await world.relay.agent(agent.id)).status is AgentStatus.BUSY
            third = await world.send(tester, agent.id, "Are you at it?")
            joined = await world.model.seen(lambda one: "Are you at it?" in one.news)
            assert "waited" in joined.news, "it came with a tool's result"
            colleague.meanwhile = None
            await world.answer_to(third)
            await world.status(agent, AgentStatus.IDLE)
            await world.receipt(third)

            # While its person types: the draft stays.
            await tui.write("half a thought")
            await tui.shows("half a thought")
            fourth = await world.send(tester, agent.id, "Am I disturbing you?")
            await world.answer_to(fourth)
            await world.status(agent, AgentStatus.IDLE)
            assert "half a thought" in (await tui.screen()).rpartition(PROMPT)[2]
            await tui.press("C-u")

            # Answered with the relay's tools.
            colleague.answers = by_tool
            fifth = await world.send(tester, agent.id, "And by tool?")
            assert (await world.answer_to(fifth)).body == "It is 42, by tool."
            receipt = await world.receipt(fifth)
            assert [step.state for step in receipt.steps] == LADDER
            colleague.answers = by_command

            # /clear goes on to another session; the agent stays.
            await world.submit(tui, "/clear")
            while (cleared := await world.relay.agent(agent.id)).meta["threadId"] == agent.meta["threadId"]:
                await trio.sleep(0.05)
            assert (cleared.epoch, cleared.instance_id) == (agent.epoch, agent.instance_id)
            sixth = await world.send(tester, agent.id, "Do you remember?")
            await world.answer_to(sixth)
            asked = await world.model.seen(lambda one: "Do you remember?" in one.news)
            assert asked.session_id == cleared.meta["threadId"]
            assert asked.contains(f"You are agent {agent.id}")
            assert not asked.contains("What is 6 times 7?")

            await world.status(agent, AgentStatus.IDLE)
            await world.leave(tui)
            await world.status(agent, AgentStatus.OFFLINE)
        assert set(colleague.heard.values()) == {1}, "each was announced once"
        await world.nothing_left()

        # Out again, after all that: only what Claude Code itself keeps of its sessions speaks of us.
        await world.run([TRIO_RELAY, "uninstall", "claude", "--purge"])
        assert (world.config / "settings.json").read_bytes() == settings
        assert [path for path in world.traces() if path.parts[0] != ".cache"] == []


def by_tool(number: int, _: str) -> list[ToolCall]:
    """Fetch a message and answer it with the relay's tools."""
    server = "mcp__plugin_agent-relay_trio_relay__"
    return [
        ToolCall(server + "read_message", {"message_id": number}),
        ToolCall(server + "reply", {"message_id": number, "body": "It is 42, by tool."}),
    ]


async def test_what_its_person_is_asked_may_be_answered_elsewhere(world: ClaudeWorld) -> None:
    """A dialog is answered from another terminal or at the screen, whichever is first; Esc leaves nothing busy."""
    world.environment["AGENT_RELAY_CLAUDE_APPROVALS"] = "on"
    colleague = world.model.script = Colleague()
    await world.install()
    with trio.fail_after(180):
        async with world.tui() as tui:
            agent = await world.agent()

            # Answered from another terminal.
            colleague.told["Make one."] = [bash("touch one")]
            await world.submit(tui, "Make one.")
            await tui.shows(DIALOG)
            asked = await world.approval(agent, ApprovalState.PENDING)
            assert (asked.tool, "touch one" in asked.summary) == ("Bash", True)
            await world.run([TRIO_RELAY, "approve", str(asked.id)])
            await tui.shows(DONE)
            assert (world.project() / "one").exists()

            # Answered at the screen: nobody else is asked any more.
            colleague.told["Make two."] = [bash("touch two")]
            await world.submit(tui, "Make two.")
            asked = await world.approval(agent, ApprovalState.PENDING)
            await world.choose(
                tui, "Enter", dialog=DIALOG, effect=partial(until, (world.project() / "two").exists)
            )
            assert (await world.approval(agent, ApprovalState.WITHDRAWN)).id == asked.id

            # Refused from elsewhere: the model reads why.
            colleague.told["Make three."] = [bash("touch three")]
            await world.submit(tui, "Make three.")
            asked = await world.approval(agent, ApprovalState.PENDING)
            await world.run([TRIO_RELAY, "deny", str(asked.id), "--reason", "two are enough"])
            refused = await world.model.seen(lambda one: "two are enough" in one.news)
            assert refused.tool_outputs
            assert not (world.project() / "three").exists()

            # What was cut off has not been read, whatever command printed it.
            tester = await world.person()
            colleague.answers = lambda number, _: [bash(f"trio-relay read {number} | head -n 1")]
            message = await world.send(tester, agent.id, "What is 6 times 7?")
            shown = f"message {message.id} from peer tester to you"
            cut_off = partial(world.model.seen, lambda one: shown in one.news)
            await world.choose(tui, "Enter", dialog=DIALOG, effect=cut_off)
            await world.status(agent, AgentStatus.IDLE)
            (receipt,) = await world.relay.receipts(message.id)
            assert receipt.state is Rung.HANDED_OFF

            # Esc ends a turn, of which no hook says anything.
            colleague.told["Think."] = [Text("I think. And I think.", hold=trio.Event(), chunk=9)]
            await world.submit(tui, "Think.")
            await world.status(agent, AgentStatus.BUSY)
            await tui.press("Escape")
            await world.status(agent, AgentStatus.IDLE)
            await world.leave(tui)
            await world.status(agent, AgentStatus.OFFLINE)


async def test_a_command_of_the_plugin_begins_a_pair(world: ClaudeWorld) -> None:
    colleague = world.model.script = Colleague()
    await world.install()
    colleague.told["/pair tester"] = [bash("agent-relay /pair tester 'Debug flaky tests'")]
    with trio.fail_after(180):
        tester = await world.person()
        async with world.tui() as tui:
            agent = await world.agent()
            await world.submit(tui, "/agent-relay:pair tester 'Debug flaky tests'")
            while not (found := await pairs.pairs_of(world.relay, tester)):
                await trio.sleep(0.05)
            assert (found[0].id, agent.id) == (1, agent.id)
            (session,) = world.sessions()
            os.kill(session.pid, signal.SIGKILL)
            await tui.shows("EXIT 137")
            await world.nothing_left()
            await world.status(agent, AgentStatus.OFFLINE)
