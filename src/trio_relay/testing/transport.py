"""Carry HTTP to an application in this very process, piece by piece: an event stream works as over a network.

httpx2's own ``ASGITransport`` hands out an answer when it is complete, which a stream never is.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import httpx2
import trio

Application = Callable[..., Awaitable[None]]


class AppTransport(httpx2.AsyncBaseTransport):
    """Carry requests to `app`, whose handlers run in `nursery`; while `broken` is set, no request gets through."""

    def __init__(self, app: Application, nursery: trio.Nursery) -> None:
        self.broken = False
        self._app = app
        self._nursery = nursery
        self._open: set[_Exchange] = set()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Start the application on a request, and answer when it has begun to."""
        if self.broken:
            await trio.lowlevel.checkpoint()
            raise httpx2.ConnectError("the network is cut", request=request)
        exchange = _Exchange(await request.aread())
        self._open.add(exchange)
        self._nursery.start_soon(self._run, exchange, _scope(request))
        try:
            await exchange.begun.wait()
        except BaseException:
            exchange.hang_up()
            raise
        if exchange.status is None:
            raise httpx2.RemoteProtocolError("the connection was lost without an answer", request=request)
        return httpx2.Response(exchange.status, headers=exchange.headers, stream=exchange)

    def cut(self) -> None:
        """Lose every connection, and all new ones until `broken` is reset."""
        self.broken = True
        for exchange in tuple(self._open):
            exchange.lose()

    async def _run(self, exchange: "_Exchange", scope: dict[str, Any]) -> None:
        try:
            with exchange.handling:
                await self._app(scope, exchange.receive, exchange.send)
        finally:
            self._open.discard(exchange)
            exchange.end()


class _Exchange(httpx2.AsyncByteStream):
    """One request and its answer. To httpx2 it is the answer's body."""

    def __init__(self, body: bytes) -> None:
        self.begun = trio.Event()
        self.status: int | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.handling = trio.CancelScope()
        self._request: bytes | None = body
        self._left = trio.Event()
        self._lost = False
        # No room for a piece that nobody takes: a reader that stops reading stops the writer, as a network does.
        self._pieces, self._taken = trio.open_memory_channel[bytes](0)

    async def receive(self) -> dict[str, Any]:
        if self._request is not None:
            body, self._request = self._request, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
            self.begun.set()
        elif message.get("body"):
            try:
                await self._pieces.send(message["body"])
            except trio.BrokenResourceError:
                self._left.set()  # hung up: the rest goes nowhere

    def hang_up(self) -> None:
        self._left.set()
        self._taken.close()

    def lose(self) -> None:
        """Lose the connection: our side hears of it as it would of a reset."""
        self._lost = True
        self._left.set()
        self.handling.cancel()

    def end(self) -> None:
        self.begun.set()
        self._pieces.close()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            try:
                piece = await self._taken.receive()
            except trio.EndOfChannel:
                if self._lost:
                    raise httpx2.ReadError("the connection was lost") from None
                return
            yield piece

    async def aclose(self) -> None:
        self.hang_up()


def _scope(request: httpx2.Request) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.partition(b"?")[0],
        "query_string": request.url.query,
        "server": (request.url.host, request.url.port),
        "client": ("127.0.0.1", 50000),
        "root_path": "",
    }
