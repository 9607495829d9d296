"""The client without an event loop: the same answers and the same errors as with one."""

import socket
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import coroutine
from typing import Any

import pytest
import trio

from support.commands import ServingRelay, clean_environment, serving_relay
from trio_relay.client import RelayClient, admin
from trio_relay.client.plain import PlainRelay, finished
from trio_relay.core.wire import AgentRegistration, SendRequest
from trio_relay.errors import Conflict, ConnectionLost, Invalid, NotFound, RelayError, Unauthorized

CURSOR = b'{"latestId": 7, "latestSeq": 12}'


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingRelay]:
    """A relay that wants a token."""
    home = tmp_path_factory.mktemp("relay")
    with serving_relay(env=clean_environment(home, AGENT_RELAY_TOKEN="s3cret"), cwd=home) as serving:
        yield serving


@contextmanager
def server(*answers: bytes | None) -> Iterator[tuple[str, list[bytes]]]:
    """A server that gives one answer a connection, whatever it is; None: it never answers. Its URL, what it has heard."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()
    heard: list[bytes] = []

    def serve() -> None:
        for answer in answers:
            connection, _ = listener.accept()
            with connection:
                heard.append(connection.recv(65_536))
                if answer is None:
                    over.wait()
                else:
                    connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", heard
    finally:
        over.set()
        thread.join()
        listener.close()


def test_calls_on_one_connection_answer_what_the_other_client_is_answered(relay: ServingRelay) -> None:
    with PlainRelay.at(relay.url, "s3cret") as plain:
        agent = finished(plain.register(AgentRegistration(id="ann", tags=["a b", "ö"])))
        sent = finished(plain.send(SendRequest(sender="ben", to="ann", body="grüß dich\n" * 20_000)))
        found = finished(plain.inbox("ann", wait=1))
        finished(plain.remove_agent("ann"))
        story = finished(admin.explain(plain, sent.id))
    assert (agent.tags, found[0].body, story.message_id) == (["a b", "ö"], sent.body, sent.id)

    async def same() -> Any:
        async with RelayClient.open(relay.url, "s3cret") as client:
            return await admin.explain(client, sent.id)

    assert trio.run(same) == story


def test_queries_are_written_as_the_other_client_writes_them(relay: ServingRelay) -> None:
    with PlainRelay.at(relay.url, "s3cret") as plain:
        finished(
            plain.register(AgentRegistration(id="a & b/c".replace("/", "-"), tags=["x&y=z"], ready=True))
        )
        assert [each.id for each in finished(plain.agents(tag="x&y=z", ready=True))] == ["a & b-c"]
        assert finished(plain.agent("a & b-c")).id == "a & b-c"


@pytest.mark.parametrize(
    ("ask", "kind", "code"),
    [
        (lambda plain: plain.agent("nobody"), NotFound, "unknown_agent"),
        (lambda plain: plain.send(SendRequest(sender="a", to="tag:", body="")), Invalid, "invalid"),
        (lambda plain: admin.resume_thread(plain, 1), Conflict, "not_parked"),
    ],
)
def test_a_refusal_is_the_error_the_relay_raised(
    relay: ServingRelay, ask: Callable[[PlainRelay], Any], kind: type[RelayError], code: str
) -> None:
    with PlainRelay.at(relay.url, "s3cret") as plain:
        finished(plain.send(SendRequest(sender="a", to="tag:x", body="")))
        with pytest.raises(kind) as refused:
            finished(ask(plain))
        assert refused.value.code == code
        assert finished(plain.stats()).messages >= 1, "the connection goes on"


def test_without_a_token_it_is_refused_and_a_token_no_header_carries_is_not_sent(relay: ServingRelay) -> None:
    with PlainRelay.at(relay.url) as plain, pytest.raises(Unauthorized):
        finished(plain.whoami())
    with pytest.raises(Invalid) as refused, PlainRelay.at(relay.url, "gehe\u00edm"):
        pass
    assert "gehe" not in refused.value.detail


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1",
        "nonsense",
        "http://",
        "http://h:port",
        "http://h:99999",
        "http://127.0.0.1\x1b",
        "http://a b",
    ],
)
def test_what_is_no_relay_url_is_invalid(url: str) -> None:
    with pytest.raises(Invalid) as refused, PlainRelay.at(url):
        pass
    assert refused.value.code == "bad_url"


def test_where_nobody_listens_the_relay_is_lost() -> None:
    with (
        PlainRelay.at("http://127.0.0.1:9") as plain,
        pytest.raises(ConnectionLost, match="cannot be reached"),
    ):
        finished(plain.stats())


def test_who_never_answers_is_lost_when_the_time_is_over() -> None:
    with (
        server(None) as (url, _),
        PlainRelay.at(url, timeout=0.2) as plain,
        pytest.raises(ConnectionLost, match="did not answer in time"),
    ):
        finished(plain.stats())


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "not_a_relay"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "not_a_relay"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "server_error"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "connection_lost"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", "connection_lost"),
        (b"", "connection_lost"),
    ],
)
def test_what_is_no_relay_is_said_to_be_none(answer: bytes, code: str) -> None:
    with server(answer) as (url, _), PlainRelay.at(url) as plain:
        with pytest.raises(ConnectionLost) as lost:
            finished(plain.stats())
        assert lost.value.code == code


def test_a_connection_that_is_closed_after_an_answer_is_opened_anew() -> None:
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + CURSOR
    with server(closing, closing) as (url, heard), PlainRelay.at(url) as plain:
        assert [finished(plain.cursor()).latest_id for _ in range(2)] == [7, 7]
    assert len(heard) == 2


def test_the_relay_may_stand_below_a_path() -> None:
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + CURSOR
    with server(answer) as (url, heard), PlainRelay.at(f"{url}/room/") as plain:
        assert finished(plain.cursor()).latest_seq == 12
    assert heard[0].startswith(b"GET /room/api/messages/cursor HTTP/1.1\r\n")


def test_what_waits_for_something_else_is_a_mistake() -> None:
    with pytest.raises(RuntimeError, match="needs an event loop"):
        finished(_waits())


@coroutine
def _pause() -> Generator[None, None, None]:
    yield


async def _waits() -> None:
    await _pause()
