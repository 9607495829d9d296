"""What the server refuses by itself, and how it says so."""

from typing import Any

import pytest
import trio

from support.raw_http import raw_client, request, upgrade
from support.serving import raw_app, serving


async def test_a_head_over_the_limit_is_refused_however_it_arrives() -> None:
    # h11 counts incomplete input only, so 44 KB in one segment pass in hypercorn.
    padding = [f"X-Padding-{n}: {'x' * 1000}" for n in range(20)]
    head = request("GET", "/", *padding)
    async with serving(max_header=16_384) as server:
        for pieces in ([head], [head[:10_000], head[10_000:]], [head[:-2], head[-2:]]):
            async with raw_client(server.url) as client:
                for piece in pieces:
                    await client.send_anyway(piece)
                answer = await client.read_answer()
                assert answer.status == 431
                assert answer.problem()["code"] == "headers_too_large"
                assert await client.read_to_end() == b""


async def test_a_head_just_under_the_limit_is_served() -> None:
    async with serving(max_header=16_384) as server, raw_client(server.url) as client:
        assert (await client.get("/", f"X-Padding: {'x' * 16_000}")).status == 200


async def test_a_long_path_counts_as_head() -> None:
    async with serving(max_header=16_384) as server, raw_client(server.url) as client:
        assert (await client.get("/" + "x" * 17_000)).status == 431


async def test_both_lengths_at_once_are_refused() -> None:
    async with serving() as server, raw_client(server.url) as client:
        await client.send(request("POST", "/echo", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"))
        answer = await client.read_answer()
        assert (answer.status, answer.problem()["code"]) == (400, "ambiguous_length")


async def test_an_offer_of_http2_is_ignored() -> None:
    offer = (
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
    )
    async with serving() as server, raw_client(server.url) as client:
        for _ in range(2):  # and the connection goes on
            answer = await client.get("/", *offer)
            assert answer.status == 200
            assert answer.json() == {"hello": "world"}


async def test_the_preface_of_http2_is_answered_in_http1() -> None:
    async with serving() as server, raw_client(server.url) as client:
        await client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
        answer = await client.read_answer()
        assert (answer.status, answer.problem()["code"]) == (505, "http_version_not_supported")


async def test_one_connection_too_many_is_told_to_come_back() -> None:
    async with serving(max_connections=2) as server:
        async with raw_client(server.url) as first, raw_client(server.url) as second:
            assert (await first.get("/")).status == (await second.get("/")).status == 200
            async with raw_client(server.url) as third:
                answer = await third.get("/")
                assert (answer.status, answer.headers["retry-after"]) == (503, "1")
                assert answer.problem()["code"] == "too_many_connections"
                assert await third.stream.receive_some() == b""  # an end, not a reset
            assert (await first.get("/")).status == 200
        while True:  # the server notices their end a moment after they do
            async with raw_client(server.url) as fourth:
                if (await fourth.get("/")).status == 200:
                    break


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (request("GET", "/x y"), 400),
        (request("CONNECT", "/"), 501),
        (request("POST", "/echo", "Transfer-Encoding: gzip"), 501),
        (request("GET", "/", version="3.0"), 505),
        (upgrade("/ws", "Sec-WebSocket-Protocol: \xff"), 400),
    ],
)
async def test_every_refusal_is_a_problem_document_and_ends_the_connection(sent: bytes, status: int) -> None:
    async with serving() as server, raw_client(server.url) as client:
        await client.send(sent)
        answer = await client.read_answer()
        assert answer.status == status
        assert answer.reason == answer.problem()["title"]
        assert answer.headers["connection"] == "close"
        assert await client.read_to_end() == b""


async def test_a_refused_head_request_gets_no_body() -> None:
    async with serving() as server, raw_client(server.url) as client:
        await client.send(request("HEAD", "no-slash"))
        answer = await client.read_answer(to_head=True)
        assert answer.status == 400
        assert int(answer.headers["content-length"]) > 0
        assert await client.read_to_end() == b""


async def test_a_body_that_breaks_off_is_answered_400() -> None:
    async with serving() as server, raw_client(server.url) as client:
        await client.send(request("POST", "/echo", "Content-Length: 10") + b"abc")
        await client.stream.send_eof()
        answer = await client.read_answer()
        assert answer.status == 400
        answer.problem()


async def test_a_stream_without_data_sends_its_head() -> None:
    ended = trio.Event()

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await raw_app(scope, receive, send)
        start = {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"text/event-stream")],
        }
        await send(start)
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        await ended.wait()
        await send({"type": "http.response.body", "body": b"x"})
        return None

    async with serving(silent) as server, raw_client(server.url) as client:
        await client.send(request("GET", "/"))
        assert b"200 OK" in await client.stream.receive_some()
        ended.set()
        assert b"x" in await client.stream.receive_some()


async def test_a_pipelined_request_is_served_after_the_first() -> None:
    async with serving() as server, raw_client(server.url) as client:
        await client.send(request("POST", "/echo", body=b"one") + request("POST", "/echo", body=b"two"))
        assert [(await client.read_answer()).body, (await client.read_answer()).body] == [b"one", b"two"]


async def test_a_client_may_wait_for_leave_to_send_its_body() -> None:
    async with serving() as server, raw_client(server.url) as client:
        await client.send(request("POST", "/echo", "Expect: 100-continue", "Content-Length: 4"))
        assert (await client.stream.receive_some()).startswith(b"HTTP/1.1 100")
        await client.send(b"body")
        assert (await client.read_answer()).body == b"body"
