"""HTTP/1.1 on one connection: hypercorn's protocol with the gaps closed (numbers: the package docstring).

Differences from ``hypercorn.protocol.h11.H11Protocol``: heads are checked before an app is started (1, 8), there is
no HTTP/2 (7), error answers are problem documents, and head and first piece of body leave in one write, which
halves the system calls of a short answer.
"""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.events import Body, EndBody, Request, Response
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGISendEvent, ConnectionState

from trio_relay.relay.serving.app_tasks import AppTasks
from trio_relay.relay.serving.refusal import REASONS, Refusal, refusal_for
from trio_relay.relay.serving.request_check import refuse, wants_websocket
from trio_relay.relay.serving.websocket import RelayWSStream

_AWAITING_ANSWER = (h11.IDLE, h11.SEND_RESPONSE)
_ALL_READ = (h11.IDLE, h11.DONE, h11.MUST_CLOSE, h11.CLOSED)


class RelayHTTPStream(HTTPStream):
    """One request and its answer."""

    async def app_send(self, message: ASGISendEvent | None) -> None:
        """Pass on what the app sends. An empty piece that is not the last flushes the head: hypercorn drops it."""
        await super().app_send(message)
        if (
            message is not None
            and message["type"] == "http.response.body"
            and not message.get("body")
            and self.state is ASGIHTTPState.RESPONSE
        ):
            await self.send(Body(stream_id=self.stream_id, data=b""))

    async def _send_error_response(self, status_code: int) -> None:
        """Answer for an app that ended without an answer (hypercorn: an empty body)."""
        refusal = refusal_for(status_code)
        await self.send(Response(self.stream_id, headers=refusal.headers, status_code=status_code))
        if self.scope["method"] != "HEAD":
            await self.send(Body(self.stream_id, data=refusal.body))
        await self.send(EndBody(self.stream_id))
        self.state = ASGIHTTPState.CLOSED


class RelayH11(H11Protocol):
    """The protocol of one connection. `send` takes bytes to write, the end of the connection, and idleness."""

    def __init__(
        self,
        *,
        app: Any,
        config: Config,
        context: WorkerContext,
        tasks: AppTasks,
        state: ConnectionState,
        client: tuple[str, int] | None,
        server: tuple[str, int] | None,
        send: Callable[[Event], Awaitable[None]],
    ) -> None:
        super().__init__(app, config, context, cast(Any, tasks), state, False, client, server, send)
        self._head = b""
        self._method = b""

    @property
    def partial(self) -> bool:
        """Whether a request head has begun to arrive."""
        return isinstance(self.connection, h11.Connection) and bool(self.connection.trailing_data[0])

    @property
    def unread(self) -> bool:
        """Whether the client may still be sending: closing now could destroy our last answer with a reset."""
        return self.connection.their_state not in _ALL_READ

    async def refuse(self, refusal: Refusal) -> None:
        """Answer `refusal` if an answer can still be given, and end the connection."""
        if self.connection.our_state in _AWAITING_ANSWER:
            await self._answer(refusal)
        await self.send(Closed())

    async def stream_send(self, event: StreamEvent) -> None:
        """Write what a stream has to say; the head waits for the first piece of the body, as ASGI asks."""
        if isinstance(event, Response) and event.status_code >= 200:
            headers = [*event.headers, *self.config.response_headers("h11")]
            if self.context.terminated.is_set():
                headers.append((b"connection", b"close"))
            self._head = self._encode(_response(event.status_code, headers))
        elif isinstance(event, Body):
            await self._write(h11.Data(data=event.data))
        elif isinstance(event, EndBody):
            await self._write(h11.EndOfMessage())
        else:
            await super().stream_send(event)

    async def _write(self, event: h11.Data | h11.EndOfMessage) -> None:
        data, self._head = self._head + self._encode(event), b""
        if data:
            await self.send(RawData(data=data))
        else:
            await trio.lowlevel.checkpoint()

    def _encode(self, event: h11.Response | h11.Data | h11.EndOfMessage) -> bytes:
        try:
            return self.connection.send(event)
        except h11.LocalProtocolError:
            # The client broke the protocol and has its 400: the app's own answer goes nowhere.
            if self.connection.their_state is not h11.ERROR:
                raise
            return b""

    async def _answer(self, refusal: Refusal) -> None:
        headers = [*refusal.headers, *self.config.response_headers("h11")]
        data = self._encode(_response(refusal.status, headers))
        if self._method != b"HEAD" or self.connection.our_state is h11.IDLE:
            data += self._encode(h11.Data(data=refusal.body))
        await self.send(RawData(data=data + self._encode(h11.EndOfMessage())))

    async def _send_error_response(self, status_code: int) -> None:
        """Answer what h11 refuses (hypercorn: an empty body); the caller closes."""
        await self._answer(refusal_for(status_code))

    async def _check_protocol(self, event: h11.Request) -> None:
        """Never change to HTTP/2: hypercorn would, on ``Upgrade: h2c`` and on the HTTP/2 preface."""

    async def _create_stream(self, request: h11.Request) -> None:
        """Start the app for a request, unless the request must not be served."""
        self._method = request.method
        refusal = refuse(request, max_header=self.config.h11_max_incomplete_size)
        if refusal is not None:
            await self.refuse(refusal)
            return
        kind: type[RelayHTTPStream | RelayWSStream] = RelayHTTPStream
        if wants_websocket(request):
            kind = RelayWSStream
            self.connection = H11WSConnection(cast(h11.Connection, self.connection))
        self.stream = kind(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        await self.stream.handle(
            Request(
                STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode(),
                method=request.method.decode("ascii").upper(),
                raw_path=request.target,
                state=self.connection_state,
            ),
        )


def _response(status: int, headers: list[tuple[bytes, bytes]]) -> h11.Response:
    return h11.Response(status_code=status, headers=headers, reason=REASONS.get(status, b""))
