"""What the client makes of answers, refusals and weather."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
import trio
from trio.testing import MockClock

from support.relay import Room
from support.talk import join, say
from trio_relay.client import RelayClient
from trio_relay.errors import (
    Conflict,
    ConnectionLost,
    Invalid,
    LeaseLost,
    NotFound,
    RateLimited,
    Refused,
    RelayError,
    StaleInstance,
    Unauthorized,
)

URL = "http://127.0.0.1:4850"
Answer = Callable[[httpx2.Request], Awaitable[httpx2.Response]]


class Scripted(httpx2.AsyncBaseTransport):
    """Answer every request by a function of it."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return await self.answer(request)


def answering(status: int, content: bytes = b"", **headers: str) -> Scripted:
    async def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, content=content, headers=headers)

    return Scripted(answer)


def problem(status: int, code: str, **fields: Any) -> Scripted:
    document = {"type": "about:blank", "title": "t", "status": status, "detail": "why", "code": code}
    return answering(status, httpx2.Response(200, json=document | fields).content)


async def failure(transport: httpx2.AsyncBaseTransport, **options: Any) -> RelayError:
    async with RelayClient.open(URL, transport=transport, **options) as relay:
        with pytest.raises(RelayError) as failed:
            await relay.cursor()
    return failed.value


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "invalid", Invalid),
        (400, "malformed_json", Invalid),
        (413, "body_too_large", Invalid),
        (401, "bad_token", Unauthorized),
        (403, "origin_refused", Refused),
        (404, "unknown_agent", NotFound),
        (409, "claimed", Conflict),
        (409, "stale_instance", StaleInstance),
        (409, "session_required", StaleInstance),
        (409, "lease_lost", LeaseLost),
        (408, "request_timeout", ConnectionLost),
        (500, "internal_error", ConnectionLost),
        (503, "shutting_down", ConnectionLost),
    ],
)
async def test_a_refusal_arrives_as_the_error_it_was(status: int, code: str, kind: type[RelayError]) -> None:
    error = await failure(problem(status, code))
    assert (type(error), error.code, error.detail) == (kind, code, "why")


async def test_the_fields_at_fault_arrive_with_it() -> None:
    error = await failure(problem(400, "invalid", errors=[{"path": "to", "message": "expected a name"}]))
    assert [(field.path, field.message) for field in error.fields] == [("to", "expected a name")]


async def test_too_much_says_when_to_come_back() -> None:
    document = httpx2.Response(200, json={"title": "t", "status": 429, "detail": "d", "code": "rate_limited"})
    error = await failure(answering(429, document.content, **{"Retry-After": "7"}))
    assert isinstance(error, RateLimited)
    assert (error.code, error.retry_after) == ("rate_limited", 7)
    error = await failure(
        answering(429, document.content, **{"Retry-After": "Sat, 21 Nov 2026 07:28:00 GMT"})
    )
    assert isinstance(error, RateLimited)
    assert error.retry_after == 1


@pytest.mark.parametrize("content", [b"", b"<html>busy</html>", b"\xff", b"[]", b'{"error": "old style"}'])
async def test_an_error_without_a_problem_document_is_still_one(content: bytes) -> None:
    assert type(await failure(answering(502, content))) is ConnectionLost
    assert type(await failure(answering(404, content))) is NotFound
    assert type(await failure(answering(418, content))) is Invalid


@pytest.mark.parametrize("content", [b"", b"<html>hello</html>", b"\xff", b"[]", b'{"latestId": "7"}'])
async def test_what_is_no_relay_is_called_so(content: bytes) -> None:
    error = await failure(answering(200, content))
    assert (type(error), error.code) == (ConnectionLost, "not_a_relay")
    assert "hello" not in error.detail


async def test_a_relay_that_cannot_be_reached_is_weather() -> None:
    async def fail(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused", request=request)

    error = await failure(Scripted(fail))
    assert (type(error), error.code) == (ConnectionLost, "connection_lost")
    assert URL in error.detail


async def test_so_is_nobody_listening() -> None:
    with trio.socket.socket() as taken:
        await taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses every connection
        async with RelayClient.open(f"http://127.0.0.1:{taken.getsockname()[1]}") as relay:
            with pytest.raises(ConnectionLost):
                await relay.cursor()


async def test_a_relay_that_does_not_answer_in_time_is_weather(autojump_clock: MockClock) -> None:
    async def hang(request: httpx2.Request) -> httpx2.Response:
        await trio.sleep_forever()
        raise AssertionError

    began = trio.current_time()
    error = await failure(Scripted(hang), timeout=10.0)
    assert (type(error), error.code) == (ConnectionLost, "timeout")
    assert trio.current_time() - began == 10


async def test_a_long_poll_is_given_its_wait_and_the_timeout(autojump_clock: MockClock) -> None:
    async def late(request: httpx2.Request) -> httpx2.Response:
        await trio.sleep(float(request.url.params["wait"]) + 9.9)
        return httpx2.Response(200, content=b"[]")

    async with RelayClient.open(URL, transport=Scripted(late), timeout=10.0) as relay:
        assert await relay.inbox("bob", wait=60) == []


async def test_the_calls_own_cancellation_is_not_mistaken_for_a_timeout(autojump_clock: MockClock) -> None:
    async def hang(request: httpx2.Request) -> httpx2.Response:
        await trio.sleep_forever()
        raise AssertionError

    async with RelayClient.open(URL, transport=Scripted(hang)) as relay:
        with trio.move_on_after(1) as scope:
            await relay.cursor()
    assert scope.cancelled_caught


@pytest.mark.parametrize("url", ["", "nope", "ftp://relay", "http://", "http://[::1"])
async def test_a_url_that_cannot_be_meant_is_said_at_once(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        async with RelayClient.open(url):
            pass
    assert refused.value.code == "bad_url"


@pytest.mark.parametrize("token", ["sécret", "two\nlines"])
async def test_so_is_a_token_no_header_can_carry(token: str) -> None:
    with pytest.raises(Invalid) as refused:
        async with RelayClient.open(URL, token):
            pass
    assert refused.value.code == "bad_token"
    assert token not in refused.value.detail


async def test_the_token_travels_in_a_header_and_never_in_the_address() -> None:
    seen: list[httpx2.Request] = []

    async def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, json={"latestId": 0, "latestSeq": 0})

    async with RelayClient.open(URL, "s3cret", transport=Scripted(answer)) as relay:
        await relay.cursor()
    assert seen[0].headers["X-Agent-Relay-Token"] == "s3cret"
    assert "s3cret" not in str(seen[0].url)


async def test_ready_is_what_the_relay_says(room: Room) -> None:
    assert await room.relay.ready()
    room.service.hub.close()
    assert not await room.relay.ready()
    room.transport.broken = True
    assert not await room.relay.ready()


async def test_a_lost_connection_is_found_again(room: Room) -> None:
    await join(room, "bob")
    room.transport.broken = True
    with pytest.raises(ConnectionLost):
        await room.relay.heartbeat("bob")
    room.transport.broken = False
    assert (await say(room, "ann", "bob")).id == 1
