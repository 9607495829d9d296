"""Opening a connection succeeds or says why not, within its bounds. In virtual time, over streams in memory."""

import pytest
import trio
import trio.testing
import trio_websocket

from support.fake_app_server import fake_app_server
from support.scripted_app_server import URL
from trio_relay.codex.app_server import open_app_server
from trio_relay.codex.connection import CLOSE_TIMEOUT
from trio_relay.codex.dial import dial_url
from trio_relay.codex.protocol import CallFailed
from trio_relay.errors import ConnectionLost, Invalid

Clock = trio.testing.MockClock


async def test_a_server_that_never_answers_the_handshake_is_given_up(autojump_clock: Clock) -> None:
    async with fake_app_server() as fake:
        fake.stalled = True
        with pytest.raises(ConnectionLost, match="did not complete the handshake in 10 s"):
            async with open_app_server(fake.url, dial=fake.dial):
                pass
    assert trio.current_time() == pytest.approx(10)


async def test_a_server_that_never_answers_the_introduction_is_given_up(autojump_clock: Clock) -> None:
    async with fake_app_server() as fake:
        fake.before_call = lambda _method, _params: trio.sleep_forever()
        with pytest.raises(ConnectionLost, match="did not complete the handshake in 3 s"):
            async with open_app_server(fake.url, dial=fake.dial, handshake_timeout=3):
                pass
    assert trio.current_time() == pytest.approx(3, abs=CLOSE_TIMEOUT)


async def test_a_server_that_dies_during_the_handshake_is_noticed_at_once(autojump_clock: Clock) -> None:
    async def dial() -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        await theirs.aclose()
        return ours

    with pytest.raises(ConnectionLost, match="went away during the handshake"):
        async with open_app_server(URL, dial=dial):
            pass
    assert trio.current_time() == 0


async def test_a_server_that_is_not_there_is_weather(autojump_clock: Clock) -> None:
    async with fake_app_server() as fake:
        await fake.kill()
        with pytest.raises(ConnectionLost, match="cannot be reached: Connection refused"):
            async with open_app_server(fake.url, dial=fake.dial):
                pass


async def test_a_server_that_refuses_the_introduction_says_why(autojump_clock: Clock) -> None:
    async def dial() -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(serve, theirs)
        return ours

    async def serve(stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as wire:
            request = await trio_websocket.wrap_server_stream(wire, stream)
            websocket = await request.accept()
            await websocket.get_message()
            await websocket.send_message('{"id":1,"error":{"code":-32600,"message":"Already initialized"}}')

    async with trio.open_nursery() as nursery:
        with pytest.raises(CallFailed, match="Already initialized"):
            async with open_app_server(URL, dial=dial):
                pass
        nursery.cancel_scope.cancel()


async def test_something_that_is_not_a_websocket_server_is_weather(autojump_clock: Clock) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")

    async def dial() -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(serve, theirs)
        return ours

    async with trio.open_nursery() as nursery:
        with pytest.raises(ConnectionLost, match="HTTP status 404"):
            async with open_app_server(URL, dial=dial):
                pass


@pytest.mark.parametrize(
    "url",
    [
        "",
        "4501",
        "http://127.0.0.1:4501",
        "ws://127.0.0.1",
        "ws://:4501",
        "ws://h:x",
        "ws://h:70000",
        "unix://",
        "unix:///",
        "unix://relative/path",
        "ws://[::1",
        "wss://127.0.0.1:4501",
    ],
)
def test_an_address_of_another_kind_is_the_callers_mistake(url: str) -> None:
    with pytest.raises(Invalid, match="ws://HOST:PORT or unix:///PATH"):
        dial_url(url)


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "schlüssel"])
async def test_a_token_that_cannot_be_sent_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(Invalid) as refused:
        async with open_app_server(URL, token=token, dial=trio.sleep_forever):
            pass
    assert not token or token not in refused.value.detail
