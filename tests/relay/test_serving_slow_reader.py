"""Clients that do not take their answers. hypercorn 0.18 waits for them for ever, and so does its shutdown."""

from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from support.raw_http import raw_client, request
from support.serving import FLOOD, raw_app, serving


@pytest.fixture
def clock() -> MockClock:
    """Time stands still until a test moves it; only a test that hangs for 20 real seconds is moved on."""
    return MockClock(autojump_threshold=20)


@pytest.mark.parametrize("path", ["/flood", "/ws-chatter"])
async def test_a_client_that_stops_reading_is_dropped_after_the_send_timeout(
    clock: MockClock, path: str
) -> None:
    async with (
        serving(send_timeout=10, ping_interval=1000) as server,
        raw_client(server.url, receive_buffer=4096) as client,
    ):
        if path == "/flood":
            await client.send(request("GET", path))
        else:
            await client.open_websocket(path)
        await wait_all_tasks_blocked(0.1)
        clock.jump(9.999)
        await wait_all_tasks_blocked(0.01)
        assert server.open_requests == 1
        clock.jump(0.002)
        await wait_all_tasks_blocked(0.01)
        assert server.open_requests == 0


async def test_a_client_that_reads_slowly_gets_everything(clock: MockClock) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await raw_app(scope, receive, send)
        start = {"type": "http.response.start", "status": 200, "headers": []}
        await send(start)
        await send({"type": "http.response.body", "body": FLOOD})
        return None

    async with (
        serving(app, send_timeout=10) as server,
        raw_client(server.url, receive_buffer=60_000) as client,
    ):
        await client.send(request("GET", "/", "Connection: close"))
        received = turns = 0
        while received < len(FLOOD):
            await wait_all_tasks_blocked(0.01)
            clock.jump(9)
            turns += 1
            for _ in range(4):  # a good deal every nine seconds, and then nothing
                if received >= len(FLOOD):
                    break
                await wait_all_tasks_blocked(0.01)
                with suppress(BlockingIOError):
                    taken = client.take_now(40_000)
                    assert taken, f"dropped after {received} bytes"
                    received += len(taken)
        assert turns * 9 > 30  # longer than the time-out, which is for no progress at all


async def test_what_a_client_still_sends_does_not_destroy_its_answer(clock: MockClock) -> None:
    # A socket closed with unread input sends a reset, which overtakes the answer.
    async with serving() as server, raw_client(server.url) as client, trio.open_nursery() as nursery:
        body = bytes(3_000_000)
        nursery.start_soon(client.send_anyway, request("POST", "/echo", body=body))
        answer = await client.read_answer()
        assert answer.status == 413
        assert await client.stream.receive_some() == b""  # an end, not a reset


async def test_a_client_that_never_stops_sending_is_left_after_the_linger_timeout(clock: MockClock) -> None:
    async with serving(linger_timeout=2) as server, raw_client(server.url) as client:
        await client.send(b"nonsense\r\n\r\n")
        assert (await client.read_answer()).status == 400
        await wait_all_tasks_blocked(0.01)
        for _ in range(2):
            await client.send(b"more")  # taken, and thrown away
            await wait_all_tasks_blocked(0.01)
        clock.jump(2.001)
        await wait_all_tasks_blocked(0.01)
        await client.send(b"more")  # answered with a reset
        await wait_all_tasks_blocked(0.05)
        with pytest.raises(trio.BrokenResourceError):
            await client.send(b"more")


async def test_an_app_that_does_not_read_the_body_cannot_be_blocked_by_it(clock: MockClock) -> None:
    async def deaf(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await raw_app(scope, receive, send)
        await wait_all_tasks_blocked(0.1)  # the queue to this app is full, and the reader waits to put more
        start = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
        await send(start)
        await send({"type": "http.response.body", "body": b"ok"})
        return None

    async with serving(deaf) as server, raw_client(server.url) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.send_anyway, request("POST", "/", body=bytes(3_000_000)))
        assert (await client.read_answer()).body == b"ok"
        assert await client.read_to_end() == b""
        server.stop.set()
        await server.ended.wait()
        assert server.ended_at == 0
