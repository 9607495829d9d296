"""Malformed and hostile things to send to a server, each with a name and what the hardened server makes of it."""

from dataclasses import dataclass
from typing import Literal

from support.raw_http import (
    OPCODE_BINARY,
    OPCODE_CLOSE,
    OPCODE_PING,
    OPCODE_TEXT,
    frame,
    request,
    upgrade,
)

#: What the client does after sending.
End = Literal["read", "half-close", "close", "reset"]
#: In `Hostile.answers`: the server may end the connection without an answer.
NOTHING = 0
CLOSE = frame(OPCODE_CLOSE, b"\x03\xe8")


@dataclass(frozen=True)
class Hostile:
    """What to send, how the client ends, and the statuses that the (first) answer may have.

    With `websocket`, `sent` goes over a WebSocket that is already open. A client that ends with ``close`` or ``reset``
    does not look at the answer.
    """

    name: str
    sent: bytes
    answers: tuple[int, ...] = (400,)
    then: End = "read"
    websocket: bool = False


def _get(*headers: str, target: str = "/") -> bytes:
    return request("GET", target, *headers)


def _chunked(body: bytes) -> bytes:
    return request("POST", "/echo", "Transfer-Encoding: chunked") + body


def _length(*values: str) -> bytes:
    return request("POST", "/echo", *(f"Content-Length: {value}" for value in values)) + b"abc"


def _h2c(*headers: str, target: str = "/") -> bytes:
    return _get("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", *headers, target=target)


_H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_H2_SETTINGS = bytes.fromhex("000000040000000000")
#: HEADERS on stream 1 with ``:method: CONNECT`` and ``:authority: x`` and no ``:path``, HPACK without Huffman.
_H2_CONNECT = bytes.fromhex("00000c010500000001") + b"\x02\x07CONNECT\x01\x01x"
_TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(190))

HANDSHAKES = (
    Hostile("websocket: extension not ASCII", upgrade("/ws", "Sec-WebSocket-Extensions: \xff"), (101,)),
    Hostile(
        "websocket: deflate bomb offered",
        upgrade("/ws", "Sec-WebSocket-Extensions: permessage-deflate"),
        (101,),
    ),
    Hostile("websocket: protocol not ASCII", upgrade("/ws", "Sec-WebSocket-Protocol: \xff")),
    Hostile("websocket: protocol empty", upgrade("/ws", "Sec-WebSocket-Protocol: ,,"), (101,)),
    Hostile("websocket: connection not ASCII", upgrade("/ws").replace(b": Upgrade", b": Upgrade, \xff", 1)),
    Hostile("websocket: key not ASCII", upgrade("/ws").replace(b"-Key: d", b"-Key: \xff", 1)),
    Hostile("websocket: key missing", upgrade("/ws").replace(b"-Key:", b"-Kez:", 1)),
    Hostile("websocket: key twice", upgrade("/ws", "Sec-WebSocket-Key: x")),
    Hostile("websocket: version missing", upgrade("/ws").replace(b"-Version:", b"-Verzion:", 1)),
    Hostile("websocket: version 12", upgrade("/ws").replace(b": 13", b": 12", 1)),
    Hostile("websocket: version not ASCII", upgrade("/ws").replace(b": 13", b": \xff", 1)),
    Hostile("websocket: HTTP/1.0", upgrade("/ws").replace(b"HTTP/1.1", b"HTTP/1.0", 1)),
    Hostile("websocket: two upgrades", upgrade("/ws", "Upgrade: h2c")),
    Hostile("websocket: by POST", upgrade("/ws").replace(b"GET", b"POST", 1), (400, 404, 405)),
    Hostile("websocket: no such route", upgrade("/nowhere"), (404,)),
    Hostile("websocket: one byte too early", upgrade("/ws") + b"x"),
    Hostile("websocket: a frame too early", upgrade("/ws") + frame(OPCODE_TEXT, b"hello")),
    Hostile("websocket: 100 KB too early", upgrade("/ws") + bytes(100_000)),
    Hostile("websocket: too early for a rejection", upgrade("/ws-closed") + bytes(1000), (400, 403)),
    Hostile("websocket: with a body", upgrade("/ws", "Content-Length: 3") + b"abc"),
    Hostile("websocket: with chunks", upgrade("/ws", "Transfer-Encoding: chunked") + b"0\r\n\r\n"),
    Hostile("websocket: half-closed at once", upgrade("/ws"), (101, NOTHING), "half-close"),
    Hostile("websocket: closed at once", upgrade("/ws"), then="close"),
    Hostile("websocket: reset at once", upgrade("/ws"), then="reset"),
)

