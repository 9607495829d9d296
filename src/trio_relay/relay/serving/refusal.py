"""The answers the server gives by itself, before any app is asked: RFC 9457 problem documents."""

from dataclasses import dataclass
from http import HTTPStatus

import msgspec

#: What a status line says beside the number; some clients take a line without it for a failure.
REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not served. `detail` is ours and fixed: nothing of the request is repeated in it."""

    status: int
    code: str
    detail: str

    @property
    def body(self) -> bytes:
        """The problem document. ``error`` repeats ``detail`` for agent-relay 0.4 clients."""
        return msgspec.json.encode(
            {
                "type": "about:blank",
                "title": HTTPStatus(self.status).phrase,
                "status": self.status,
                "detail": self.detail,
                "code": self.code,
                "error": self.detail,
            },
        )

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Headers that go with `body`; the connection always ends after a refusal."""
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", b"%d" % len(self.body)),
            (b"connection", b"close"),
        ]
        if self.status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers.append((b"retry-after", b"1"))
        return headers

    def as_bytes(self) -> bytes:
        """Encode the whole answer, for where no protocol object exists."""
        lines = [b"HTTP/1.1 %d %s" % (self.status, REASONS[self.status])]
        lines += [b"%s: %s" % header for header in self.headers]
        return b"\r\n".join([*lines, b"", self.body])


MALFORMED = Refusal(400, "bad_request", "the request is not well-formed HTTP/1.1")
AMBIGUOUS_LENGTH = Refusal(
    400, "ambiguous_length", "the headers contradict each other about the length of the body"
)
BAD_HOST = Refusal(400, "bad_host", "the Host header must be one host name or address, with an optional port")
BAD_TARGET = Refusal(400, "bad_target", "the request target must be a path that starts with /")
BAD_HANDSHAKE = Refusal(400, "bad_websocket_handshake", "the WebSocket handshake is not one of RFC 6455")
REJECTED_HANDSHAKE = Refusal(403, "websocket_rejected", "the WebSocket was not accepted")
TOO_SLOW = Refusal(408, "request_timeout", "the request head did not arrive in time")
HEADERS_TOO_LARGE = Refusal(
    431, "headers_too_large", "the request line and headers are larger than this server accepts"
)
NO_ANSWER = Refusal(500, "internal_error", "the server failed before it could answer")
NOT_IMPLEMENTED = Refusal(501, "not_implemented", "this method or transfer encoding is not supported")
TOO_MANY = Refusal(
    503, "too_many_connections", "the server has as many connections as it can hold; try again soon"
)
BAD_VERSION = Refusal(505, "http_version_not_supported", "only HTTP/1.0 and HTTP/1.1 are spoken here")

_BY_STATUS = {
    refusal.status: refusal
    for refusal in (MALFORMED, REJECTED_HANDSHAKE, TOO_SLOW, HEADERS_TOO_LARGE, NO_ANSWER, NOT_IMPLEMENTED)
}


def refusal_for(status: int) -> Refusal:
    """Name the refusal behind a bare status that h11 or hypercorn chose."""
    return _BY_STATUS.get(status, MALFORMED if status < HTTPStatus.INTERNAL_SERVER_ERROR else NO_ANSWER)
