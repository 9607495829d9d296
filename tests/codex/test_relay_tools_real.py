"""What Codex says of itself when a model calls a tool: the thread, where the model has no say. Without any token."""

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import trio

from support.codex import older_versions
from support.mock_model import ModelRequest, Reply, Text, ToolCall
from support.real_app_server import real_app_server
from support.relay_process import relay_process
from trio_relay.cli.sessions.session_tools import begin
from trio_relay.client import RelayClient
from trio_relay.codex.app_server import open_app_server
from trio_relay.core.wire import AgentRegistration
from trio_relay.settings import AgentSettings

pytestmark = pytest.mark.codex

SPAWN = ToolCall("spawn_agent", {"message": "help me"}, namespace="multi_agent_v1")


def asked(request: ModelRequest) -> str:
    """What the person said, without the mark an old Codex gets to know it by."""
    return request.last_user_text.partition("\n")[0]


def say(request: ModelRequest) -> ToolCall:
    """Write to bob, by the name this Codex gives the tools."""
    names = [str(tool.get("name")) for tool in request.body["tools"]]
    (namespace,) = [name for name in names if name.startswith("mcp__trio_relay")]
    return ToolCall("send_message", {"to": "bob", "body": asked(request)}, namespace=namespace)


@pytest.mark.parametrize("version", [None, *older_versions()])
async def test_a_thread_and_its_sub_agent_speak_as_its_agent_and_another_thread_as_nobody(
    version: str | None, tmp_path: Path
) -> None:
    numbers: Iterator[int] = count()

    def script(request: ModelRequest) -> Reply:
        text = asked(request)
        if text in {"from ann", "from nobody", "help me"} and not request.tool_outputs:
            return say(request)
        if text == "from ann" and version is None and len(request.tool_outputs) == 1:
            return SPAWN
        return Text(f"done {next(numbers)}")

    async with (
        relay_process(tmp_path) as (_, url),
        RelayClient.open(url) as relay,
        real_app_server(tmp_path, version=version) as real,
    ):
        await real.kill()
        real.model.script = script
        # As docs/mcp.md has it for a plain Codex. No approval: the tools' own word that they are harmless is enough.
        real.arguments = ["-c", f'mcp_servers.trio_relay={{url = "{url}/mcp"}}']
        await real.start()

        async def answered(text: str) -> ModelRequest:
            return await real.model.seen(lambda one: asked(one) == text and bool(one.tool_outputs))

        with trio.fail_after(60):
            assert await begin(AgentSettings(relay_url=url)), (
                "or Codex begins its turns before it has the tools"
            )
            await relay.register(AgentRegistration(id="bob"))
            async with open_app_server(real.url) as server:
                for text in ("from ann", "from nobody"):
                    thread_id = await server.thread_start(
                        cwd=str(real.cwd), approval_policy="never", sandbox="workspace-write"
                    )
                    if text == "from ann":
                        await relay.register(AgentRegistration(id="ann", meta={"threadId": thread_id}))
                    await server.turn_start(thread_id, text, "relay:1")
                    await answered(text)
                if version is None:
                    await answered("help me")
                refused = await answered("from nobody")
            said = [(one.sender, one.body) for one in await relay.inbox("bob")]
    assert "unknown_session" in json.dumps(refused.tool_outputs)
    assert said == [("ann", "from ann"), *([("ann", "help me")] if version is None else [])]
