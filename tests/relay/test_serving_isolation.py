"""One connection's failure is its own. In hypercorn 0.18 on trio it ends the process (pgjones/hypercorn#225)."""

from typing import Any

import pytest
from structlog.testing import capture_logs
from trio.testing import wait_all_tasks_blocked

from support.raw_http import raw_client, request, upgrade
from support.serving import raw_app, server_process, serving
from trio_relay.relay.serving.http1 import RelayH11

SECRET = "do-not-log-this"


async def test_a_bug_in_the_protocol_spares_the_other_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(protocol: RelayH11, request: Any) -> None:
        raise ValueError(f"cannot cope with {SECRET}")

    async with serving() as server, raw_client(server.url) as neighbour:
        await neighbour.send(request("GET", "/poll"))
        await wait_all_tasks_blocked(0.01)
        with monkeypatch.context() as patch, capture_logs() as logs:
            patch.setattr(RelayH11, "_create_stream", fail)
            async with raw_client(server.url) as client:
                await client.send(request("GET", f"/{SECRET}"))
                assert await client.read_to_end() == b""
        assert await neighbour.is_open()
        async with raw_client(server.url) as client:
            assert (await client.get("/")).status == 200
    (line,) = logs
    assert line["event"] == "connection failed"
    assert line["error"].startswith("ValueError at test_serving_isolation.py:")
    assert SECRET not in str(logs)


async def test_an_app_that_fails_is_answered_for_and_the_connection_ends() -> None:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await raw_app(scope, receive, send)
            return
        raise ValueError(f"cannot cope with {SECRET}")

    with capture_logs() as logs:
        async with serving(failing) as server:
            async with raw_client(server.url) as client:
                answer = await client.get("/")
                assert answer.status == 500
                assert answer.problem()["code"] == "internal_error"
                assert await client.read_to_end() == b""
            async with raw_client(server.url) as client:
                await client.send(request("HEAD", "/"))
                assert (await client.read_answer(to_head=True)).status == 500
                assert await client.read_to_end() == b""
            async with raw_client(server.url) as client:
                answer = await client.open_websocket("/")
                assert answer.status == 500
                answer.problem()
    assert [line["event"] for line in logs] == ["app failed"] * 3
    assert SECRET not in str(logs)


async def test_an_answer_to_a_client_that_broke_the_protocol_goes_nowhere() -> None:
    async def late(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await raw_app(scope, receive, send)
        while (await receive())["type"] != "http.disconnect":
            pass
        await raw_app(scope, receive, send)
        return None

    with capture_logs() as logs:
        async with serving(late) as server, raw_client(server.url) as client:
            await client.send(request("POST", "/", "Transfer-Encoding: chunked") + b"nonsense\r\n")
            assert (await client.read_answer()).status == 400
            assert await client.read_to_end() == b""
    assert logs == []


async def test_an_answer_that_breaks_off_ends_the_connection() -> None:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await raw_app(scope, receive, send)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"abc", "more_body": True})
        raise ValueError

    with capture_logs():
        async with serving(failing) as server, raw_client(server.url) as client:
            with pytest.raises(EOFError):
                await client.get("/")


async def test_the_stock_server_is_ended_by_one_byte_too_many() -> None:
    """What the other tests of this directory are for; also proof that `server_process` notices a dead server."""
    with server_process("stock") as server:
        async with raw_client(server.url) as client:
            assert (await client.get("/")).status == 200
        async with raw_client(server.url) as client:
            await client.send(upgrade("/ws") + b"x")
            await client.read_to_end()
        assert server.wait(30) == 1
