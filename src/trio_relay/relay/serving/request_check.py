"""Which request heads are refused before an app sees them. Pure: an ``h11.Request`` in, a verdict out.

h11 checks the grammar of RFC 9112 line by line. Left to check is what spans headers, and what is legal on the wire but
not for hypercorn, which decodes the WebSocket headers as ASCII, or for Quart, which takes a path's slash for granted.
"""

import re
from collections.abc import Callable

import h11

from trio_relay.relay.serving.refusal import (
    AMBIGUOUS_LENGTH,
    BAD_HANDSHAKE,
    BAD_HOST,
    BAD_TARGET,
    BAD_VERSION,
    HEADERS_TOO_LARGE,
    NOT_IMPLEMENTED,
    Refusal,
)

#: A name, an IPv4 address or a bracketed IPv6 address, and a port: no credentials, no path, no spaces.
_HOST = re.compile(rb"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_ASCII_ONLY = frozenset({b"connection", b"upgrade", b"sec-websocket-key", b"sec-websocket-protocol"})
_BODY_LENGTH = frozenset({b"content-length", b"transfer-encoding"})
_WEBSOCKET_VERSION = b"13"


def refuse(request: h11.Request, *, max_header: int) -> Refusal | None:
    """Say why `request` must not be served, or None when it may be. `max_header` in bytes, request line included."""
    if _size(request) > max_header:
        return HEADERS_TOO_LARGE
    return next((refusal for breaks, refusal in _RULES if breaks(request)), None)


def wants_websocket(request: h11.Request) -> bool:
    """Tell whether this is a request to switch to WebSocket. Any other ``Upgrade`` is ignored, as RFC 9110 allows."""
    if request.method != b"GET":
        return False
    upgrades, connections = (
        [
            token.strip().lower()
            for found, value in request.headers
            if found == name
            for token in value.split(b",")
        ]
        for name in (b"upgrade", b"connection")
    )
    return b"websocket" in upgrades and b"upgrade" in connections


def _size(request: h11.Request) -> int:
    line = len(request.method) + len(request.target) + len(b"  HTTP/1.1\r\n")
    return line + sum(len(name) + len(value) + len(b": \r\n") for name, value in request.headers)


def _has_bad_version(request: h11.Request) -> bool:
    return request.http_version not in {b"1.0", b"1.1"}


def _is_tunnel(request: h11.Request) -> bool:
    return request.method == b"CONNECT"


def _has_bad_target(request: h11.Request) -> bool:
    if request.method == b"OPTIONS" and request.target == b"*":
        return False
    return not request.target.startswith(b"/")


def _has_ambiguous_length(request: h11.Request) -> bool:
    """Tell of both lengths at once, or chunks in HTTP/1.0: two servers in a row may split such requests differently."""
    lengths = _lengths(request)
    return len(lengths) > 1 or (b"transfer-encoding" in lengths and request.http_version == b"1.0")


def _has_bad_host(request: h11.Request) -> bool:
    return not all(_HOST.fullmatch(value) for name, value in request.headers if name == b"host")


def _has_bad_handshake(request: h11.Request) -> bool:
    if not wants_websocket(request):
        return False
    if request.http_version != b"1.1" or _lengths(request):
        return True
    if not all(value.isascii() for name, value in request.headers if name in _ASCII_ONLY):
        return True
    keys = [value for name, value in request.headers if name == b"sec-websocket-key"]
    versions = [value for name, value in request.headers if name == b"sec-websocket-version"]
    upgrades = [value.lower() for name, value in request.headers if name == b"upgrade"]
    return len(keys) != 1 or versions != [_WEBSOCKET_VERSION] or upgrades != [b"websocket"]


def _lengths(request: h11.Request) -> set[bytes]:
    return {name for name, _ in request.headers if name in _BODY_LENGTH}


#: The first rule that is broken decides.
_RULES: tuple[tuple[Callable[[h11.Request], bool], Refusal], ...] = (
    (_has_bad_version, BAD_VERSION),
    (_is_tunnel, NOT_IMPLEMENTED),
    (_has_bad_target, BAD_TARGET),
    (_has_ambiguous_length, AMBIGUOUS_LENGTH),
    (_has_bad_host, BAD_HOST),
    (_has_bad_handshake, BAD_HANDSHAKE),
)
