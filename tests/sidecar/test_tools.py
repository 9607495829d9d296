"""The model has the relay's tools: it answers with them, reads with them, and speaks as its agent and no other."""

from typing import Any

import pytest
import trio

from support.mcp_http import use
from support.mock_model import Reply, Text, ToolCall
from support.sidecar import Running, Stage
from trio_relay.client import admin
from trio_relay.core.access import Scope
from trio_relay.core.model import Rung
from trio_relay.core.prompts import EXCERPT
from trio_relay.core.wire_access import MintedToken, TokenRequest


def with_tools(stage: Stage, bob: Running, *replies: Reply) -> list[str]:
    """Let the model of `bob` use the relay's tools as Codex calls them: for its thread. What they said."""
    said: list[str] = []
    for name in ("reply", "send_message", "read_message"):

        async def call(arguments: dict[str, Any], name: str = name) -> str:
            answer = await use(stage.room, name, thread=bob.thread_id, more=arguments)
            said.append(answer.text)
            return answer.text

        stage.fake.tools[name] = call
    stage.fake.model.script = list(replies)
    return said


async def test_whoever_was_answered_by_tool_is_not_answered_again(stage: Stage) -> None:
    """Of five messages in one turn: those the tool's answer covers, the one after it, and another sender's."""
    await stage.join("carol")
    async with stage.sidecar(tools="on") as bob:
        first = await stage.send(bob.agent_id, "one")
        second = await stage.send(bob.agent_id, "two", reply_to=first.id)
        third = await stage.send(bob.agent_id, "three", reply_to=first.id)
        apart = await stage.send(bob.agent_id, "four")
        other = await stage.send(bob.agent_id, "five", sender="carol")
        answer = ToolCall("reply", {"message_id": second.id, "body": "by tool"})
        with_tools(stage, bob, answer, Text("at the end"))
        for sent in (first, second, third, apart, other):
            await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert [(each.reply_to, each.body, each.sender) for each in await stage.replies()] == [
            (second.id, "by tool", bob.agent_id),
            (third.id, "at the end", bob.agent_id),
            (apart.id, "at the end", bob.agent_id),
        ]
        assert [each.reply_to for each in await stage.replies("carol")] == [other.id]
        (text,) = stage.fake.thread(bob.thread_id).user_texts
        assert text.endswith(
            "Answer with the relay tool reply, each that needs an answer; whoever gets none is sent your final message, "
            "unless it is NO_REPLY."
        )


async def test_who_said_by_tool_to_be_at_it_still_answers_at_the_end(stage: Stage) -> None:
    async with stage.sidecar(tools="on") as bob:
        sent = await stage.send(bob.agent_id)
        on_it = ToolCall("reply", {"message_id": sent.id, "body": "on it", "ack": True})
        with_tools(stage, bob, on_it, Text("done"))
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert [(each.type, each.body) for each in await stage.replies()] == [
            ("ack", "on it"),
            ("reply", "done"),
        ]
        assert (await stage.ladder(sent.id, bob.agent_id))[-2:] == ["answered", "settled"]


async def test_a_long_message_goes_by_reference_and_its_receipt_says_so(stage: Stage) -> None:
    async with stage.sidecar(tools="on") as bob:
        long, short = "x" * 5000, "y" * 4000
        sent = await stage.send(bob.agent_id, long)
        read = ToolCall("read_message", {"message_id": sent.id, "offset": EXCERPT})
        said = with_tools(stage, bob, read, Text("read"), Text("ok"))
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        inline = await stage.send(bob.agent_id, short)
        await stage.until(inline.id, bob.agent_id, Rung.SETTLED)
        first, second = stage.fake.thread(bob.thread_id).user_texts
        assert f"read_message: message_id {sent.id}, offset {EXCERPT}" in first
        assert first.count("x") == pytest.approx(EXCERPT, abs=5)
        assert short in second
        assert "x" * (5000 - EXCERPT) in said[0]
        assert (await stage.evidence(sent.id, bob.agent_id))["in_context"]["byReference"] == [sent.id]
        assert "byReference" not in (await stage.evidence(inline.id, bob.agent_id))["in_context"]


async def test_without_the_tools_a_long_message_goes_whole(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        sent = await stage.send(bob.agent_id, "x" * 5000)
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert "x" * 5000 in stage.fake.thread(bob.thread_id).user_texts[0]
        assert "byReference" not in (await stage.evidence(sent.id, bob.agent_id))["in_context"]


async def session_token(stage: Stage) -> MintedToken:
    return await admin.mint_token(stage.relay, TokenRequest(scopes=[Scope.SEND, Scope.RECEIVE]))


async def test_the_sidecar_binds_the_token_of_the_tools_to_its_agent(stage: Stage) -> None:
    token = await session_token(stage)
    async with stage.sidecar(tools="on", token_id=token.id) as bob:
        await use(stage.room, "send_message", token=token.token, to="alice", body="hello")
        (message,) = await stage.relay.inbox("alice")
        assert message.sender == bob.agent_id


@pytest.mark.parametrize("gone", ["bound to another", "unknown"])
async def test_a_token_that_cannot_be_bound_stops_nobody(stage: Stage, gone: str) -> None:
    token_id = 99
    if gone == "bound to another":
        token_id = (await session_token(stage)).id
        await admin.bind_token(stage.relay, token_id, "alice")
    async with stage.sidecar(tools="on", token_id=token_id) as bob:
        sent = await stage.send(bob.agent_id)
        with trio.fail_after(60):
            await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
