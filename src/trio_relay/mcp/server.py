"""The tools behind the official MCP SDK. Imported where it is used, late: it costs 0.6 s and 36 MB.

Tested with mcp 2.3, which speaks the protocol's handshake versions (up to 2025-11-25: Codex, Claude Code) and the
modern one (2026-07-28).
"""

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mcp_types
import trio
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError

from trio_relay import __version__
from trio_relay.client.http import RelayClient
from trio_relay.errors import RelayError
from trio_relay.mcp import reading
from trio_relay.mcp.speaker import Origin, origin_of
from trio_relay.mcp.toolbox import INSTRUCTIONS, TOOLS, Tool, input_schema
from trio_relay.mcp.tools import Toolbox

_TEXT = "text/plain"
Headers = Sequence[tuple[bytes, bytes]]

# The SDK logs what it cannot parse, which may be somebody's message. What goes wrong is told to the client anyway.
logging.getLogger("mcp").addHandler(logging.NullHandler())
logging.getLogger("mcp").propagate = False


def relay_tools(
    relay: RelayClient, origin: Callable[[Mapping[str, Any] | None], Origin] = origin_of
) -> Server[Any]:
    """Serve the tools over `relay`; `origin` reads where a call comes from out of its ``_meta``."""
    box = Toolbox(relay, lambda: secrets.token_hex(2))

    async def list_tools(_context: Any, _page: Any) -> mcp_types.ListToolsResult:
        return mcp_types.ListToolsResult(tools=[_described(tool) for tool in TOOLS.values()])

    async def call_tool(_context: Any, call: mcp_types.CallToolRequestParams) -> mcp_types.CallToolResult:
        answer = await box.call(call.name, call.arguments, origin(call.meta))
        content = mcp_types.TextContent(text=answer.text)
        return mcp_types.CallToolResult(content=[content], is_error=answer.failed)

    async def list_resources(
        _context: Any, page: mcp_types.PaginatedRequestParams | None
    ) -> mcp_types.ListResourcesResult:
        shelves = await reading.conversations(relay, origin(page.meta if page is not None else None))
        return mcp_types.ListResourcesResult(
            resources=[
                mcp_types.Resource(
                    uri=one.uri,
                    name=one.uri.removeprefix("relay://"),
                    title=one.title,
                    description=one.description,
                    mime_type=_TEXT,
                )
                for one in shelves
            ]
        )

    async def list_templates(_context: Any, _page: Any) -> mcp_types.ListResourceTemplatesResult:
        templates = [
            mcp_types.ResourceTemplate(
                uri_template=one.uri, name=one.name, description=one.description, mime_type=_TEXT
            )
            for one in reading.TEMPLATES
        ]
        return mcp_types.ListResourceTemplatesResult(resource_templates=templates)

    async def read_resource(
        _context: Any, asked: mcp_types.ReadResourceRequestParams
    ) -> mcp_types.ReadResourceResult:
        try:
            text = await reading.read(relay, origin(asked.meta), asked.uri, box.nonce)
        except RelayError as error:
            raise MCPError(mcp_types.INVALID_PARAMS, f"{error.code}: {error.detail}") from None
        content = mcp_types.TextResourceContents(uri=asked.uri, mime_type=_TEXT, text=text)
        return mcp_types.ReadResourceResult(contents=[content])

    return Server(
        "trio-relay",
        version=__version__,
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
    )


def _described(tool: Tool) -> mcp_types.Tool:
    """A tool as it is listed.

    Codex 0.169 asks nobody for a tool that says it destroys nothing and stays in a closed world, and refuses others
    where the approval policy is ``never``; both are true of all of ours: messages are added, never changed.
    """
    annotations = mcp_types.ToolAnnotations(
        read_only_hint=tool.reads,
        destructive_hint=False,
        idempotent_hint=tool.reads or tool.again,
        open_world_hint=False,
    )
    return mcp_types.Tool(
        name=tool.name,
        description=tool.description,
        input_schema=input_schema(tool),
        annotations=annotations,
        # Claude Code 2.1 shows a model only the names of other tools until it searches for them.
        _meta={"anthropic/alwaysLoad": True},
    )


@dataclass(slots=True)
class HttpAnswer:
    """What goes back over HTTP."""

    status: int = 500
    headers: Headers = ()
    body: bytes = b""


async def answer_http(relay: RelayClient, headers: Headers, body: bytes) -> HttpAnswer:
    """Answer one POST of a client: stateless, in JSON, with nothing left behind when it ends or is cancelled."""
    answer = HttpAnswer()
    given = [body]

    async def receive() -> dict[str, Any]:
        if given:
            return {"type": "http.request", "body": given.pop(), "more_body": False}
        await trio.sleep_forever()  # whoever hangs up cancels us
        raise AssertionError

    async def send(event: Any) -> None:
        if event["type"] == "http.response.start":
            answer.status, answer.headers = event["status"], event["headers"]
        else:
            answer.body += event.get("body", b"")

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/mcp",
        "query_string": b"",
        "headers": headers,
    }
    # One for each request: with no session to keep there is nothing to share. Host, origin, credential and size were
    # checked before it came here.
    manager = StreamableHTTPSessionManager(
        relay_tools(relay), json_response=True, stateless=True, max_request_body_size=len(body) + 1
    )
    async with manager.run():
        await manager.handle_request(scope, receive, send)
    return answer


async def serve_stdio(relay: RelayClient, origin: Callable[[Mapping[str, Any] | None], Origin]) -> None:
    """Serve one client over standard input and output, until it closes them."""
    server = relay_tools(relay, origin)
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())
