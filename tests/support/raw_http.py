"""An HTTP client that sends exactly the bytes it is told to, for servers that must bear anything."""

import json
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import trio
from trio.testing import wait_all_tasks_blocked

OPCODE_TEXT, OPCODE_BINARY, OPCODE_CLOSE, OPCODE_PING, OPCODE_PONG = 1, 2, 8, 9, 10
WEBSOCKET_KEY = "dGhlIHNhbXBsZSBub25jZQ=="


@dataclass(frozen=True)
class Answer:
    """One response: header names in lower case, later ones of a name win."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def problem(self) -> dict[str, Any]:
        """The problem document; fails when the answer is not one, or incomplete."""
        assert self.headers.get("content-type") == "application/problem+json", self
        document: dict[str, Any] = self.json()
        assert document.keys() >= {"type", "title", "status", "detail", "code", "error"}, document
        assert document["status"] == self.status
        assert document["error"] == document["detail"] != ""
        return document


@dataclass(frozen=True)
class Frame:
    """One WebSocket frame from the server."""

    opcode: int
    payload: bytes

    @property
    def close_code(self) -> int:
        assert self.opcode == OPCODE_CLOSE, self
        return int(struct.unpack("!H", self.payload[:2])[0])


class RawClient:
    """One connection. Reading methods raise `EOFError` when the server ends it early."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._buffer = bytearray()

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def send_anyway(self, data: bytes) -> None:
        """Send as much as the server lets us: it may end the connection meanwhile."""
        with suppress(trio.BrokenResourceError):
            await self.stream.send_all(data)

    async def get(self, path: str, *extra: str) -> Answer:
        await self.send(request("GET", path, *extra))
        return await self.read_answer()

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.socket.close()

    async def read_answer(self, *, to_head: bool = False) -> Answer:
        """Read one response; an interim 100 is skipped. With `to_head` the answer has no body."""
        head = (await self._until(b"\r\n\r\n")).decode("latin1")
        line, *lines = head[:-4].split("\r\n")
        _, status, reason = line.split(" ", 2)
        if status == "100":
            return await self.read_answer(to_head=to_head)
        headers = {
            name.lower(): value.strip() for name, _, value in (field.partition(":") for field in lines)
        }
        body = b"" if to_head or status == "101" else await self._body(headers)
        return Answer(int(status), reason, headers, body)

    async def read_to_end(self) -> bytes:
        """Everything until the server ends the connection, however it does."""
        with suppress(trio.BrokenResourceError):
            while data := await self.stream.receive_some():
                self._buffer += data
        rest, self._buffer = bytes(self._buffer), bytearray()
        return rest

    async def is_open(self) -> bool:
        """Whether the server has not ended the connection, once everything has settled. Takes nothing."""
        await wait_all_tasks_blocked(0.05)
        try:
            return self.take_now(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        except ConnectionError:
            return False

    def take_now(self, size: int, flags: int = 0) -> bytes:
        """What has arrived, without waiting; raises `BlockingIOError` when that is nothing."""
        with socket.socket(fileno=os.dup(self.stream.socket.fileno())) as same:
            return same.recv(size, flags | socket.MSG_DONTWAIT)

    async def read_frame(self) -> Frame:
        """One unfragmented WebSocket frame."""
        first, length = await self._exactly(2)
        if length == 126:
            (length,) = struct.unpack("!H", await self._exactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", await self._exactly(8))
        return Frame(first & 0x0F, await self._exactly(length))

    async def open_websocket(self, path: str, *extra: str) -> Answer:
        await self.send(upgrade(path, *extra))
        return await self.read_answer()

    async def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await self._until(b"\r\n"), 16):
                body += (await self._exactly(size + 2))[:-2]
            await self._exactly(2)
            return body
        if "content-length" in headers:
            return await self._exactly(int(headers["content-length"]))
        return await self.read_to_end()

    async def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            await self._more()
        return self._take(self._buffer.index(mark) + len(mark))

    async def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._more()
        return self._take(size)

    async def _more(self) -> None:
        try:
            data = await self.stream.receive_some()
        except trio.BrokenResourceError as error:
            raise EOFError("the server reset the connection") from error
        if not data:
            raise EOFError(f"the server ended the connection after {bytes(self._buffer[:80])!r}")
        self._buffer += data

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken


@asynccontextmanager
async def raw_client(url: str, *, receive_buffer: int | None = None) -> AsyncIterator[RawClient]:
    """Connect to the server at `url`. A small `receive_buffer` (bytes) makes a client that soon stops taking data."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    family = socket.AF_INET6 if ":" in parts.hostname else socket.AF_INET
    sock = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await sock.connect((parts.hostname, parts.port))
        yield RawClient(trio.SocketStream(sock))
    finally:
        sock.close()


def request(method: str, path: str, *extra: str, body: bytes = b"", version: str = "1.1") -> bytes:
    """A well-formed request; `extra` are header lines."""
    length = [f"Content-Length: {len(body)}"] if body else []
    lines = [f"{method} {path} HTTP/{version}", "Host: relay.test", *extra, *length, "", ""]
    return "\r\n".join(lines).encode("latin1") + body


def upgrade(path: str, *extra: str) -> bytes:
    """A well-formed WebSocket handshake; `extra` are header lines."""
    return request(
        "GET",
        path,
        "Connection: Upgrade",
        "Upgrade: websocket",
        f"Sec-WebSocket-Key: {WEBSOCKET_KEY}",
        "Sec-WebSocket-Version: 13",
        *extra,
    )


def frame(opcode: int, payload: bytes, *, finished: bool = True, claimed_length: int | None = None) -> bytes:
    """A masked WebSocket frame; `claimed_length` lies about the size of `payload`."""
    length = len(payload) if claimed_length is None else claimed_length
    first = opcode | (0x80 if finished else 0)
    if length < 126:
        head = struct.pack("!BB", first, 0x80 | length)
    elif length < 65_536:
        head = struct.pack("!BBH", first, 0x80 | 126, length)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, length)
    return head + bytes(4) + payload  # a mask of zeros changes nothing
