"""How long a connection may be silent. hypercorn 0.18 never closes one that quart-trio has answered on."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from support.raw_http import RawClient, raw_client, request
from support.serving import serving
from trio_relay.relay.serving import ServingConfig

#: What our own client keeps an idle connection for.
CLIENT_KEEPS = 5.0


@pytest.fixture
def clock() -> MockClock:
    """Time stands still until a test moves it; only a test that hangs for 20 real seconds is moved on."""
    return MockClock(autojump_threshold=20)


async def closes_after(client: RawClient, clock: MockClock, seconds: float) -> None:
    await wait_all_tasks_blocked(0.01)
    clock.jump(seconds - 0.001)
    assert await client.is_open()
    clock.jump(0.002)
    with trio.fail_after(5):
        await client.read_to_end()


async def test_a_connection_that_never_asks_is_closed(clock: MockClock) -> None:
    async with serving(keep_alive_timeout=75) as server, raw_client(server.url) as client:
        await closes_after(client, clock, 75)


async def test_an_idle_connection_is_closed_after_every_request_not_only_before_the_first(
    clock: MockClock,
) -> None:
    async with serving(keep_alive_timeout=75) as server, raw_client(server.url) as client:
        for _ in range(3):
            assert (await client.get("/")).status == 200
            await wait_all_tasks_blocked(0.01)
            clock.jump(74)
        assert (await client.get("/")).status == 200
        await closes_after(client, clock, 75)


async def test_an_open_long_poll_is_never_idle(clock: MockClock) -> None:
    stopping = trio.Event()
    async with serving(stopping=stopping) as server, raw_client(server.url) as client:
        await client.send(request("GET", "/poll"))
        await wait_all_tasks_blocked(0.01)
        clock.jump(3600)
        assert await client.is_open()
        stopping.set()
        assert (await client.read_answer()).body == b"[]"


@pytest.mark.parametrize("earlier_requests", [0, 2])
async def test_a_head_that_trickles_in_is_answered_408_in_time(
    clock: MockClock, earlier_requests: int
) -> None:
    async with serving(header_timeout=10) as server, raw_client(server.url) as client:
        for _ in range(earlier_requests):
            await client.get("/")
        for byte in b"GET / HTT":
            await client.send(bytes([byte]))
            await wait_all_tasks_blocked(0.01)
            clock.jump(1)
        assert await client.is_open()
        clock.jump(1.1)
        with trio.fail_after(5):
            answer = await client.read_answer()
            assert await client.read_to_end() == b""
        assert answer.status == 408
        assert answer.problem()["code"] == "request_timeout"


async def test_an_idle_connection_is_closed_without_a_word(clock: MockClock) -> None:
    async with serving() as server, raw_client(server.url) as client:
        await client.get("/")
        await wait_all_tasks_blocked(0.01)
        clock.jump(76)
        assert await client.read_to_end() == b""


def test_the_server_keeps_idle_connections_much_longer_than_our_client() -> None:
    # Equal times lose a fifth of the POSTs that follow a pause: both sides close at the same moment.
    assert ServingConfig().keep_alive_timeout >= 10 * CLIENT_KEEPS
