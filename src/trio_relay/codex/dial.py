"""The byte stream to an app-server: TCP for ``ws://HOST:PORT``, a socket file for ``unix:///PATH``."""

import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from urllib.parse import urlsplit

import trio

from trio_relay.errors import ConnectionLost, Invalid

Dial = Callable[[], Awaitable[trio.abc.Stream]]

#: Linux only; elsewhere the system acknowledges when it pleases.
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


def dial_url(url: str) -> Dial:
    """Return what opens a byte stream to `url`. Raises `Invalid` where `url` is neither kind."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _bad_url() from None
    if parts.scheme == "unix" and not parts.netloc and len(parts.path) > 1:
        return partial(_open_socket_file, parts.path)
    if parts.scheme == "ws" and host and port:
        return partial(trio.open_tcp_stream, host, port)
    raise _bad_url()


async def _open_socket_file(path: str) -> trio.abc.Stream:
    """Connect to a socket file. Codex's is a link to one in /tmp; the system takes no path of more than 107 bytes."""
    return await trio.open_unix_socket(await trio.to_thread.run_sync(os.path.realpath, path))


def _bad_url() -> Invalid:
    return Invalid(
        "the app-server's address must be ws://HOST:PORT or unix:///PATH", code="bad_app_server_url"
    )


def _gone() -> ConnectionLost:
    return ConnectionLost("the app-server went away during the handshake")


class Wire(trio.abc.Stream):
    """A byte stream with two habits the WebSocket on it needs.

    Every TCP segment is acknowledged at once. Codex 0.169 leaves Nagle's algorithm on: it holds its next small frame
    back until we have acknowledged the last, and Linux waits 40 ms before it acknowledges without data to send.
    Measured on loopback: an answer to ``turn/start`` takes 45 ms without this and 3 ms with it. The option wears off,
    so it is set at every read.

    While `opening`, an end of the stream is an error: trio-websocket 0.12 would wait for the rest of the handshake for
    ever. This is no rarity: who reconnects quickly to a server that has just been killed meets its dying listener.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.opening = True
        self._stream = stream
        self._acknowledge()

    def _acknowledge(self) -> None:
        stream = self._stream
        if _QUICKACK is None or not isinstance(stream, trio.SocketStream):
            return
        if stream.socket.family in {socket.AF_INET, socket.AF_INET6}:
            with suppress(OSError):  # the peer may have gone; reading says so
                stream.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive what is there; b"" at the end. Raises `ConnectionLost` for an end while `opening`."""
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError:
            if not self.opening:
                raise
            data = b""
        if not data and self.opening:
            raise _gone()
        self._acknowledge()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`. Raises `ConnectionLost` where the peer has gone while `opening`."""
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError:
            if not self.opening:
                raise
            raise _gone() from None

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until sending might not block."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()
