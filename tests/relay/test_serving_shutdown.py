"""Stopping: nobody is left waiting, and nobody can make the server wait."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from support.raw_http import OPCODE_CLOSE, OPCODE_PING, raw_client, request
from support.serving import raw_app, serving


@pytest.fixture
def clock() -> MockClock:
    """Time stands still until a test moves it; only a test that hangs for 20 real seconds is moved on."""
    return MockClock(autojump_threshold=20)


async def test_a_server_with_idle_connections_stops_at_once(clock: MockClock) -> None:
    async with (
        serving(graceful_timeout=1) as server,
        raw_client(server.url) as used,
        raw_client(server.url) as unused,
    ):
        await used.get("/")
        await wait_all_tasks_blocked(0.01)
        server.stop.set()
        await server.ended.wait()
        assert server.ended_at == 0
        assert await used.read_to_end() == await unused.read_to_end() == b""


async def test_open_streams_and_polls_end_cleanly_when_the_app_is_told(clock: MockClock) -> None:
    async with serving() as server, raw_client(server.url) as poll, raw_client(server.url) as events:
        await poll.send(request("GET", "/poll"))
        await events.send(request("GET", "/events"))
        await wait_all_tasks_blocked(0.01)
        server.stop.set()
        answered, streamed = await poll.read_answer(), await events.read_answer()
        await server.ended.wait()
        assert answered.body == b"[]"
        assert answered.headers["connection"] == "close"
        assert streamed.body == b"data: first\n\ndata: bye\n\n"
        assert server.ended_at == 0


async def test_a_request_in_progress_has_the_graceful_timeout_and_no_longer(clock: MockClock) -> None:
    async with (
        serving(on_stop=lambda: None, graceful_timeout=1) as server,
        raw_client(server.url) as poll,
        raw_client(server.url) as websocket,
    ):
        await poll.send(request("GET", "/poll"))
        assert (await websocket.open_websocket("/ws")).status == 101
        await wait_all_tasks_blocked(0.01)
        server.stop.set()
        await wait_all_tasks_blocked(0.01)
        clock.jump(0.999)
        assert await poll.is_open()
        clock.jump(0.002)
        await server.ended.wait()
        assert server.ended_at == pytest.approx(1.001)
        assert await poll.read_to_end() == b""


@pytest.mark.parametrize("path", ["/flood", "/ws-chatter"])
async def test_a_client_that_stopped_reading_does_not_hold_up_the_stop(clock: MockClock, path: str) -> None:
    async with serving(graceful_timeout=1) as server, raw_client(server.url, receive_buffer=4096) as client:
        if path == "/flood":
            await client.send(request("GET", path))
        else:
            await client.open_websocket(path)
        await wait_all_tasks_blocked(0.1)
        server.stop.set()
        await wait_all_tasks_blocked(0.01)
        clock.jump(1)
        await server.ended.wait()
        assert server.ended_at == 1


async def test_an_app_that_ignores_its_client_does_not_hold_up_the_stop(clock: MockClock) -> None:
    async def stubborn(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await raw_app(scope, receive, send)
        await trio.sleep_forever()

    async with serving(stubborn, graceful_timeout=1) as server, raw_client(server.url) as client:
        await client.send(request("GET", "/"))
        await wait_all_tasks_blocked(0.01)
        server.stop.set()
        await wait_all_tasks_blocked(0.01)
        clock.jump(1)
        await server.ended.wait()
        assert server.ended_at == 1


async def test_nobody_is_let_in_once_the_server_stops(clock: MockClock) -> None:
    stopped_with: list[bool] = []
    async with serving(on_stop=lambda: stopped_with.append(True), graceful_timeout=1) as server:
        async with raw_client(server.url) as poll:
            await poll.send(request("GET", "/poll"))
            await wait_all_tasks_blocked(0.01)
            server.stop.set()
            await wait_all_tasks_blocked(0.01)
            assert stopped_with == [True]
            with pytest.raises(ConnectionRefusedError):
                async with raw_client(server.url):
                    pass
        await server.ended.wait()


async def test_a_request_that_ends_while_stopping_closes_its_connection(clock: MockClock) -> None:
    release = trio.Event()
    async with (
        serving(stopping=release, on_stop=lambda: None) as server,
        raw_client(server.url) as client,
    ):
        # A second request is already in the connection: it is not started any more.
        await client.send(request("GET", "/poll") + request("GET", "/"))
        await wait_all_tasks_blocked(0.01)
        server.stop.set()
        await wait_all_tasks_blocked(0.01)
        release.set()
        assert (await client.read_answer()).body == b"[]"
        assert await client.read_to_end() == b""
        await server.ended.wait()
        assert server.ended_at == 0


async def test_cancelling_the_server_ends_it_at_once_even_in_the_middle_of_a_write(clock: MockClock) -> None:
    with trio.CancelScope() as scope:
        async with serving() as server, raw_client(server.url, receive_buffer=4096) as client:
            await client.send(request("GET", "/flood"))
            await wait_all_tasks_blocked(0.1)
            scope.cancel()
            await trio.sleep_forever()
    assert trio.current_time() == 0


async def test_a_websocket_is_closed_with_a_close_frame(clock: MockClock) -> None:
    async with serving(ping_interval=20) as server, raw_client(server.url) as client:
        await client.open_websocket("/ws-deaf")
        await wait_all_tasks_blocked(0.01)
        server.stop.set()
        frames = [await client.read_frame(), await client.read_frame()]
        await server.ended.wait()
        assert [frame.opcode for frame in frames] == [OPCODE_PING, OPCODE_CLOSE]
        assert server.ended_at == 0
