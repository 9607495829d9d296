"""One WebSocket connection to an app-server: calls out, notifications in. What they mean is not its business.

Rules it keeps:

- Nothing waits for ever: the handshake, every call and the closing are bounded.
- A call is never held up by whoever reads the notifications. Notifications wait in a queue of bounded length; when
  it overruns, the connection is closed with that reason. Reconnecting and reading the thread loses nothing, while
  dropping a notification in silence would.
- A cancelled call never breaks the framing: one task sends, callers only queue frames for it. Such a call may still
  be carried out by the server.
- Whatever goes wrong on the wire becomes one reason, which every pending and later call raises as `ConnectionLost`.
- Requests of the server are never answered.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import trio
import trio_websocket
import wsproto.utilities

from trio_relay.codex.dial import Dial, Wire
from trio_relay.codex.frames import (
    CallFailed,
    Failure,
    Notification,
    Peer,
    RemoteProtocolError,
    Response,
    ServerRequest,
)
from trio_relay.errors import ConnectionLost, Refused, RelayError

#: Largest frame accepted, bytes. A user message of a million characters comes back whole in a notification.
MAX_FRAME = 64 * 1024 * 1024
#: Notifications that may wait for their reader. A turn makes about ten that pass the filter.
MAX_BACKLOG = 2_000
#: How long a server may take to answer our closing frame, seconds.
CLOSE_TIMEOUT = 2.0

_WIRE_FAULTS = (
    trio_websocket.ConnectionClosed,
    trio_websocket.HandshakeError,
    wsproto.utilities.ProtocolError,
    trio.BrokenResourceError,
    OSError,
)


@dataclass(slots=True)
class _Waiting:
    """A call on its way: rung when its answer is there or the connection is lost."""

    done: trio.Event = field(default_factory=trio.Event)
    result: dict[str, Any] | None = None
    error: CallFailed | None = None


class Connection:
    """One connection. `run` holds it as a task; `wanted` says which notifications are worth queueing."""

    def __init__(
        self, *, call_timeout: float, wanted: Callable[[Notification], bool], backlog: int = MAX_BACKLOG
    ) -> None:
        self._call_timeout = call_timeout
        self._wanted = wanted
        self._peer = Peer()
        self._waiting: dict[int, _Waiting] = {}
        self._outgoing, self._to_send = trio.open_memory_channel[str](math.inf)
        self._arrived, self.notifications = trio.open_memory_channel[Notification](backlog)
        self._websocket: trio_websocket.WebSocketConnection | None = None
        self._closing = False
        self._lost: str | None = None

    @property
    def lost(self) -> str | None:
        """Why the connection is gone, or None while it holds."""
        return self._lost

    async def call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Make a call and return its result.

        Raises `CallFailed` for the server's error answer, and `ConnectionLost` when the connection is lost or
        nothing is answered within `call_timeout` seconds. After `ConnectionLost` or a cancellation the server may or
        may not have done it.
        """
        if self._lost is not None:
            raise ConnectionLost(self._lost)
        call, frame = self._peer.request(method, params)
        waiting = self._waiting[call] = _Waiting()
        self._outgoing.send_nowait(frame)
        try:
            with trio.move_on_after(self._call_timeout):
                await waiting.done.wait()
        finally:
            del self._waiting[call]
            self._peer.forget(call)
        if waiting.error is not None:
            raise waiting.error
        if waiting.result is None:
            late = f"the app-server did not answer {method} within {self._call_timeout:g} s"
            raise ConnectionLost(self.lost or late)
        return waiting.result

    def notify(self, method: str) -> None:
        """Send a notification of ours, without params."""
        self._outgoing.send_nowait(self._peer.notification(method))

    async def run(
        self,
        dial: Dial,
        headers: list[tuple[bytes, bytes]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Hold the wire, as a task: started when the WebSocket is open, ends when it is lost.

        Raises `Refused` or `ConnectionLost` before it has started, nothing after.
        """
        started = False
        lost: RelayError = ConnectionLost("the connection was closed")
        try:
            async with trio.open_nursery() as nursery, Wire(await dial()) as wire:
                self._websocket = await trio_websocket.wrap_client_stream(
                    nursery,
                    wire,  # type: ignore[arg-type]  # any stream will do
                    "localhost",
                    "/",
                    extra_headers=headers,
                    max_message_size=MAX_FRAME,
                    receive_buffer_size=65_536,
                )
                nursery.start_soon(self._send_frames, self._websocket)
                wire.opening = False
                started = True
                task_status.started()
                await self._take_frames(self._websocket)
        except* RelayError as group:
            lost = _first(group)
        except* _WIRE_FAULTS as group:
            lost = _mapped(_first(group))
        finally:
            self._lose(lost.detail)
        if not started:
            raise lost

    async def close(self) -> None:
        """Say goodbye, waiting `CLOSE_TIMEOUT` at most, also when cancelled."""
        self._closing = True
        if self._websocket is not None and self._lost is None:
            with trio.move_on_after(CLOSE_TIMEOUT, shield=True):
                await self._websocket.aclose()

    async def _send_frames(self, websocket: trio_websocket.WebSocketConnection) -> None:
        async for frame in self._to_send:
            await websocket.send_message(frame)

    async def _take_frames(self, websocket: trio_websocket.WebSocketConnection) -> None:
        while True:
            try:
                frame = await websocket.get_message()
            except trio_websocket.ConnectionClosed:
                if self._closing:
                    await trio.sleep_forever()  # leave the wire open for the peer's goodbye
                raise
            if isinstance(frame, bytes):
                raise RemoteProtocolError("the app-server sent a binary frame")
            self._take(self._peer.receive(frame))

    def _take(self, event: Response | Failure | Notification | ServerRequest | None) -> None:
        match event:
            case Response(call, result):
                self._waiting[call].result = result
                self._waiting[call].done.set()
            case Failure(call, error):
                self._waiting[call].error = error
                self._waiting[call].done.set()
            case Notification() if self._wanted(event):
                try:
                    self._arrived.send_nowait(event)
                except trio.WouldBlock:
                    raise ConnectionLost("too many notifications were waiting to be read") from None
                except trio.BrokenResourceError:
                    pass  # their reader has closed its end: nobody wants them

    def _lose(self, reason: str) -> None:
        self._lost = reason
        self._arrived.close()
        for waiting in self._waiting.values():
            waiting.done.set()


def _first(group: BaseExceptionGroup[Any]) -> Any:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _mapped(error: BaseException) -> RelayError:
    """Say in our words what broke the wire. A refused token is no weather: trying again will not help."""
    match error:
        case trio_websocket.ConnectionRejected(status_code=401 | 403 as status):
            return Refused(f"the app-server refused the connection with HTTP status {status}")
        case trio_websocket.ConnectionRejected(status_code=status):
            return ConnectionLost(f"the app-server refused the connection with HTTP status {status}")
        case trio_websocket.ConnectionClosed(reason=reason) if reason is not None:
            return ConnectionLost(f"the app-server's connection closed with code {reason.code}")
        case OSError():
            return ConnectionLost(f"the app-server cannot be reached: {error.strerror or error}")
        case _:
            return ConnectionLost(f"the app-server's connection broke: {type(error).__name__}")
