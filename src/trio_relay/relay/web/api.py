"""The decorator every API view stands under: decode the body and the query strictly, encode the answer.

It also keeps what it knows of the view (`ApiView`), which is what the published description of the API is made of.
"""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import msgspec
from quart import Response, request

from trio_relay.errors import FieldError, Invalid
from trio_relay.relay.web.problems import invalid

_encode = msgspec.json.Encoder().encode
View = Callable[..., Awaitable[Any]]
#: How deep the free-form JSON of a request may nest. Python's JSON recursion ends near 1,000, and what is accepted
#: here must stay readable later, inside the objects and lists of an answer.
MAX_DEPTH = 64


@dataclass(frozen=True, slots=True)
class ApiView:
    """What a view takes and answers: for the published description."""

    body: Any
    query: Any
    responses: dict[int, Any]
    summary: str


def reply(value: Any, status: int = 200) -> Response:
    """`value` as a JSON response."""
    return Response(_encode(value), status=status, content_type="application/json")


def api(
    *, body: Any = None, query: Any = None, responses: dict[int, Any], optional_body: bool = False
) -> Callable[[View], Callable[..., Awaitable[Response]]]:
    """Give a view its decoded `body` and `query`; encode what it answers (a value, or a value and a status)."""
    decoder = msgspec.json.Decoder(body) if body is not None else None

    def decorate(view: View) -> Callable[..., Awaitable[Response]]:
        @wraps(view)
        async def handle(**arguments: Any) -> Response:
            if decoder is not None:
                raw: bytes = await request.get_data(cache=False)  # type: ignore[assignment]  # as_text is False
                arguments["body"] = decode(decoder, b"{}" if optional_body and not raw.strip() else raw)
            if query is not None:
                try:
                    arguments["query"] = msgspec.convert(request.args.to_dict(), query, strict=False)
                except msgspec.ValidationError as error:
                    raise invalid(error) from None
            answer = await view(**arguments)
            if isinstance(answer, Response):
                return answer
            return reply(*answer) if isinstance(answer, tuple) else reply(answer)

        summary = (inspect.getdoc(view) or view.__name__).split("\n")[0]
        handle.api_view = ApiView(body, query, responses, summary)  # type: ignore[attr-defined]
        return handle

    return decorate


def decode(decoder: msgspec.json.Decoder[Any], raw: bytes) -> Any:
    """Decode a request body.

    Raises:
        Invalid: not JSON (``malformed_json``), or a field is wrong (``invalid``) or nests too deep (``too_deep``).

    """
    try:
        body = decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise invalid(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # Bad UTF-8 and deep nesting are not DecodeErrors; none of the texts repeats the body.
        reason = str(error) if isinstance(error, msgspec.DecodeError) else type(error).__name__
        raise Invalid(f"the body is not JSON: {reason}", code="malformed_json") from None
    for name, path in zip(body.__struct_fields__, body.__struct_encode_fields__, strict=True):
        if nests_deeper(getattr(body, name), MAX_DEPTH):
            fields = (FieldError(path, f"expected at most {MAX_DEPTH} levels of nesting"),)
            raise Invalid(f"{path} nests too deep", code="too_deep", fields=fields)
    return body


def nests_deeper(value: Any, limit: int) -> bool:
    """Whether lists and objects stand more than `limit` deep in `value`."""
    level = [value]
    for _ in range(limit + 1):
        containers = [each for each in level if isinstance(each, dict | list)]
        if not containers:
            return False
        level = [
            inner for each in containers for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return True
