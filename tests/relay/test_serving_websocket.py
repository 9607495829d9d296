"""WebSockets: bounded memory, honest ends, no way to spin."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from support.raw_http import (
    OPCODE_BINARY,
    OPCODE_CLOSE,
    OPCODE_PING,
    OPCODE_PONG,
    OPCODE_TEXT,
    RawClient,
    frame,
    raw_client,
    upgrade,
)
from support.serving import raw_app, server_process, serving

PROTOCOL_ERROR, TOO_BIG = 1002, 1009


@pytest.fixture
def clock() -> MockClock:
    """Time stands still until a test moves it; only a test that hangs for 20 real seconds is moved on."""
    return MockClock(autojump_threshold=20)


async def next_message(client: RawClient) -> tuple[int, bytes]:
    while (received := await client.read_frame()).opcode == OPCODE_PING:
        pass
    return received.opcode, received.payload


async def test_a_message_is_echoed() -> None:
    async with serving() as server, raw_client(server.url) as client:
        assert (await client.open_websocket("/ws")).status == 101
        await client.send(frame(OPCODE_TEXT, b"he", finished=False) + frame(0, b"llo"))
        assert await next_message(client) == (OPCODE_TEXT, b"hello")


async def test_compression_is_never_agreed_to() -> None:
    # 65 KB of deflate become 245 MB in hypercorn, which accepts every offer.
    async with serving() as server, raw_client(server.url) as client:
        answer = await client.open_websocket("/ws", "Sec-WebSocket-Extensions: permessage-deflate")
        assert answer.status == 101
        assert "sec-websocket-extensions" not in answer.headers


async def test_a_message_over_the_limit_ends_the_connection() -> None:
    async with serving(max_message=1000) as server, raw_client(server.url) as client:
        await client.open_websocket("/ws")
        await client.send(frame(OPCODE_BINARY, bytes(1000)))
        assert await next_message(client) == (OPCODE_BINARY, bytes(1000))
        await client.send(frame(OPCODE_BINARY, bytes(600), finished=False) + frame(0, bytes(401)))
        opcode, payload = await next_message(client)
        assert (opcode, int.from_bytes(payload[:2], "big")) == (OPCODE_CLOSE, TOO_BIG)
        assert await client.read_to_end() == b""


async def test_a_frame_that_claims_to_be_huge_is_not_buffered() -> None:
    with server_process("ours") as server:
        async with raw_client(server.url) as client:
            await client.open_websocket("/ws")
            before = server.resident
            await client.send(frame(OPCODE_BINARY, b"", claimed_length=400_000_000))
            await client.send_anyway(bytes(100_000_000))  # until the server has had enough
        assert server.resident - before < 30_000_000


async def test_a_broken_frame_is_named_and_ends_the_connection() -> None:
    async with serving() as server, raw_client(server.url) as client:
        await client.open_websocket("/ws")
        await client.send(b"\xff\xff\xff\xff")
        opcode, payload = await next_message(client)
        assert (opcode, int.from_bytes(payload[:2], "big")) == (OPCODE_CLOSE, PROTOCOL_ERROR)
        assert await client.read_to_end() == b""


@pytest.mark.parametrize("ends_with", ["close frame", "end of stream", "reset"])
async def test_a_handler_that_only_sends_does_not_spin_when_its_peer_is_gone(ends_with: str) -> None:
    # In hypercorn sending then returns at once without a checkpoint: no other task ever runs again.
    with server_process("ours") as server, trio.fail_after(60):
        async with raw_client(server.url) as client:
            await client.open_websocket("/ws-chatter")
            await next_message(client)
            if ends_with == "close frame":
                await client.send(frame(OPCODE_CLOSE, b"\x03\xe8"))
                await client.read_to_end()
            elif ends_with == "reset":
                client.reset()
        async with raw_client(server.url) as client:
            assert (await client.get("/")).status == 200


async def test_data_before_the_handshake_is_answered_is_refused() -> None:
    async with serving() as server, raw_client(server.url) as client:
        await client.send(upgrade("/ws") + b"x")
        answer = await client.read_answer()
        assert answer.status == 400
        answer.problem()
        assert await client.read_to_end() == b""


async def test_a_rejected_websocket_gets_the_answer_of_the_app() -> None:
    async with serving() as server, raw_client(server.url) as client:
        answer = await client.open_websocket("/ws-closed")
        assert (answer.status, answer.body) == (403, b"not here")
        assert await client.read_to_end() == b""


async def test_a_peer_silent_for_two_pings_is_dropped(clock: MockClock) -> None:
    async with serving(ping_interval=20) as server, raw_client(server.url) as client:
        await client.open_websocket("/ws")
        last_heard_at = 0.0
        for _ in range(5):  # answering keeps it
            assert (await client.read_frame()).opcode == OPCODE_PING
            await client.send(frame(OPCODE_PONG, b""))
            last_heard_at = trio.current_time()
            await wait_all_tasks_blocked(0.01)
            clock.jump(20)
        await wait_all_tasks_blocked(0.01)
        while client.take_now(1000):  # a ping; silence does not
            clock.jump(20)
            await wait_all_tasks_blocked(0.01)
        assert trio.current_time() - last_heard_at == 60  # at the first ping later than two intervals


async def test_a_peer_whose_messages_the_app_has_yet_to_take_is_not_dropped(clock: MockClock) -> None:
    async with serving(raw_app, ping_interval=20) as server, raw_client(server.url) as client:
        await client.open_websocket("/ws")
        await client.send(frame(OPCODE_TEXT, b"x") * 100)
        for _ in range(10):
            assert (await client.read_frame()).opcode == OPCODE_PING
            await wait_all_tasks_blocked(0.01)
            clock.jump(20)
        assert (await client.read_frame()).opcode == OPCODE_PING
