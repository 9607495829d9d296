"""How a byte stream to an app-server is opened: TCP on ``ws://HOST:PORT``, a socket file on ``unix:///PATH``."""

import socket
from collections.abc import Awaitable, Callable
from functools import partial
from urllib.parse import urlsplit

import trio

from trio_relay.errors import Invalid

Dial = Callable[[], Awaitable[trio.abc.Stream]]

#: Linux only; elsewhere answers come as the system pleases.
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


def dial_url(url: str) -> Dial:
    """Return what opens a byte stream to `url`. Raises `Invalid` where `url` is neither kind."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _bad_url() from None
    if parts.scheme == "unix" and not parts.netloc and len(parts.path) > 1:
        return partial(trio.open_unix_socket, parts.path)
    if parts.scheme == "ws" and host and port:
        return partial(_dial_tcp, host, port)
    raise _bad_url()


def _bad_url() -> Invalid:
    return Invalid(
        "the app-server's address must be ws://HOST:PORT or unix:///PATH", code="bad_app_server_url"
    )


async def _dial_tcp(host: str, port: int) -> trio.abc.Stream:
    return PromptStream(await trio.open_tcp_stream(host, port))


class PromptStream(trio.abc.Stream):
    """A TCP stream whose every segment is acknowledged at once.

    Codex 0.169 leaves Nagle's algorithm on: it holds its next small frame back until we have acknowledged the last,
    and Linux waits 40 ms before it acknowledges without data to send. Measured on loopback: an answer to
    ``turn/start`` takes 45 ms without this and 3 ms with it. The option wears off, so it is set at every read.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._acknowledge()

    def _acknowledge(self) -> None:
        if _QUICKACK is not None:
            self._stream.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive as the stream does, then ask for a prompt acknowledgement of what comes next."""
        data = await self._stream.receive_some(max_bytes)
        if data:
            self._acknowledge()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until sending might not block."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()
