"""Follow a Server-Sent Events stream of an app in this process, with a reader that can stop reading.

httpx's ASGI transport hands out an answer when it is complete, which a stream never is. This calls the application
itself; what the application sends waits until the test has taken it.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import trio

#: Blocks without an event after which none is expected any more: the opening one and a few heartbeats.
_PATIENCE = 5


@dataclass(frozen=True)
class SeenEvent:
    """One block of the stream. A block without `kind` only moves the place (`id`) or is a comment."""

    kind: str | None
    data: Any
    id: int | None
    comment: str | None = None
    retry: int | None = None


def parse(block: str) -> SeenEvent:
    fields: dict[str, str] = {}
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        assert name not in fields, "every field of ours is one line"
        fields[name] = value.removeprefix(" ")
    assert set(fields) <= {"id", "event", "data", "", "retry"}
    return SeenEvent(
        fields.get("event"),
        json.loads(fields["data"]) if "data" in fields else None,
        int(fields["id"]) if "id" in fields else None,
        fields.get(""),
        int(fields["retry"]) if "retry" in fields else None,
    )


class EventReader:
    """The client's side of one stream."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.ended = False
        self.answered = trio.Event()
        self.left = trio.Event()
        self._send, self._receive = trio.open_memory_channel[bytes | None](0)
        self._buffer = ""

    async def block(self) -> SeenEvent:
        """Take the next block, whatever it is."""
        while "\n\n" not in self._buffer:
            piece = await self._receive.receive()
            if piece is None:
                self.ended = True
                raise EOFError("the stream has ended")
            self._buffer += piece.decode()
        block, _, self._buffer = self._buffer.partition("\n\n")
        return parse(block)

    async def event(self) -> SeenEvent:
        """Take the next event, passing over what dispatches none."""
        for _ in range(_PATIENCE):
            block = await self.block()
            if block.kind is not None:
                return block
        raise AssertionError("no event came")

    async def events(self, count: int) -> list[SeenEvent]:
        return [await self.event() for _ in range(count)]

    async def rest(self) -> list[SeenEvent]:
        """Take every event until the stream ends."""
        found = []
        while True:
            try:
                found.append(await self.event())
            except EOFError:
                return found

    async def on_send(self, message: Any) -> None:
        """Be the ASGI server: wait until the test takes it."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            self.answered.set()
            return
        if message.get("body"):
            await self._send.send(message["body"])
        if not message.get("more_body"):
            await self._send.send(None)


@asynccontextmanager
async def follow(
    app: Any, query: str = "", *, last_event_id: int | str | None = None, token: str | None = None
) -> AsyncIterator[EventReader]:
    """Open ``/api/events``; what happens from now on is in the stream. Leaving the block hangs up."""
    headers = [(b"host", b"127.0.0.1:4850")]
    if last_event_id is not None:
        headers.append((b"last-event-id", str(last_event_id).encode()))
    if token is not None:
        headers.append((b"authorization", f"Bearer {token}".encode()))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/api/events",
        "raw_path": b"/api/events",
        "query_string": query.encode(),
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 4850),
        "extensions": {},
    }
    reader = EventReader()
    begun = False

    async def receive() -> Any:
        nonlocal begun
        if not begun:
            begun = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await reader.left.wait()
        return {"type": "http.disconnect"}

    async with trio.open_nursery() as nursery:
        nursery.start_soon(app, scope, receive, reader.on_send)
        await reader.answered.wait()
        yield reader
        reader.left.set()
