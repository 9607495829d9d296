"""The model reaches the relay by its tools, from inside the sandbox, as itself. Everything is real but the model."""

import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from support.codex_session import World, codex_world
from support.mock_model import ModelRequest, Reply, Text, ToolCall
from support.relay_process import relay_process
from trio_relay.client import admin
from trio_relay.core.model import Rung

pytestmark = pytest.mark.codex


def tool(request: ModelRequest, name: str, **arguments: object) -> ToolCall:
    """A call of one of the relay's tools, as this Codex has named them to the model."""
    names = [str(each.get("name")) for each in request.body["tools"]]
    (namespace,) = [each for each in names if each.startswith("mcp__trio_relay")]
    return ToolCall(name, arguments, namespace=namespace)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with codex_world(tmp_path) as made:
        yield made


async def test_a_sandboxed_model_answers_by_tool_as_itself_and_once(world: World) -> None:
    """Approval never, workspace-write: the defaults. What it says at the end is not sent after what it has answered."""

    def script(request: ModelRequest) -> Reply:
        match len(request.tool_outputs):
            case 0:
                return tool(request, "reply", message_id=1, body="forged", **{"from": "tester"})
            case 1:
                return tool(request, "reply", message_id=1, body="42, by tool")
            case _:
                return Text("I have answered.")

    world.model.script = script
    config = world.home / ".codex/config.toml"
    before = config.read_bytes()
    with trio.fail_after(60):
        tester = await world.person()
        async with world.headless():
            agent = await world.agent()
            question = await world.send(tester, agent.id, "What is 6 times 7?")
            receipt = await world.receipt(question)
            said = await world.relay.thread(question.id)
            (token,) = await admin.list_tokens(world.relay)
        await world.nothing_left()
        (revoked,) = await admin.list_tokens(world.relay)
    first, *_, last = world.model.requests
    assert "Answer with the relay tool reply" in first.last_user_text
    assert first.contains("Answer a message with the relay tool reply and its id")
    assert "speaker_is_known" in json.dumps(last.tool_outputs[0])
    assert [(each.sender, each.body) for each in said] == [
        (tester, "What is 6 times 7?"),
        (agent.id, "42, by tool"),
    ]
    assert [step.state for step in receipt.steps][-2:] == [Rung.ANSWERED, Rung.SETTLED]
    assert (token.agent_id, token.scopes, token.revoked_at) == (agent.id, ["claim", "receive", "send"], None)
    assert revoked.revoked_at is not None
    assert config.read_bytes().startswith(before.rstrip()), (
        "Codex itself may note a trusted directory; we write nothing"
    )
    assert b"trio_relay" not in config.read_bytes()


async def test_a_long_message_is_put_there_by_reference_and_read_by_tool(world: World) -> None:
    body = "".join(f"{number} bottles of beer\n" for number in range(2000))

    def script(request: ModelRequest) -> Reply:
        if not request.tool_outputs:
            return tool(request, "read_message", message_id=1, offset=1000)
        return Text("Read.")

    world.model.script = script
    with (world.home / ".codex/config.toml").open("a") as config:  # the user has a server of this very name
        config.write('[mcp_servers.trio_relay]\ncommand = "/bin/false"\n')
    with trio.fail_after(60):
        tester = await world.person()
        async with world.headless():
            agent = await world.agent()
            message = await world.send(tester, agent.id, body)
            answer = await world.answer_to(message)
            receipt = await world.receipt(message)
    first, second = world.model.requests
    assert len(first.last_user_text) < 1600
    assert f"message_id {message.id}, offset 1000" in first.last_user_text
    shown = json.dumps(second.tool_outputs[0])
    assert json.dumps(body[1000:1100])[1:-1] in shown.replace("\\\\n", "\\n")
    assert answer.body == "Read."
    (seen,) = [step for step in receipt.steps if step.state is Rung.IN_CONTEXT]
    assert seen.evidence["byReference"] == [message.id]


async def test_a_relay_that_is_away_costs_no_answer_and_its_tools_come_back(
    world: World, tmp_path: Path
) -> None:
    """The tool says that it failed, the model says it at the end instead, and the sidecar posts that when it can."""

    def script(request: ModelRequest) -> Reply:
        if not request.tool_outputs:
            os.kill(world.relay_pid, signal.SIGKILL)
            return tool(request, "reply", message_id=1, body="by tool")
        if len(request.tool_outputs) == 1 and "second" not in request.last_user_text:
            return Text("at the end")
        if "second" in request.last_user_text and len(request.tool_outputs) == 1:
            return tool(request, "reply", message_id=3, body="by tool")
        return Text("done")

    world.model.script = script
    with trio.fail_after(90):
        tester = await world.person()
        async with world.headless():
            agent = await world.agent()
            first = await world.send(tester, agent.id, "first")
            failed = await world.model.seen(lambda one: bool(one.tool_outputs))
            port = int(world.environment["AGENT_RELAY_URL"].rpartition(":")[2])
            async with relay_process(tmp_path, port):
                assert (await world.answer_to(first)).body == "at the end"
                second = await world.send(tester, agent.id, "second")
                assert (second.id, (await world.answer_to(second)).body) == (3, "by tool")
                assert (await world.receipt(second)).state is Rung.SETTLED
                assert len(await world.relay.thread(second.id)) == 2
    assert "error" in json.dumps(failed.tool_outputs[0]).lower()
