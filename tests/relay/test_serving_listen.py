"""Where the server listens, and what it says when it cannot."""

import gc
import socket

import pytest
import trio

from support.raw_http import raw_client
from support.serving import make_app, serving
from trio_relay.errors import RelayError
from trio_relay.relay.serving import ServingConfig, serve_app, tune_gc


async def start_and_fail(host: str, port: int) -> RelayError:
    stop = trio.Event()
    with pytest.raises(RelayError) as raised:
        await serve_app(make_app(stop), ServingConfig(host, port), stop=stop, on_stop=stop.set)
    return raised.value


async def test_a_port_in_use_is_named() -> None:
    async with serving() as server:
        port = int(server.url.rpartition(":")[2])
        error = await start_and_fail("127.0.0.1", port)
        assert error.code == "address_in_use"
        assert (
            error.detail
            == f"cannot listen on 127.0.0.1:{port}: the address is in use, perhaps by another relay"
        )


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1", "2001:db8::1"])
async def test_an_address_that_is_not_ours_is_named(host: str) -> None:
    error = await start_and_fail(host, 4850)
    assert error.code == "cannot_listen"
    assert error.detail.startswith(f"cannot listen on {f'[{host}]' if ':' in host else host}:4850: ")


@pytest.mark.parametrize(("host", "prefix"), [("127.0.0.1", "http://127.0.0.1:"), ("::1", "http://[::1]:")])
async def test_the_bound_url_is_handed_out(host: str, prefix: str) -> None:
    async with serving(host=host) as server:
        assert server.url.startswith(prefix)
        async with raw_client(server.url) as client:
            assert (await client.get("/")).status == 200


async def test_a_restart_gets_the_port_of_its_predecessor() -> None:
    async with serving() as server, raw_client(server.url) as client:
        await client.get("/")
        port = int(server.url.rpartition(":")[2])
        server.stop.set()
        await server.ended.wait()  # the server closed first: its end of the connection is in TIME_WAIT
        await client.read_to_end()
        async with serving(port=port) as successor:
            assert successor.url == server.url


async def test_accepted_connections_notice_vanished_peers() -> None:
    accepted: list[dict[str, int]] = []

    original = trio.SocketListener.accept

    async def accept(listener: trio.SocketListener) -> trio.SocketStream:
        stream = await original(listener)
        options = {
            "keepalive": (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            "idle": (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
            "user_timeout": (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
        }
        accepted.append({name: stream.socket.getsockopt(*option) for name, option in options.items()})
        return stream

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trio.SocketListener, "accept", accept)
        async with serving() as server, raw_client(server.url) as client:
            await client.get("/")
    assert accepted == [{"keepalive": 1, "idle": 30, "user_timeout": 20_000}]


def test_tuning_gc_freezes_what_exists_and_makes_full_collections_rare() -> None:
    before = gc.get_threshold()
    try:
        tune_gc()
        assert gc.get_threshold() == (50_000, 50, 100)
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
