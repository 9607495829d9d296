"""What the mocks of models' APIs share: replies, the script that chooses them, a record of requests, HTTP on loopback.

A script decides every answer: one reply for all requests, a list of replies used in order, or a function of the
request (plain or async). A reply is `Text`, `ToolCall` or `Failure`.
"""

import inspect
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import h11
import trio


@dataclass(frozen=True)
class Text:
    """The model says `text`, in pieces of `chunk` characters.

    With `hold`, the first piece is streamed, then the stream stays open until the event is set: a running turn
    for as long as the test wants one.
    """

    text: str
    hold: trio.Event | None = None
    chunk: int = 4096


UNDERSTOOD = Text("Understood.")


@dataclass(frozen=True)
class ToolCall:
    """The model calls a tool. `namespace` is a thing of Codex's API."""

    name: str
    arguments: Mapping[str, Any]
    namespace: str | None = None
    call_id: str | None = None


@dataclass(frozen=True)
class Failure:
    """The API answers with an HTTP error, which fails the turn (the mocks' configuration allows no retries)."""

    status: int = 500
    message: str = "the mock model was told to fail"
    kind: str = "mock"  # the error's type, e.g. "usage_limit_reached"


Reply = Text | ToolCall | Failure
Request = TypeVar("Request")
ScriptOf = Reply | Sequence[Reply] | Callable[[Request], Reply | Awaitable[Reply]]


@dataclass
class ScriptedModel(Generic[Request]):
    """A running mock: where it is, and what it was asked. `script` may be changed at any time."""

    script: ScriptOf[Request]
    base_url: str = ""
    requests: list[Request] = field(default_factory=list)
    _list: ScriptOf[Request] | None = None
    _used: int = 0
    _arrived: trio.Event = field(default_factory=trio.Event)

    async def seen(self, accept: Callable[[Request], bool] = lambda _: True) -> Request:
        """Wait for a request (already there or still to come) that `accept` accepts. Bound it with fail_after."""
        looked_at = 0
        while True:
            arrived = self._arrived
            for request in self.requests[looked_at:]:
                if accept(request):
                    return request
            looked_at = len(self.requests)
            await arrived.wait()

    async def scripted(self, request: Request) -> Reply:
        """Record a request; what the script answers."""
        self.requests.append(request)
        arrived, self._arrived = self._arrived, trio.Event()
        arrived.set()
        script = self.script
        if isinstance(script, Text | ToolCall | Failure):
            return script
        if callable(script):
            reply = script(request)
            return await reply if inspect.isawaitable(reply) else reply
        if script is not self._list:
            self._list, self._used = script, 0
        self._used += 1
        if self._used > len(script):
            return Failure(400, f"the script has {len(script)} replies and this is request {self._used}")
        return script[self._used - 1]


@dataclass(frozen=True)
class Exchange:
    """One HTTP request and the way to answer it."""

    request: h11.Request
    body: bytes
    send: Callable[[h11.Event], Awaitable[None]]

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.request.headers}

    async def stream(self, events: Iterable[tuple[str, Mapping[str, Any]]], reply: Reply, pause: str) -> None:
        """Answer with server-sent events; after the first one of kind `pause` hold on where a `reply` says so."""
        await self.send(
            h11.Response(
                status_code=200,
                headers=[("content-type", "text/event-stream"), ("transfer-encoding", "chunked")],
            )
        )
        for kind, fields in events:
            data = json.dumps({"type": kind, **fields})
            await self.send(h11.Data(data=f"event: {kind}\ndata: {data}\n\n".encode()))
            if isinstance(reply, Text) and reply.hold is not None and kind == pause:
                await reply.hold.wait()
        await self.send(h11.EndOfMessage())

    async def answer(self, status: int, content: Mapping[str, Any] | None = None) -> None:
        """Answer with a JSON object or, without one, no body."""
        raw = b"" if content is None else json.dumps(content).encode()
        head = [("content-type", "application/json"), ("content-length", str(len(raw)))]
        await self.send(h11.Response(status_code=status, headers=head))
        await self.send(h11.Data(data=raw))
        await self.send(h11.EndOfMessage())


@asynccontextmanager
async def served_on_loopback(respond: Callable[[Exchange], Awaitable[None]]) -> AsyncGenerator[str]:
    """Answer HTTP/1.1 requests on a free loopback port for the time of the block: its URL."""

    async def serve(stream: trio.SocketStream) -> None:
        # Whoever is interrupted hangs up.
        with suppress(trio.BrokenResourceError, h11.RemoteProtocolError):
            await _serve_connection(respond, stream)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        try:
            yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        finally:
            nursery.cancel_scope.cancel()


async def _serve_connection(
    respond: Callable[[Exchange], Awaitable[None]], stream: trio.SocketStream
) -> None:
    """HTTP/1.1 with keep-alive: one request after another."""
    connection = h11.Connection(h11.SERVER)

    async def send(event: h11.Event) -> None:
        await stream.send_all(connection.send(event) or b"")

    async with stream:
        while True:
            request: h11.Request | None = None
            body = b""
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await stream.receive_some())
                elif isinstance(event, h11.Request):
                    request = event
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    break
                else:
                    return
            assert request is not None
            await respond(Exchange(request, body, send))
            if connection.our_state is not h11.DONE:
                return
            connection.start_next_cycle()