FRAMES = tuple(
    Hostile(f"frame: {name}", sent, (101,), websocket=True)
    for name, sent in {
        "reserved bits": b"\xff\xff\xff\xff",
        "compressed without agreement": bytes([0xC1, 0x80]) + bytes(4),
        "not masked": b"\x81\x01x",
        "ping of 1 KB": frame(OPCODE_PING, bytes(1000)),
        "ping in fragments": frame(OPCODE_PING, b"", finished=False),
        "close with half a code": frame(OPCODE_CLOSE, b"\x03"),
        "close with a code nobody may send": frame(OPCODE_CLOSE, b"\x03\xed"),
        "close with a code of 0": frame(OPCODE_CLOSE, b"\x00\x00"),
        "close with a reason not UTF-8": frame(OPCODE_CLOSE, b"\x03\xe8\xff"),
        "close twice": CLOSE + CLOSE,
        "data after close": CLOSE + frame(OPCODE_TEXT, b"hello") * 100,
        "text not UTF-8": frame(OPCODE_TEXT, b"\xff"),
        "continuation of nothing": frame(0, b"x"),
        "text inside a text": frame(OPCODE_TEXT, b"x", finished=False) + frame(OPCODE_TEXT, b"x"),
        "opcode unknown": frame(11, b""),
        "length of 2 to the 63": frame(OPCODE_BINARY, b"", claimed_length=2**63),
        "length in the long form for nothing": b"\x81\xff" + bytes(12),
        "2 MB in one": frame(OPCODE_BINARY, bytes(2_000_000)),
        "2 MB in pieces": frame(OPCODE_BINARY, bytes(1000), finished=False)
        + frame(0, bytes(1000), finished=False) * 2000,
    }.items()
)
_LATE_FRAMES: dict[str, tuple[bytes, End]] = {
    "1,000 empty fragments": (
        frame(OPCODE_TEXT, b"", finished=False) + frame(0, b"", finished=False) * 1000,
        "close",
    ),
    "1,000 pings and no reading": (frame(OPCODE_PING, b"x") * 1000, "reset"),
    "half of one, half-closed": (frame(OPCODE_TEXT, b"hello")[:4], "half-close"),
    "half of one, closed": (frame(OPCODE_TEXT, b"hello")[:4], "close"),
    "half of one, reset": (frame(OPCODE_TEXT, b"hello")[:4], "reset"),
}
FRAMES += tuple(
    Hostile(f"frame: {name}", sent, (101,), then, websocket=True)
    for name, (sent, then) in _LATE_FRAMES.items()
)

HTTP2 = (
    Hostile("h2c: path not ASCII", _h2c("HTTP2-Settings: AAMAAABk", target="/\xff")),
    Hostile("h2c: method not ASCII", _h2c("HTTP2-Settings: AAMAAABk").replace(b"GET", b"\xff", 1)),
    Hostile("h2c: short settings", _h2c("HTTP2-Settings: A"), (200,)),
    Hostile("h2c: settings not base64", _h2c("HTTP2-Settings: \xff!"), (200,)),
    Hostile("h2c: no settings", _h2c(), (200,)),
    Hostile("h2c: bytes too early", _h2c("HTTP2-Settings: AAMAAABk") + bytes(100), (200,)),
    Hostile("h2: CONNECT without a path", _H2_PREFACE + _H2_SETTINGS + _H2_CONNECT, (505,)),
    Hostile("h2: preface, then garbage", _H2_PREFACE + b"\xff" * 1000, (505,)),
    Hostile("h2: half the preface", _H2_PREFACE[:18], (505,)),
)

