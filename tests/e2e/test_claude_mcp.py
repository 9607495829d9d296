"""The relay's tools in the real Claude Code without the plugin: ``claude mcp add``, and nothing else of ours."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from support.claude import older_versions
from support.claude_session import ClaudeWorld, claude_world
from support.mock_messages import MessagesRequest, Reply, Text, ToolCall, bash
from trio_relay.client import admin
from trio_relay.core.access import Scope
from trio_relay.core.wire import AgentRegistration, SendRequest
from trio_relay.core.wire_access import TokenRequest
from trio_relay.mcp.toolbox import INSTRUCTIONS, TOOLS

pytestmark = pytest.mark.claude


def once_connected(server: str, *replies: Reply) -> Callable[[MessagesRequest], Reply]:
    """Give these replies in order, once the tools of `server` are there: Claude Code 2.1.329 begins without them."""
    left = list(replies)

    def script(request: MessagesRequest) -> Reply:
        connected = any(tool.startswith(f"mcp__{server}__") for tool in request.tools)
        return left.pop(0) if connected else bash("true")

    return script


async def allowed(world: ClaudeWorld, prompt: str, server: str) -> str:
    return await world.print(prompt, "--allowedTools", f"mcp__{server},ReadMcpResourceTool,Bash(true)")


@pytest.mark.parametrize("version", [None, *older_versions()])
async def test_claude_code_speaks_by_the_tools_as_the_agent_of_its_token(
    version: str | None, tmp_path: Path
) -> None:
    async with claude_world(tmp_path, version=version) as world:
        with trio.fail_after(120):
            await world.relay.register(AgentRegistration(id="ann"))
            asked = await world.relay.send(
                SendRequest(sender="ann", to="desk", body="What is 6 times 7?", allow_unknown=True)
            )
            scopes = [Scope.SEND, Scope.RECEIVE, Scope.OBSERVE]
            token = (await admin.mint_token(world.relay, TokenRequest(agent_id="desk", scopes=scopes))).token
            header = f"Authorization: Bearer {token}"
            address = f"{world.relay.url}/mcp"
            await world.run(
                [world.program, "mcp", "add", "--transport", "http", "relay", address, "--header", header]
            )
            world.model.script = once_connected(
                "relay",
                ToolCall("mcp__relay__read_message", {}),
                ToolCall("ReadMcpResourceTool", {"server": "relay", "uri": f"relay://thread/{asked.id}"}),
                ToolCall("mcp__relay__reply", {"message_id": asked.id, "body": "42"}),
                Text("Answered."),
            )
            assert await allowed(world, "look at the relay", "relay") == "Answered.\n"
            last = world.model.requests[-1]
            assert {f"mcp__relay__{name}" for name in TOOLS} <= set(last.tools)
            assert last.contains(INSTRUCTIONS)
            read, resource, replied = last.tool_outputs[-3:]
            assert "What is 6 times 7?" in read
            assert "What is 6 times 7?" in resource
            assert "recipients" in replied
            (answer,) = await world.relay.inbox("ann")
            assert (answer.sender, answer.body, answer.reply_to) == ("desk", "42", asked.id)

            # The same relay over stdio, as the agent that is named.
            command = ["mcp", "add", "room", "--", "trio-relay", "mcp", "--agent", "cid"]
            await world.run([world.program, *command])
            send = ToolCall("mcp__room__send_message", {"to": "ann", "body": "I have read it."})
            world.model.script = once_connected("room", send, Text("Sent."))
            assert await allowed(world, "tell ann", "room") == "Sent.\n"
            assert (await world.relay.inbox("ann"))[-1].sender == "cid"
