"""One connection from accept to close, and the set of them a server holds.

A connection has one reader, its own task, and any number of writers (the app, pings) behind a lock. Whoever ends it
calls `hang_up`, which never waits: the write side is shut, the reader wakes, and the reader does the rest.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import inf
from typing import Any

import structlog
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from trio_relay.relay.serving.app_tasks import AppTasks, describe
from trio_relay.relay.serving.config import ServingConfig
from trio_relay.relay.serving.http1 import RelayH11
from trio_relay.relay.serving.refusal import TOO_MANY, TOO_SLOW

log = structlog.get_logger("trio_relay.http")

_RECEIVE_SIZE = 65_536
#: A peer must take this many bytes within `send_timeout`: slow is served, stopped is not.
_SEND_SIZE = 65_536
_LINGER_BYTES = 16 * 1024 * 1024


class Connections:
    """The open connections of one server: how many there may be, and how all of them end."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: set[Connection] = set()
        self._ended = trio.Event()
        self.stopping = False

    @property
    def full(self) -> bool:
        """Whether one more would be too many."""
        return len(self._open) >= self._limit

    @contextmanager
    def holding(self, connection: "Connection") -> Iterator[None]:
        """Count `connection` for as long as the block lasts."""
        self._open.add(connection)
        try:
            yield
        finally:
            self._open.discard(connection)
            if not self._open:
                self._ended.set()

    def stop(self) -> None:
        """End the idle connections now and each other one after its present request."""
        self.stopping = True
        for connection in tuple(self._open):
            connection.stop()

    def cut(self) -> None:
        """Close every connection now, whatever it is doing. Apps that go on are for the caller to cancel."""
        self.stopping = True
        for connection in tuple(self._open):
            connection.cut()

    async def wait_ended(self) -> None:
        """Wait until none is open. Meant for after `stop`, when none can be added."""
        while self._open:
            self._ended = trio.Event()
            await self._ended.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What all connections of one server share. `lifespan_state` is copied for each."""

    app: Any
    settings: ServingConfig
    config: Config
    context: WorkerContext
    connections: Connections
    lifespan_state: dict[str, Any]


class Connection:
    """Serves one accepted `stream`."""

    def __init__(self, stream: trio.SocketStream, service: Service) -> None:
        self._stream = stream
        self._service = service
        self._settings = service.settings
        self._connections = service.connections
        self._protocol: RelayH11
        #: Around the reader; its deadline is the idle time-out while no request is open.
        self._reading = trio.CancelScope()
        self._lingering = trio.CancelScope()
        self._writing = trio.Lock()
        self._idle = False
        self._hung_up = False

    async def run(self) -> None:
        """Serve until either side ends the connection. Its failure is logged and stays here."""
        sock = self._stream.socket
        try:
            client = parse_socket_addr(sock.family, sock.getpeername())
            server = parse_socket_addr(sock.family, sock.getsockname())
        except OSError:  # gone before we looked
            return
        try:
            with self._connections.holding(self):
                await self._serve(client, server)
        except* Exception as errors:  # noqa: BLE001  # one connection's failure must spare its siblings
            log.warning("connection failed", client=client, error=describe(errors))

    async def _serve(self, client: tuple[str, int] | None, server: tuple[str, int] | None) -> None:
        async with trio.open_nursery() as nursery:
            service = self._service
            self._protocol = RelayH11(
                app=service.app,
                config=service.config,
                context=service.context,
                tasks=AppTasks(nursery),
                state=ConnectionState(service.lifespan_state.copy()),
                client=client,
                server=server,
                send=self._send,
            )
            self._set_idle(True)
            await self._read()
            if self._idle and self._protocol.partial and not self._hung_up:
                await self._protocol.refuse(TOO_SLOW)
            await self._protocol.handle(Closed())
            self.hang_up()
            await self._linger()
            self._stream.socket.close()

    def stop(self) -> None:
        """End now if no request is open. Otherwise the protocol ends the connection after the answer."""
        self._lingering.cancel()
        if self._idle:
            self.hang_up()

    def cut(self) -> None:
        """Close now. That also ends a write in progress, which no cancellation reaches."""
        self._stream.socket.close()

    def hang_up(self) -> None:
        """Tell the peer that nothing more comes and let the reader close. Safe to call again, from any task."""
        self._hung_up = True
        with suppress(OSError):
            self._stream.socket.shutdown(socket.SHUT_WR)
        self._reading.cancel()

    async def _send(self, event: Event) -> None:
        """Do what the protocol asks for."""
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Closed):
            await self._protocol.handle(event)
            self.hang_up()
        elif isinstance(event, Updated):
            self._set_idle(event.idle)

    def _set_idle(self, idle: bool) -> None:
        # A deadline to move, where hypercorn starts and cancels a task per request.
        self._idle = idle
        self._reading.deadline = trio.current_time() + self._settings.keep_alive_timeout if idle else inf

    async def _read(self) -> None:
        with self._reading:
            while True:
                try:
                    data = await self._stream.receive_some(_RECEIVE_SIZE)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return
                await self._protocol.handle(RawData(data))
                if not data:
                    return
                if self._idle:
                    # Part of a head: from here on the shorter time-out, counted from its first byte.
                    limit = trio.current_time() + self._settings.header_timeout
                    self._reading.deadline = min(self._reading.deadline, limit)

    async def _write(self, data: bytes) -> None:
        """Write `data`; a peer that stops taking it is cut off. Shielded: a half-written answer helps nobody."""
        async with self._writing:
            try:
                for start in range(0, len(data), _SEND_SIZE):
                    with trio.fail_after(self._settings.send_timeout, shield=True):
                        await self._stream.send_all(data[start : start + _SEND_SIZE])
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
                pass
            else:
                return
        self._stream.socket.close()
        await self._protocol.handle(Closed())

    async def _linger(self) -> None:
        """Read and drop what the peer still sends, for a while.

        Closing a socket with unread input resets the connection, and the reset can overtake our last answer: the
        client would see "connection reset" in place of the reason.
        """
        if not self._protocol.unread or self._connections.stopping:
            return
        self._lingering.deadline = trio.current_time() + self._settings.linger_timeout
        left = _LINGER_BYTES
        with self._lingering, suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while left > 0 and (data := await self._stream.receive_some(_RECEIVE_SIZE)):
                left -= len(data)


async def turn_away(stream: trio.SocketStream) -> None:
    """Answer 503 on a connection that is one too many. The caller closes it."""
    with trio.move_on_after(1), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        # Unread input would reset the connection before the client sees our answer.
        await stream.receive_some(_RECEIVE_SIZE)
        await stream.send_all(TOO_MANY.as_bytes())
        await stream.send_eof()
