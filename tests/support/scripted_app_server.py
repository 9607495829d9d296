"""An app-server that says exactly what a test tells it to, good frames and bad ones, over a stream in memory."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio
import trio.testing
import trio_websocket

from trio_relay.codex.app_server import AppServer, open_app_server
from trio_relay.codex.connection import MAX_FRAME

URL = "ws://127.0.0.1:4501"
HELLO = '{"id":1,"result":{"userAgent":"scripted/0"}}'


class Scripted:
    """A WebSocket server that says what the test says, and keeps what it hears."""

    def __init__(self, websocket: trio_websocket.WebSocketConnection, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.heard: list[dict[str, Any]] = []
        self._websocket = websocket

    async def say(self, frame: str | bytes | dict[str, Any]) -> None:
        await self._websocket.send_message(json.dumps(frame) if isinstance(frame, dict) else frame)

    async def hear(self) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(await self._websocket.get_message())
        self.heard.append(frame)
        return frame

    async def until_closed(self) -> trio_websocket.CloseReason | None:
        while True:
            try:
                await self.hear()
            except trio_websocket.ConnectionClosed as closed:
                return closed.reason


@asynccontextmanager
async def scripted(
    script: Callable[[Scripted], Awaitable[None]],
) -> AsyncGenerator[tuple[AppServer, Scripted]]:
    """Connect to a server that runs `script` once the client has introduced itself."""
    servers: list[Scripted] = []
    served = trio.Event()

    async def serve(stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as wire:
            request = await trio_websocket.wrap_server_stream(wire, stream, max_message_size=MAX_FRAME)
            server = Scripted(await request.accept(), stream)
            servers.append(server)
            with suppress(trio_websocket.ConnectionClosed):
                assert (await server.hear())["method"] == "initialize"
                await server.say(HELLO)
                assert await server.hear() == {"method": "initialized"}
                await script(server)
                await server.until_closed()
            wire.cancel_scope.cancel()
        served.set()

    async with trio.open_nursery() as nursery:

        async def dial() -> trio.abc.Stream:
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(serve, theirs)
            return ours

        async with open_app_server(URL, dial=dial) as app_server:
            yield app_server, servers[0]
        with trio.move_on_after(1):
            await served.wait()
        nursery.cancel_scope.cancel()
