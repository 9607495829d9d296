"""The official MCP client against a real relay process, over HTTP and through ``trio-relay mcp``."""

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import httpx2
import mcp
import pytest
import trio
from mcp.client.streamable_http import streamable_http_client
from mcp_types import TextContent, TextResourceContents

from support.commands import clean_environment
from support.relay_process import relay_process
from trio_relay.client import RelayClient, admin
from trio_relay.core.access import Scope
from trio_relay.core.wire import AgentRegistration, SendRequest
from trio_relay.core.wire_access import TokenRequest
from trio_relay.mcp.reading import TEMPLATES
from trio_relay.mcp.toolbox import INSTRUCTIONS, TOOLS

Mode = Literal["auto", "legacy"]
COMMAND = [sys.executable, "-m", "trio_relay", "mcp"]


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[RelayClient]:
    async with relay_process(tmp_path) as (_, url), RelayClient.open(url) as client:
        yield client


@asynccontextmanager
async def over_http(relay: RelayClient, token: str, mode: Mode = "auto") -> AsyncIterator[mcp.Client]:
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=60) as http,
        mcp.Client(streamable_http_client(f"{relay.url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


def over_stdio(relay: RelayClient, home: Path, *arguments: str, **more: str) -> mcp.Client:
    environment = clean_environment(home, AGENT_RELAY_URL=relay.url, **more)
    return mcp.Client(
        mcp.StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], *arguments], env=environment)
    )


async def call(client: mcp.Client, name: str, /, **arguments: Any) -> tuple[str, bool]:
    """What a tool says, and whether it says that it failed."""
    result = await client.call_tool(name, arguments)
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text, bool(result.is_error)


async def mint(relay: RelayClient, agent_id: str) -> str:
    request = TokenRequest(agent_id=agent_id, scopes=[Scope.SEND, Scope.RECEIVE])
    return (await admin.mint_token(relay, request)).token


async def check_resources(client: mcp.Client, relay: RelayClient) -> None:
    """What ``ann`` has written to ``desk`` is there as a resource."""
    sent = await relay.send(SendRequest(sender="ann", to="desk", subject="The build", body="It is red."))
    listed = (await client.list_resources()).resources[0]
    assert (listed.uri, listed.title) == (f"relay://thread/{sent.id}", "ann: The build")
    (content,) = (await client.read_resource(listed.uri)).contents
    assert isinstance(content, TextResourceContents)
    assert "It is red." in content.text
    templates = (await client.list_resource_templates()).resource_templates
    assert [one.uri_template for one in templates] == [one.uri for one in TEMPLATES]
    with pytest.raises(mcp.MCPError, match="unknown_message: there is no message 99"):
        await client.read_resource("relay://message/99")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_over_http_with_a_bound_token(relay: RelayClient, mode: Mode) -> None:
    await relay.register(AgentRegistration(id="ann"))
    with trio.fail_after(60):
        async with over_http(relay, await mint(relay, "desk"), mode) as client:
            assert client.instructions == INSTRUCTIONS
            listed = (await client.list_tools()).tools
            assert [tool.name for tool in listed] == list(TOOLS)
            assert all(tool.annotations and tool.annotations.destructive_hint is False for tool in listed)
            said, failed = await call(client, "send_message", to="ann", body="hello")
            assert (json.loads(said)["recipients"], failed) == ({"ann": "deaf"}, False)
            assert (await call(client, "send_message", to="ann", body="obey", **{"from": "boss"}))[1]
            said, failed = await call(client, "reply", message_id=99, body="x")
            assert (said, failed) == ("unknown_message: there is no message 99", True)
            await check_resources(client, relay)
    assert [message.sender for message in await relay.inbox("ann")] == ["desk"]


async def test_a_token_that_is_unknown_is_turned_away(relay: RelayClient) -> None:
    with trio.fail_after(60), pytest.raises(BaseExceptionGroup):
        async with over_http(relay, "trt_nonsense") as client:
            await client.list_tools()


async def test_over_stdio_as_the_agent_that_is_named(relay: RelayClient, tmp_path: Path) -> None:
    with trio.fail_after(60):
        async with over_stdio(relay, tmp_path, "--agent", "desk") as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == list(TOOLS)
            await relay.register(AgentRegistration(id="ann"))
            await call(client, "send_message", to="ann", body="hello")
            await relay.send(SendRequest(sender="ann", to="desk", body="hello yourself"))
            assert "hello yourself" in (await call(client, "read_message"))[0]
            await check_resources(client, relay)
    assert [message.sender for message in await relay.inbox("ann")] == ["desk"]


async def test_over_stdio_as_the_agent_of_the_session_it_is_started_in(
    relay: RelayClient, tmp_path: Path
) -> None:
    await relay.register(AgentRegistration(id="ann", meta={"threadId": "0199-ann"}))
    with trio.fail_after(60):
        async with over_stdio(relay, tmp_path, CODEX_THREAD_ID="0199-ann") as client:
            said, _ = await call(client, "list_agents")
            assert json.loads(said)["you"] is True


async def test_over_stdio_a_token_of_somebody_else_is_refused(relay: RelayClient, tmp_path: Path) -> None:
    token = await mint(relay, "ann")
    with trio.fail_after(60):
        async with over_stdio(relay, tmp_path, "--agent", "desk", AGENT_RELAY_TOKEN=token) as client:
            said, failed = await call(client, "send_message", to="ann", body="x")
    assert (said, failed) == ("not_your_agent: the token is bound to 'ann', not to 'desk'", True)


async def test_over_stdio_a_relay_that_is_away_is_said_and_the_tools_stay(tmp_path: Path) -> None:
    async with relay_process(tmp_path) as (_, url):
        pass
    with trio.fail_after(60):
        async with RelayClient.open(url) as gone, over_stdio(gone, tmp_path, "--agent", "desk") as client:
            assert len((await client.list_tools()).tools) == len(TOOLS)
            said, failed = await call(client, "send_message", to="ann", body="x")
    assert failed
    assert said.startswith(f"connection_lost: the relay at {url} cannot be reached")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_stdio_server(relay: RelayClient, tmp_path: Path, number: int) -> None:
    environment = clean_environment(tmp_path, AGENT_RELAY_URL=relay.url)
    hello = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    with trio.fail_after(60):
        process = await trio.lowlevel.open_process(
            COMMAND, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdin is not None
        assert process.stdout is not None
        async with process.stdin, process.stdout:
            await process.stdin.send_all(json.dumps(hello).encode() + b"\n")
            assert b'"id":1' in await process.stdout.receive_some()
            process.send_signal(number)
            assert await process.wait() == -number


def test_the_sdk_is_loaded_by_whoever_asks_for_it_and_by_nobody_else() -> None:
    code = "import sys, trio_relay.relay.serve, trio_relay.cli.operating.serve, trio_relay.cli.sessions.mcp\n"
    code += "assert not {'mcp', 'mcp_types', 'pydantic', 'starlette'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
