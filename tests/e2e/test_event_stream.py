"""The event stream of a relay in a process of its own, over TCP."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from support.commands import ServingRelay, clean_environment, serving_relay
from support.sse import SeenEvent, parse


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[ServingRelay]:
    environment = clean_environment(tmp_path)
    with serving_relay("--db", str(tmp_path / "relay.db"), env=environment, cwd=tmp_path) as relay:
        yield relay


def blocks(response: httpx2.Response) -> Iterator[SeenEvent]:
    lines: list[str] = []
    for line in response.iter_lines():
        if line:
            lines.append(line)
        else:
            yield parse("\n".join(lines))
            lines.clear()
    assert not lines, "the stream ended in the middle of a block"


def resident(relay: ServingRelay) -> int:
    """The relay's memory, bytes."""
    pages = int(Path(f"/proc/{relay.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_a_stream_is_live_and_ends_with_the_relay(relay: ServingRelay) -> None:
    with (
        httpx2.Client(base_url=relay.url, timeout=60, trust_env=False) as http,
        http.stream("GET", "/api/events") as response,
    ):
        stream = blocks(response)
        assert next(stream).id == 0
        for number in range(1, 101):
            http.post("/api/messages", json={"from": "a", "to": "b", "body": "x", "allowUnknown": True})
            event = next(stream)
            assert (event.id, event.kind, event.data["id"]) == (number, "message.new", number)
        with http.stream("GET", "/api/events", headers={"Last-Event-ID": "40"}) as resumed:
            assert [event.id for event in islice(blocks(resumed), 61)] == list(range(40, 101))
        assert relay.stop() == 0
        assert [event.kind for event in stream] == ["bye"]


def test_readers_that_stop_reading_cost_no_memory(relay: ServingRelay) -> None:
    stalled, messages, size = 30, 600, 100_000
    where = urlsplit(relay.url)
    with ExitStack() as stack, httpx2.Client(base_url=relay.url, timeout=60, trust_env=False) as http:
        http.post("/api/messages", json={"from": "a", "to": "b", "body": "x" * size, "allowUnknown": True})
        for _ in range(stalled):
            reader = stack.enter_context(closing(socket.socket()))
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
            reader.connect((where.hostname, where.port))
            reader.sendall(f"GET /api/events HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode())
            assert reader.recv(15) == b"HTTP/1.1 200 OK"
        before = resident(relay)
        for _ in range(messages):
            sent = http.post(
                "/api/messages", json={"from": "a", "to": "b", "body": "x" * size, "allowUnknown": True}
            )
            assert sent.status_code == 201
        grown = resident(relay) - before
        print(
            f"{grown / 2**20:.1f} MiB more, for {stalled} readers that missed {messages * size / 2**20:.0f} MiB each"
        )
        # The window all share, and a few copies of one piece for each reader: not what they have missed.
        assert grown < (16 + 3 * stalled) * 2**20
        with http.stream("GET", "/api/events?lastEventId=0") as response:
            seen = [event.id for event in islice(blocks(response), messages + 2)]
        assert seen == list(range(messages + 2))
