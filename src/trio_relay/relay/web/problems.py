"""Errors on the wire: RFC 9457 problem documents. The status of each error class is this table."""

import http
import math
import re
import traceback
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import structlog
from quart import Response
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from trio_relay.core.wire import Problem
from trio_relay.errors import (
    Conflict,
    ConnectionLost,
    FieldError,
    Invalid,
    NotFound,
    RateLimited,
    Refused,
    RelayError,
    Unauthorized,
    Unavailable,
)

log = structlog.get_logger("trio_relay.http")

STATUS: dict[type[RelayError], int] = {
    Invalid: 400,
    Unauthorized: 401,
    Refused: 403,
    NotFound: 404,
    Conflict: 409,
    RateLimited: 429,
    Unavailable: 503,
    ConnectionLost: 502,
    RelayError: 500,
}
_HTTP_CODES = {
    400: "bad_request",
    404: "no_such_route",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "body_too_large",
    415: "unsupported_media_type",
    431: "headers_too_large",
    500: "internal_error",
}
_DETAILS = {
    404: "nothing is served at this path",
    408: "the request body did not arrive in time",
    413: "the request body is larger than this relay accepts (AGENT_RELAY_MAX_BODY_BYTES)",
}
_encode = msgspec.json.Encoder().encode


def status_of(error: RelayError) -> int:
    """The HTTP status of an error: that of the nearest class in the table."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem(status: int, detail: str, code: str, fields: tuple[FieldError, ...] = ()) -> Response:
    """A problem document as a response."""
    document = Problem(
        title=http.HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        error=detail,
        errors=[{"path": field.path, "message": field.message} for field in fields],
    )
    response = Response(_encode(document), status=status, content_type="application/problem+json")
    if status == 503:
        response.headers["Retry-After"] = "1"
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def problem_of(error: RelayError) -> Response:
    """An error of ours as a response."""
    response = problem(status_of(error), error.detail, error.code, error.fields)
    if isinstance(error, RateLimited):
        response.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    return response


def install(app: QuartTrio) -> None:
    """Answer every error of `app` with a problem document; a bug is logged, never shown."""

    @app.errorhandler(RelayError)
    async def on_relay_error(error: RelayError) -> Response:
        return problem_of(error)

    @app.errorhandler(HTTPException)
    async def on_http_error(error: HTTPException) -> Response:
        status = error.code or 500
        detail = _DETAILS.get(status) or error.description or error.name
        response = problem(status, detail, _HTTP_CODES.get(status, f"http_{status}"))
        if isinstance(error, MethodNotAllowed) and error.valid_methods:
            response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
        return response

    @app.errorhandler(Exception)
    async def on_bug(error: Exception) -> Response:
        log_bug(error)
        return problem(500, "the relay made a mistake; it is in its log", "internal_error")


def log_bug(error: Exception) -> None:
    """Write down where a mistake of ours happened."""
    # Frames only: the text of a foreign exception, or its locals, could hold a message body.
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("unhandled error", kind=type(error).__name__, frames=frames)


_AT = re.compile(r" - at `(?:key` in `)?\$?\.?(.*?)`$")
_FIELD = re.compile(r"(?:required|unknown) field `(\w+)`")
#: A step of a path: the name of a field, or the place of an item.
_STEP = re.compile(r"[^.\[\]]+|\[[^\]]*\]")


def invalid(error: msgspec.ValidationError, kind: Any) -> Invalid:
    """A msgspec error in what was to be a `kind`, as ours: which field, what was expected there. Never the value itself."""
    text = str(error)
    at = _AT.search(text)
    message = text[: at.start()] if at else text
    path = at[1] if at else ""
    if message.startswith("Invalid enum value"):
        words = _words_at([msgspec.inspect.type_info(kind)], _STEP.findall(path), keys="`key` in `" in text)
        message = f"Expected one of {', '.join(f'`{word}`' for word in words)}" if words else "Invalid value"
    message = message.split(", got ")[0]
    field = _FIELD.search(message)
    if field is not None:
        path = f"{path}.{field[1]}" if path else field[1]
    return Invalid(f"{path or 'the body'}: {message}", fields=(FieldError(path, message),))


def _words_at(kinds: Iterable[msgspec.inspect.Type], steps: Sequence[str], *, keys: bool) -> list[str]:
    """The words that are valid where `steps` lead, or as keys there."""
    words: list[str] = []
    for kind in kinds:
        match kind:
            case msgspec.inspect.UnionType(types=types):
                words += _words_at(types, steps, keys=keys)
            case msgspec.inspect.Metadata(type=inner):
                words += _words_at([inner], steps, keys=keys)
            case msgspec.inspect.EnumType(cls=enum) if not steps:
                words += [str(each.value) for each in enum]
            case msgspec.inspect.LiteralType(values=values) if not steps:
                words += [str(value) for value in values]
            case msgspec.inspect.DictType(key_type=inner) if keys and not steps:
                words += _words_at([inner], [], keys=False)
            case msgspec.inspect.StructType(fields=fields) if steps:
                met = [field.type for field in fields if field.encode_name == steps[0]]
                words += _words_at(met, steps[1:], keys=keys)
            case (
                msgspec.inspect.DictType(value_type=inner) | msgspec.inspect.CollectionType(item_type=inner)
            ) if steps:
                words += _words_at([inner], steps[1:], keys=keys)
    return words
