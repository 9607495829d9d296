"""The verdict on a request head, without a server."""

import h11
import pytest

from trio_relay.relay.serving.refusal import Refusal, refusal_for
from trio_relay.relay.serving.request_check import refuse, wants_websocket

HANDSHAKE = {
    "Host": "relay.test",
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "WebSocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def head(
    method: str = "GET", target: bytes = b"/", headers: dict[str, str] | None = None, version: str = "1.1"
) -> h11.Request:
    fields = [
        (name.encode(), value.encode("latin1")) for name, value in (headers or {"Host": "relay.test"}).items()
    ]
    return h11.Request(method=method, target=target, headers=fields, http_version=version)


def verdict(request: h11.Request) -> str | None:
    refusal = refuse(request, max_header=16_384)
    return refusal.code if refusal else None


@pytest.mark.parametrize(
    "host",
    [
        "relay.test",
        "RELAY.test:4850",
        "127.0.0.1:1",
        "[::1]",
        "[fe80::1]:65535",
        "under_score",
        "xn--bcher-kva.example",
    ],
)
def test_a_host_with_or_without_a_port_passes(host: str) -> None:
    assert verdict(head(headers={"Host": host})) is None


@pytest.mark.parametrize(
    "host",
    [
        "",
        "a b",
        "user@host",
        "host/path",
        "host:port",
        "host:",
        "host:123456",
        "[::1",
        "::1",
        "a,b",
        "bücher",
        "<x>",
    ],
)
def test_anything_else_is_no_host(host: str) -> None:
    assert verdict(head(headers={"Host": host})) == "bad_host"


@pytest.mark.parametrize("target", [b"?a", b"http://relay.test/", b"*", b"relay.test:80"])
def test_a_target_that_is_no_path_is_refused(target: bytes) -> None:
    assert verdict(head(target=target)) == "bad_target"


def test_options_may_ask_for_the_server_as_a_whole() -> None:
    assert verdict(head("OPTIONS", b"*")) is None


@pytest.mark.parametrize("target", [b"/", b"//", b"/%ff", b"/a?b=c#d", b"/..;/%00"])
def test_any_other_path_is_the_apps_business(target: bytes) -> None:
    assert verdict(head(target=target)) is None


@pytest.mark.parametrize("version", ["0.9", "1.2", "2.0", "3.0"])
def test_other_versions_are_refused(version: str) -> None:
    assert verdict(head(version=version)) == "http_version_not_supported"


def test_tunnels_are_refused() -> None:
    assert verdict(head("CONNECT", b"/")) == "not_implemented"


def test_chunks_in_http10_are_ambiguous() -> None:
    headers = {"Host": "relay.test", "Transfer-Encoding": "chunked"}
    assert verdict(head("POST", headers=headers)) is None
    assert verdict(head("POST", headers=headers, version="1.0")) == "ambiguous_length"


def test_both_lengths_are_ambiguous() -> None:
    headers = {"Host": "relay.test", "Transfer-Encoding": "chunked", "Content-Length": "3"}
    assert verdict(head("POST", headers=headers)) == "ambiguous_length"


def test_the_size_of_a_head_is_what_travelled() -> None:
    request = head(headers={"Host": "relay.test", "X": "y"})
    travelled = len("GET / HTTP/1.1\r\nHost: relay.test\r\nX: y\r\n")
    assert refuse(request, max_header=travelled) is None
    too_large = refuse(request, max_header=travelled - 1)
    assert too_large is not None
    assert too_large.status == 431


def test_a_proper_handshake_passes() -> None:
    assert wants_websocket(head(headers=HANDSHAKE))
    assert verdict(head(headers=HANDSHAKE)) is None


@pytest.mark.parametrize(
    "change",
    [
        {"Connection": "upgrade, \xff"},
        {"Sec-WebSocket-Protocol": "chat, \xff"},
        {"Sec-WebSocket-Key": "\xff"},
        {"Sec-WebSocket-Key": None},
        {"Sec-WebSocket-Version": "12"},
        {"Sec-WebSocket-Version": None},
        {"Upgrade": "websocket, h2c"},
        {"Content-Length": "0"},
        {"Transfer-Encoding": "chunked"},
    ],
)
def test_a_broken_handshake_is_refused(change: dict[str, str | None]) -> None:
    headers = {name: value for name, value in {**HANDSHAKE, **change}.items() if value is not None}
    assert verdict(head(headers=headers)) == "bad_websocket_handshake"


@pytest.mark.parametrize(
    ("method", "change"),
    [("POST", {}), ("GET", {"Upgrade": "h2c"}), ("GET", {"Connection": "close"})],
)
def test_other_requests_do_not_ask_for_a_websocket(method: str, change: dict[str, str]) -> None:
    request = head(method, headers={**HANDSHAKE, **change})
    assert not wants_websocket(request)
    assert verdict(request) is None


@pytest.mark.parametrize(
    ("status", "code"), [(400, "bad_request"), (418, "bad_request"), (431, "headers_too_large")]
)
def test_a_bare_client_error_gets_a_name(status: int, code: str) -> None:
    assert refusal_for(status).code == code


def test_a_bare_server_error_gets_a_name() -> None:
    assert refusal_for(507) == refusal_for(500)
    assert isinstance(refusal_for(500), Refusal)
