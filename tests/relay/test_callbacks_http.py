"""Callbacks over real HTTP: the poster against servers that misbehave, and a whole relay with its receiver."""

import hashlib
import hmac
import json
import socket
from contextlib import suppress
from pathlib import Path

import h11
import httpx2
import pytest
import trio

from support.raw_receiver import Handler, read_request, receiver
from trio_relay.client.callback import CallbackPoster
from trio_relay.core.integrations import Integration
from trio_relay.relay.serve import serve_until
from trio_relay.settings import ServerSettings


def answering(raw: bytes) -> Handler:
    async def handle(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(raw)

    return handle


async def endless(stream: trio.SocketStream) -> None:
    """Answers 200 and a body without end."""
    await read_request(stream)
    with suppress(trio.BrokenResourceError):
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await stream.send_all(bytes(65536))


async def post(url: str) -> int | str:
    async with CallbackPoster.open() as poster:
        return await poster.post(url, b"{}", {"X-Trio-Relay-Delivery": "d1"})


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", 500),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n", 302),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", 200),
        (b"", "connection_lost"),
        (b"SSH-2.0-nonsense\r\n", "connection_lost"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000, "connection_lost"),
    ],
)
async def test_every_answer_is_a_status_or_a_kind_of_error(raw: bytes, expected: int | str) -> None:
    async with receiver(answering(raw)) as url:
        assert await post(url) == expected


async def test_an_endless_answer_is_not_read() -> None:
    async with receiver(endless) as url:
        assert await post(url) == 200


async def test_nobody_listening_is_told_apart() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert await post(f"http://127.0.0.1:{unused.getsockname()[1]}/") == "connect_failed"


@pytest.mark.parametrize("host", ["a..b", "a" * 70 + ".example", "☃.example"])
async def test_a_host_name_that_cannot_be_is_told_apart(host: str) -> None:
    assert await post(f"http://{host}/") == "bad_url"


async def test_the_environment_names_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with receiver(answering(b"HTTP/1.1 204 No Content\r\n\r\n")) as url:
        assert await post(url) == 204


async def test_a_relay_calls_back_over_http(tmp_path: Path) -> None:
    heard_send, heard = trio.open_memory_channel[tuple[h11.Request, bytes]](10)

    async def take(stream: trio.SocketStream) -> None:
        await heard_send.send(await read_request(stream))
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    stop = trio.Event()
    async with receiver(take) as hook, trio.open_nursery() as nursery:
        integration = Integration("ci", token="ci-token", callback_url=hook, callback_secret="secret")
        settings = ServerSettings(port=0, db_path=str(tmp_path / "relay.db"), integrations=(integration,))
        (url,) = await nursery.start(serve_until, settings, stop)
        async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=60) as http:
            event = {"type": "build", "title": "red", "target": "tag:ops", "dedupeKey": "1"}
            made = await http.post(
                "/api/integrations/events", json=event, headers={"Authorization": "Bearer ci-token"}
            )
            assert made.status_code == 201
            head, body = await heard.receive()
            headers = {name.decode(): value.decode() for name, value in head.headers}
            told = json.loads(body)
            assert (head.method, head.target) == (b"POST", b"/hook")
            assert (told["event"], told["task"], told["id"]) == (
                "task.created",
                made.json(),
                headers["x-trio-relay-delivery"],
            )
            signed = headers["x-trio-relay-timestamp"].encode() + b"." + body
            expected = hmac.new(b"secret", signed, hashlib.sha256).hexdigest()
            assert headers["x-trio-relay-signature"] == f"sha256={expected}"
        stop.set()
