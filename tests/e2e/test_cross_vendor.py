"""The real Codex and the real Claude Code in one room: they pair, talk, share work; what was said and proven is asserted."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from support.claude_session import claude_at
from support.codex_session import World, codex_at
from support.colleague import Colleague
from support.mock_messages import bash
from support.mock_model import ModelRequest, Reply, Text, ToolCall
from support.relay_process import relay_process
from trio_relay.client import pairs
from trio_relay.client.events import follow
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.core.wire import Agent, Message
from trio_relay.core.wire_pairs import PairStatus

pytestmark = [pytest.mark.codex, pytest.mark.claude]

#: A relay tool and its arguments, or the words that end the turn.
Step = tuple[str, Mapping[str, Any]] | str


class CodexSays:
    """What Codex's model does when it reads certain words for the first time; a turn of which nothing is told ends."""

    def __init__(self, told: dict[str, Sequence[Step]]) -> None:
        self._told = told
        self._agenda: list[Step] = []

    def __call__(self, request: ModelRequest) -> Reply:
        for words in [each for each in self._told if each in request.last_user_text]:
            self._agenda += self._told.pop(words)
        step = self._agenda.pop(0) if self._agenda else "NO_REPLY"
        if isinstance(step, str):
            return Text(step)
        names = [str(each.get("name")) for each in request.body["tools"]]
        (namespace,) = [each for each in names if each.startswith("mcp__trio_relay")]
        return ToolCall(*step, namespace=namespace)


def of_codex(claude: Agent) -> CodexSays:
    """What Codex's model does about what it reads."""
    return CodexSays(
        {
            "Get help.": [
                ("pair", {"action": "invite", "target": claude.id, "text": "Find the flaky test"}),
                "I have asked for it.",
            ],
            "pair.accepted": [("send_message", {"to": claude.id, "body": "Which one is it?"}), "NO_REPLY"],
            "test_door, one run in ten.": [
                ("send_message", {"to": claude.id, "body": "Mend test_door", "claimable": True}),
                "NO_REPLY",
            ],
            "Write the docs": ["They are written."],
        }
    )


def of_claude(number: int, line: str) -> list[ToolCall]:
    """What Claude's model does about a message."""
    read = bash(f"trio-relay read {number}")
    if "Invitation to pair" in line:
        return [read, bash("trio-relay pair accept")]
    if "Which one is it?" in line:
        return [read, bash(f"trio-relay reply {number} 'test_door, one run in ten.'")]
    if "Mend test_door" in line:
        return [
            read,
            bash(f"trio-relay claim {number}"),
            bash(f"trio-relay reply {number} 'It waits for the bell now.'"),
            bash(f"trio-relay complete {number} mended"),
        ]
    return [read]


async def test_codex_and_claude_code_work_together(tmp_path: Path) -> None:
    (tmp_path / "codex").mkdir()
    (tmp_path / "claude").mkdir()
    with trio.fail_after(180):
        async with (
            relay_process(tmp_path) as relay,
            codex_at(relay, tmp_path / "codex") as one,
            claude_at(relay, tmp_path / "claude") as other,
        ):
            await other.install()
            async with one.headless(), other.tui() as tui:
                tester = await one.person()
                codex, claude = await one.agent(), await other.agent()
                names = {tester: "tester", codex.id: "codex", claude.id: "claude", "system": "system"}
                one.model.script = of_codex(claude)
                other.model.script = Colleague(
                    answers=of_claude,
                    told={"Offer the docs.": [bash("trio-relay send-claimable tag:codex 'Write the docs'")]},
                )
                await one.send(tester, codex.id, "Get help.")
                await said(one, "It waits for the bell now.")
                await other.submit(tui, "Offer the docs.")
                await one.receipt(await said(one, "They are written."))
                transcript = sorted(await one.relay.browse(), key=lambda each: each.id)
                assert [
                    (names[each.sender], names.get(each.to, each.to), each.type, each.body)
                    for each in transcript
                ] == [
                    ("tester", "codex", "message", "Get help."),
                    ("codex", "claude", "pair.invite", "Find the flaky test"),
                    ("codex", "tester", "reply", "I have asked for it."),
                    (
                        "system",
                        "codex",
                        "pair.accepted",
                        f"{claude.id} has accepted: you are a pair now (pair 1).",
                    ),
                    ("codex", "claude", "message", "Which one is it?"),
                    ("claude", "codex", "reply", "test_door, one run in ten."),
                    ("codex", "claude", "message", "Mend test_door"),
                    ("claude", "codex", "reply", "It waits for the bell now."),
                    ("claude", "tag:codex", "message", "Write the docs"),
                    ("codex", "claude", "reply", "They are written."),
                ]
                for message in transcript:
                    await proven(one, message, codex, claude)
                assert await happened(one) == [
                    ("pair.invited", None, None),
                    ("pair.accepted", None, None),
                    ("message.claimed", 7, claude.id),
                    ("message.completed", 7, claude.id),
                    ("message.claimed", 9, codex.id),
                    ("message.completed", 9, codex.id),
                ]
                await other.leave(tui)
                await other.status(claude, AgentStatus.OFFLINE)
                (pair,) = await pairs.pairs_of(one.relay, codex.id)
                assert (pair.status, pair.ended_by) == (PairStatus.ENDED, claude.id)


async def said(world: World, body: str) -> Message:
    """A message with this text, once there is one."""
    while True:
        for message in await world.relay.browse():
            if message.body == body:
                return message
        await trio.sleep(0.05)


async def proven(world: World, message: Message, codex: Agent, claude: Agent) -> None:
    """What reached a model was in its context, by the proof its program gives, and is over."""
    (receipt,) = await world.relay.receipts(message.id)
    if receipt.agent_id not in {codex.id, claude.id}:
        return
    receipt = await world.receipt(message)
    (seen,) = [step for step in receipt.steps if step.state is Rung.IN_CONTEXT]
    if receipt.agent_id == codex.id:
        assert (seen.evidence["proof"], seen.evidence["threadId"]) == ("clientId", codex.meta["threadId"])
    else:
        assert (seen.evidence["by"], seen.evidence["sessionId"]) == ("PostToolUse", claude.meta["threadId"])


async def happened(world: World) -> list[tuple[str, Any, Any]]:
    """What the relay's log says of pairs and claims, to the end of the last one."""
    found = []
    types = ["pair.*", "message.claimed", "message.claim_released", "message.completed"]
    async with follow(world.relay, types=types, after=0) as events:
        async for event in events:
            found.append((event.kind, event.data.get("messageId"), event.data.get("agentId")))
            if found[-1][:2] == ("message.completed", 9):
                return found
    raise AssertionError(found)
