"""What Claude Code asks its person, asked through the relay as well: the first answer wins."""

from typing import Any

import pytest
import trio

from support.claude_keeper import ClaudeStage, Played
from trio_relay.client import approvals
from trio_relay.core.wire_approvals import Approval, ApprovalState, Decision
from trio_relay.settings import AgentSettings

GUARDED = AgentSettings(approval="guarded")
QUESTION: dict[str, Any] = {"tool_name": "Bash", "tool_input": {"command": "make release\n"}}


async def question(stage: ClaudeStage, state: ApprovalState = ApprovalState.PENDING) -> Approval:
    """The newest question, once it is in this state."""
    with trio.fail_after(60):
        while True:
            found = await approvals.list_approvals(stage.relay)
            if found and found[0].state is state:
                return found[0]
            await trio.sleep(0.05)


class Asked:
    """A PermissionRequest hook that waits; `answer` once it has ended."""

    def __init__(self) -> None:
        self.answer: dict[str, Any] | None = None
        self.scope = trio.CancelScope()

    async def run(self, ann: Played, **given: Any) -> None:
        with self.scope:
            self.answer = await ann.hook("PermissionRequest", **(QUESTION | given))

    async def ended(self) -> dict[str, Any]:
        with trio.fail_after(60):
            while self.answer is None:
                await trio.sleep(0.05)
        return self.answer


@pytest.mark.parametrize(
    ("decided", "expected"),
    [
        (Decision.ALLOW, {"behavior": "allow"}),
        (
            Decision.DENY,
            {"behavior": "deny", "message": "A person has denied it through the relay: not on a Friday"},
        ),
    ],
)
async def test_a_person_answers_through_the_relay(
    stage: ClaudeStage, decided: Decision, expected: dict[str, str], nursery: trio.Nursery
) -> None:
    asked = Asked()
    async with stage.session(agent=GUARDED) as ann:
        await stage.agent(ann)
        nursery.start_soon(asked.run, ann)
        pending = await question(stage)
        assert (pending.agent_id, pending.tool, pending.summary) == (
            ann.agent_id,
            "Bash",
            "Bash: make release",
        )
        assert "make release" in (pending.detail or "")
        await trio.sleep(600)
        await approvals.decide(stage.relay, pending.id, decided, "not on a Friday")
        assert (await asked.ended())["decision"] == expected


@pytest.mark.parametrize("how", ["tool", "other tool", "turn", "prompt", "status", "gone", "end"])
async def test_an_answer_at_the_screen_takes_the_question_back(
    stage: ClaudeStage, how: str, nursery: trio.Nursery
) -> None:
    asked = Asked()
    async with stage.session(agent=GUARDED) as ann:
        await stage.agent(ann)
        await ann.prompt()
        nursery.start_soon(asked.run, ann)
        await question(stage)
        match how:
            case "tool":
                await ann.hook("PostToolUse", **QUESTION)
            case "other tool":
                await ann.hook("PostToolUse", tool_name="Bash", tool_input={"command": "ls"})
                await trio.sleep(10)
                await question(stage)
                await ann.hook("PostToolUse", **QUESTION)
            case "turn":
                await ann.stop()
            case "prompt":
                await ann.prompt("no, wait")
            case "status":
                await trio.sleep(1)
                ann.says("busy", stage.now() * 1000)
            case "gone":
                asked.scope.cancel()
            case "end":
                await ann.hook("SessionEnd", reason="other")
        await question(stage, ApprovalState.WITHDRAWN)
        if how != "gone":
            assert await asked.ended() == {}


async def test_nothing_is_asked_unless_it_is_wanted(stage: ClaudeStage) -> None:
    for settings, how in ((AgentSettings(), "auto"), (GUARDED, "off")):
        async with stage.session(agent=settings, approvals=how) as ann:
            await stage.agent(ann)
            began = trio.current_time()
            assert await ann.hook("PermissionRequest", **QUESTION) == {}
            assert trio.current_time() == began
    assert await approvals.list_approvals(stage.relay) == []


async def test_it_can_be_wanted_in_every_mode_and_of_a_subagent(
    stage: ClaudeStage, nursery: trio.Nursery
) -> None:
    asked = Asked()
    async with stage.session(approvals="on") as ann:
        await stage.agent(ann)
        await nursery.start(_begin, asked, ann)
        pending = await question(stage)
        await approvals.decide(stage.relay, pending.id, Decision.ALLOW)
        assert (await asked.ended())["decision"] == {"behavior": "allow"}


async def _begin(asked: Asked, ann: Played, task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    await asked.run(ann, agent_id="sub-1")
