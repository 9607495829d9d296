"""A receiver of callbacks on loopback, as raw as a test needs it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import h11
import trio

Handler = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def receiver(handler: Handler) -> AsyncIterator[str]:
    """A server on loopback that gives each connection to `handler`; answers its URL."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/hook"
        nursery.cancel_scope.cancel()


async def read_request(stream: trio.SocketStream) -> tuple[h11.Request, bytes]:
    """Read one request: its head and its body."""
    connection, head, body = h11.Connection(h11.SERVER), None, b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some())
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        else:
            assert isinstance(event, h11.EndOfMessage)
            assert head is not None
            return head, body
