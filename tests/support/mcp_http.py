"""Calling the relay's tools over HTTP without the SDK's client: one POST a call, as Codex 0.169 sends it."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import httpx2

from support.relay import Room

# In virtual time nobody may wait for the thread that imports it.
import_module("trio_relay.mcp.server")

HEADERS = {
    "Accept": "application/json, text/event-stream",
    "Content-Type": "application/json",
    "MCP-Protocol-Version": "2025-06-18",
}


@dataclass(frozen=True)
class Said:
    """What a tool said, and whether it said that it failed."""

    text: str
    failed: bool

    @property
    def code(self) -> str:
        assert self.failed, self.text
        return self.text.partition(":")[0]


def in_thread(thread_id: str, turn_id: str = "turn-1", **more: str) -> dict[str, Any]:
    """The ``_meta`` of a call Codex makes for a thread."""
    return {"x-codex-turn-metadata": {"thread_id": thread_id, "turn_id": turn_id, **more}}


async def post(
    room: Room, method: str, params: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> httpx2.Response:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return await room.http("POST", "/mcp", json=body, headers={**HEADERS, **(headers or {})})


async def use(
    room: Room,
    name: str,
    /,
    *,
    thread: str | None = None,
    meta: Mapping[str, Any] | None = None,
    token: str | None = None,
    more: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> Said:
    """Call a tool with `arguments` and `more`: for a Codex thread, with a token, or as nobody in particular."""
    if thread is not None:
        meta = in_thread(thread)
    params = {
        "name": name,
        "arguments": {**arguments, **(more or {})},
        **({} if meta is None else {"_meta": meta}),
    }
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    response = await post(room, "tools/call", params, headers)
    assert response.status_code == 200, response.text
    result = response.json()["result"]
    (content,) = result["content"]
    return Said(content["text"], result.get("isError", False))
