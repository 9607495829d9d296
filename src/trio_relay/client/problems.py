"""What the relay refuses, as the error it raised there. Pure: from a status and a problem document (RFC 9457)."""

import msgspec

from trio_relay.core.wire import Problem
from trio_relay.errors import (
    Conflict,
    ConnectionLost,
    FieldError,
    Invalid,
    LeaseLost,
    NotFound,
    RateLimited,
    Refused,
    RelayError,
    StaleInstance,
    Unauthorized,
)

_BY_CODE: dict[str, type[RelayError]] = {
    "stale_instance": StaleInstance,
    "session_required": StaleInstance,
    "lease_lost": LeaseLost,
}
_BY_STATUS: dict[int, type[RelayError]] = {401: Unauthorized, 403: Refused, 404: NotFound, 409: Conflict}


def error_of(status: int, body: bytes, url: str, retry_after: str = "") -> RelayError:
    """Name the error behind an answer that is none; `retry_after` is the header's text."""
    try:
        document = msgspec.json.decode(body, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        document = Problem(title="", status=status)
    detail = document.detail or f"the relay at {url} answered {status}"
    if status >= 500 or status == 408:
        return ConnectionLost(detail, code=document.code or "server_error")
    if status == 429:
        wait = float(retry_after) if retry_after.isdecimal() else 1.0
        return RateLimited(detail, retry_after=wait, code=document.code or None)
    kind = _BY_CODE.get(document.code) or _BY_STATUS.get(status, Invalid)
    fields = tuple(FieldError(each.get("path", ""), each.get("message", "")) for each in document.errors)
    return kind(detail, code=document.code or None, fields=fields)