BODIES = (
    Hostile("chunk: size not hexadecimal", _chunked(b"xyz\r\n")),
    Hostile("chunk: size negative", _chunked(b"-1\r\nx\r\n")),
    Hostile("chunk: size of 20 digits and more", _chunked(b"f" * 30 + b"\r\n")),
    Hostile("chunk: size enormous", _chunked(b"f" * 15 + b"\r\nx"), then="close"),
    Hostile("chunk: longer than it says", _chunked(b"1\r\nabcdef\r\n0\r\n\r\n")),
    Hostile("chunk: size with an underscore", _chunked(b"1_0\r\nx\r\n")),
    Hostile("chunk: extension of 100 KB", _chunked(b"1;" + b"x" * 100_000), (400, 431)),
    Hostile("chunk: trailer of 100 KB", _chunked(b"0\r\nX: " + b"x" * 100_000), (400, 431)),
    Hostile("chunk: NUL in the trailer", _chunked(b"0\r\nX: \0\r\n\r\n")),
    Hostile("chunk: cut off, half-closed", _chunked(b"5\r\nab"), (400,), "half-close"),
    Hostile("chunk: cut off, reset", _chunked(b"5\r\nab"), then="reset"),
    Hostile("chunk: a body in pieces of one byte", _chunked(b"1\r\nx\r\n" * 110_000), (413,)),
    Hostile("length: negative", _length("-1")),
    Hostile("length: not a number", _length("ten")),
    Hostile("length: with a plus", _length("+3")),
    Hostile("length: two that differ", _length("3", "4")),
    Hostile("length: of 40 digits", _length("9" * 40), (400, 413)),
    Hostile("length: enormous", _length("9" * 15), (413,)),
    Hostile("length: more than comes, half-closed", _length("1000"), (400,), "half-close"),
    Hostile("length: more than comes, reset", _length("1000"), then="reset"),
    Hostile("length: over the limit", request("POST", "/echo", body=bytes(2_000_000)), (413,)),
    Hostile("length: and chunks", request("POST", "/echo", "Transfer-Encoding: chunked", body=b"0\r\n\r\n")),
    Hostile("length: of a GET", request("GET", "/", body=b"abc"), (200,)),
    Hostile("encoding: gzip", request("POST", "/echo", "Transfer-Encoding: gzip"), (501,)),
    Hostile("encoding: gzip and chunked", request("POST", "/echo", "Transfer-Encoding: gzip, chunked"), (501,)),
    Hostile("encoding: chunked twice", _chunked(b"").replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"), (400, 501)),
    Hostile("encoding: chunked in HTTP/1.0", request("POST", "/echo", "Transfer-Encoding: chunked", version="1.0") + b"0\r\n\r\n"),
    Hostile("expect: something odd", request("POST", "/echo", "Expect: the Inquisition", body=b"abc"), (200, 417)),
    Hostile("expect: leave, and then nothing", request("POST", "/echo", "Expect: 100-continue", "Content-Length: 3"), then="close"),
)  # fmt: skip

HEADS = (
    Hostile("header: NUL in a value", _get("X: a\0b")),
    Hostile("header: NUL in a name", _get("X\0: a")),
    Hostile("header: name empty", _get(": a")),
    Hostile("header: no colon", _get("X")),
    Hostile("header: space before the colon", _get("X : a")),
    Hostile("header: bare CR", _get("X: a\rb")),
    Hostile("header: bare LF", _get().replace(b"\r\n", b"\n"), (200,)),
    Hostile("header: folded", _get("X: a", " b"), (200,)),
    Hostile("header: folded first", b"GET / HTTP/1.1\r\n Host: x\r\n\r\n"),
    Hostile("header: value not ASCII", _get("X: \xff\xfe"), (200,)),
    Hostile("header: 100 KB at once", _get("X: " + "x" * 100_000), (431,)),
    Hostile("header: 44 KB in one segment", _get(*(f"X-{n}: {'x' * 1000}" for n in range(44))), (431,)),
    Hostile("header: 1 MB without an end", b"GET / HTTP/1.1\r\nX: " + b"x" * 1_000_000, (431,)),
    Hostile("header: 50,000 of them", _get(*(["X: y"] * 50_000)), (431,)),
    Hostile("host: missing", b"GET / HTTP/1.1\r\n\r\n"),
    Hostile("host: twice", _get("Host: other")),
    Hostile("host: empty", b"GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    Hostile("host: a script", b"GET / HTTP/1.1\r\nHost: <script>\r\n\r\n"),
    Hostile("host: not ASCII", b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n"),
    Hostile("target: not ASCII", _get(target="/\xff")),
    Hostile("target: NUL", _get(target="/\0")),
    Hostile("target: space", _get(target="/a b")),
    Hostile("target: question mark first", _get(target="?a")),
    Hostile("target: a whole URL", _get(target="http://evil.test/")),
    Hostile("target: star", _get(target="*")),
    Hostile("target: star for OPTIONS", request("OPTIONS", "*"), (200, 204, 400, 404, 405)),
    Hostile("target: escapes that are no UTF-8", _get(target="/%ff%fe%00%"), (404,)),
    Hostile("target: two slashes", _get(target="//evil.test/"), (200, 308, 404)),
    Hostile("target: 40 KB", _get(target="/" + "x" * 40_000), (431,)),
    Hostile("method: CONNECT", request("CONNECT", "evil.test:443"), (400, 501)),
    Hostile("method: CONNECT to a path", request("CONNECT", "/"), (501,)),
    Hostile("method: not ASCII", request("\xff", "/")),
    Hostile("method: of 10 KB", request("X" * 10_000, "/"), (400, 405, 431)),
    Hostile("method: unknown", request("BREW", "/"), (405,)),
    Hostile("version: missing", b"GET /\r\n\r\n"),
    Hostile("version: 9.9", request("GET", "/", version="9.9"), (505,)),
    Hostile("version: 1", request("GET", "/", version="1")),
    Hostile("version: letters", request("GET", "/", version="x.y")),
)

CONNECTIONS = (
    Hostile("garbage: TLS", _TLS_HELLO),
    Hostile("garbage: SSH", b"SSH-2.0-OpenSSH_9.9\r\n\r\n"),
    Hostile("garbage: binary", bytes(range(256)) * 10),
    Hostile("garbage: NULs", bytes(1000)),
    Hostile("garbage: 100 empty lines", b"\r\n" * 100),
    Hostile("garbage: 1 MB without a line", b"A" * 1_000_000, (400, 431)),
    Hostile("nothing: half-closed", b"", (NOTHING,), "half-close"),
    Hostile("nothing: closed", b"", then="close"),
    Hostile("nothing: reset", b"", then="reset"),
    Hostile("one byte: half-closed", b"G", (400,), "half-close"),
    Hostile("one byte: reset", b"G", then="reset"),
    Hostile("half a head: half-closed", _get()[:-2], (400,), "half-close"),
    Hostile("half a head: closed", _get()[:-2], then="close"),
    Hostile("a request: half-closed", _get(), (200, NOTHING), "half-close"),
    Hostile("a request: reset", _get(), then="reset"),
    Hostile("a poll: half-closed", _get(target="/poll"), (NOTHING,), "half-close"),
    Hostile("a poll: reset", _get(target="/poll"), then="reset"),
    Hostile("a poll: bytes behind it, then reset", _get(target="/poll") + b"garbage" * 100, then="reset"),
    Hostile("a flood nobody reads: reset", _get(target="/flood"), then="reset"),
    Hostile("a request, then garbage", _get() + b"\xff\r\n\r\n", (200,)),
    Hostile("a request, then half of one", _get() + _get()[:-2], (200,), "half-close"),
    Hostile("50 requests at once", _get() * 50, (200,)),
    Hostile("50 requests at once: reset", _get() * 50, then="reset"),
)

ALL = (*HANDSHAKES, *FRAMES, *HTTP2, *BODIES, *HEADS, *CONNECTIONS)
BY_NAME = {hostile.name: hostile for hostile in ALL}
