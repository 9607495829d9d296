"""Requests that are nearly right: none of them makes the tools err."""

import json
import random
from pathlib import Path
from typing import Any

import structlog
from trio.testing import MockClock

from support.mcp_http import HEADERS, in_thread
from support.relay import open_room
from support.talk import join, say
from trio_relay.mcp.speaker import TURN
from trio_relay.mcp.toolbox import TOOLS

ANNS = "0199-ann"


def _anything(rng: random.Random, depth: int = 0) -> Any:
    """Any JSON, with what a server may trip over."""
    plain = ["", "ann", "list", "claim", "\ud800", "\x00", "x" * 300, 0, -1, 2**63, 1e308, True, None, 1, 5]
    if depth < 3 and rng.random() < 0.3:
        names = [
            "name",
            "arguments",
            "_meta",
            "uri",
            "protocolVersion",
            "x-codex-turn-metadata",
            "message_id",
        ]
        return {rng.choice(names): _anything(rng, depth + 1) for _ in range(rng.randrange(4))}
    return rng.choice(plain) if rng.random() < 0.8 else [_anything(rng, depth + 1)]


def _request(rng: random.Random) -> dict[str, Any]:
    """A request that is nearly one, or a call of a tool with nearly its arguments."""
    tool = rng.choice(list(TOOLS.values()))
    names = [*tool.arguments.__struct_fields__, *(["from"] if rng.random() < 0.1 else [])]
    arguments = {name: _anything(rng) for name in rng.sample(names, rng.randrange(len(names) + 1))}
    meta = in_thread(ANNS) if rng.random() < 0.8 else {TURN: _anything(rng)}
    methods = [
        "tools/call",
        "tools/list",
        "initialize",
        "ping",
        "server/discover",
        "resources/read",
        "nonsense",
    ]
    request = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call" if rng.random() < 0.6 else rng.choice(methods),
        "params": {"name": tool.name, "arguments": arguments, "_meta": meta},
    }
    if rng.random() < 0.2:
        request[rng.choice(list(request))] = _anything(rng)
    return request


async def test_no_request_makes_it_err(tmp_path: Path, autojump_clock: MockClock) -> None:
    rng = random.Random(20261121)
    versions = [
        "2024-11-05",
        "2025-06-18",
        "2025-06-18",
        "2025-11-25",
        "2025-11-25",
        "2026-07-28",
        "nonsense",
    ]
    async with open_room(tmp_path) as room:
        await join(room, "ann", ready=True, status="idle", meta={"threadId": ANNS})
        await join(room, "bob", ready=True, status="idle")
        await say(room, "bob", "ann", claimable=True)
        with structlog.testing.capture_logs() as logged:
            for number in range(250):
                body = json.dumps(_request(rng)).encode()
                headers = HEADERS | {"MCP-Protocol-Version": rng.choice(versions)}
                response = await room.http("POST", "/mcp", content=body, headers=headers)
                assert response.status_code < 500, (number, body, response.text)
                assert "internal_error" not in response.text, (number, body)
                assert "Internal" not in response.text, (number, body, response.text)
        assert [entry for entry in logged if entry["log_level"] == "error"] == []
