"""Open the listeners, start the app, serve, and stop in the right order."""

import errno
import gc
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework
from hypercorn.utils import repr_socket_addr

from trio_relay.errors import RelayError
from trio_relay.relay.serving.config import ServingConfig
from trio_relay.relay.serving.connection import Connection, Connections, Service, turn_away

#: Accepted sockets inherit these from the listener. A peer that vanished without a word is noticed within a minute
#: (`TCP_KEEP*`, seconds) and one that acknowledges nothing within 20 s (`TCP_USER_TIMEOUT`, milliseconds, Linux).
_TCP_OPTIONS = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 20_000}


async def serve_app(
    app: ASGIFramework,
    config: ServingConfig,
    *,
    stop: trio.Event,
    on_stop: Callable[[], None],
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` until `stop` is set; hand the bound URLs to ``task_status.started``.

    When `stop` is set nothing more is accepted, `on_stop` is called so that the app can end its open streams and
    long polls, idle connections close at once, the others after their answer, and after
    ``config.graceful_timeout`` seconds those that are left are cut. Then the app's lifespan ends.

    Raises `RelayError` when the address cannot be bound (code ``address_in_use`` when somebody else has it).
    """
    hypercorn_config = config.for_hypercorn()
    listeners = await _open_listeners(config)
    try:
        async with _lifespan(app, hypercorn_config) as state, trio.open_nursery() as handlers:
            connections = Connections(config.max_connections)
            service = Service(
                app=app,
                settings=config,
                config=hypercorn_config,
                context=WorkerContext(None),
                connections=connections,
                lifespan_state=state,
            )
            try:
                async with trio.open_nursery() as accepting:
                    accepting.start_soon(
                        partial(
                            trio.serve_listeners,
                            partial(_serve_connection, service),
                            listeners,
                            handler_nursery=handlers,
                        ),
                    )
                    task_status.started([_url(listener) for listener in listeners])
                    await stop.wait()
                    accepting.cancel_scope.cancel()
                await service.context.terminated.set()
                on_stop()
                connections.stop()
                with trio.move_on_after(config.graceful_timeout):
                    await connections.wait_ended()
            finally:
                connections.cut()
            handlers.cancel_scope.cancel()
    finally:
        for listener in listeners:
            listener.socket.close()


def tune_gc() -> None:
    """Keep garbage collection out of the way of a server with many connections. Call once, after start-up.

    A full collection stops the loop for 85 ms at 1,000 open connections and 400-700 ms at 5,000; what exists after
    start-up never becomes garbage, so it is frozen, and full collections become rare.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


async def _open_listeners(config: ServingConfig) -> list[trio.SocketListener]:
    """Bind and listen. trio sets ``SO_REUSEADDR``, so a restart does not wait for old connections to time out."""
    try:
        listeners = await trio.open_tcp_listeners(config.port, host=config.host, backlog=config.backlog)
    except OSError as error:
        where = f"[{config.host}]:{config.port}" if ":" in config.host else f"{config.host}:{config.port}"
        if error.errno == errno.EADDRINUSE:
            detail = f"cannot listen on {where}: the address is in use, perhaps by another relay"
            raise RelayError(detail, code="address_in_use") from error
        reason = error.strerror or os.strerror(error.errno or 0)
        raise RelayError(f"cannot listen on {where}: {reason}", code="cannot_listen") from error
    for listener in listeners:
        listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _TCP_OPTIONS.items():
            if hasattr(socket, name):
                listener.socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return listeners


async def _serve_connection(service: Service, stream: trio.SocketStream) -> None:
    if service.connections.full:
        await turn_away(stream)
    else:
        await Connection(stream, service).run()


def _url(listener: trio.SocketListener) -> str:
    sock = listener.socket
    return f"http://{repr_socket_addr(sock.family, sock.getsockname())}"


@asynccontextmanager
async def _lifespan(app: ASGIFramework, config: Config) -> AsyncIterator[dict[str, Any]]:
    """Run the app's ASGI lifespan around the block; yield the state its start-up left for the connections."""
    state: dict[str, Any] = {}
    lifespan = Lifespan(ASGIWrapper(app), config, state)
    async with trio.open_nursery() as nursery:
        await nursery.start(lifespan.handle_lifespan)
        await lifespan.wait_for_startup()
        yield state
        await lifespan.wait_for_shutdown()
        nursery.cancel_scope.cancel()
