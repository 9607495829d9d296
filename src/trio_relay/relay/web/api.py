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

from trio_relay.core.access import Scope
from trio_relay.errors import FieldError, Invalid
from trio_relay.relay.credentials import caller
from trio_relay.relay.web.problems import invalid

_encode = msgspec.json.Encoder().encode
View = Callable[..., Awaitable[Any]]
#: How deep the free-form JSON of a request may nest. Python's JSON recursion ends near 1,000, and what is accepted
#: here must stay readable later, inside the objects and lists of an answer.
MAX_DEPTH = 64


@dataclass(frozen=True, slots=True)
class Media:
    """An answer that is not JSON: its content type, and what it is."""

    content_type: str
    description: str


@dataclass(frozen=True, slots=True)
class ApiView:
    """What a view takes and answers: for the published description.

    `responses` maps each good status to the type of its body or a `Media`; `errors` adds to the problem statuses that
    follow from the method; `headers` maps a request header the view reads to its meaning.
    """

    body: Any
    query: Any
    responses: dict[int, Any]
    summary: str
    scopes: tuple[Scope, ...]
    optional_body: bool = False
    errors: tuple[int, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()


def reply(value: Any, status: int = 200) -> Response:
    """`value` as a JSON response."""
    return Response(_encode(value), status=status, content_type="application/json")


def api(
    *,
    responses: dict[int, Any],
    body: Any = None,
    query: Any = None,
    optional_body: bool = False,
    errors: tuple[int, ...] = (),
    headers: tuple[tuple[str, str], ...] = (),
    scopes: tuple[Scope, ...] = (Scope.ADMIN,),
    actor: str | None = None,
) -> Callable[[View], Callable[..., Awaitable[Response]]]:
    """Give a view its decoded `body` and `query`; encode what it answers (a value, or a value and a status).

    The caller needs one of `scopes` (none named: any credential will do). `actor` says where the request names the
    agent it speaks as (``agent_id`` in the path, ``body.sender``, ``query.inbox_of``): a token bound to an agent must
    be that agent's.
    """
    decoder = msgspec.json.Decoder(body) if body is not None else None

    def decorate(view: View) -> Callable[..., Awaitable[Response]]:
        @wraps(view)
        async def handle(**arguments: Any) -> Response:
            principal = caller.get()
            principal.check_scope(*scopes)
            if decoder is not None:
                raw: bytes = await request.get_data(cache=False)  # type: ignore[assignment]  # as_text is False
                arguments["body"] = decode(decoder, b"{}" if optional_body and not raw.strip() else raw)
            if query is not None:
                arguments["query"] = decode_query(request.args.to_dict(flat=False), query)
            if actor is not None and principal.agent_id is not None:
                principal.check_actor(*_acting(actor, arguments))
            answer = await view(**arguments)
            if isinstance(answer, Response):
                return answer
            return reply(*answer) if isinstance(answer, tuple) else reply(answer)

        summary = (inspect.getdoc(view) or view.__name__).split("\n")[0]
        handle.api_view = ApiView(body, query, responses, summary, scopes, optional_body, errors, headers)  # type: ignore[attr-defined]
        return handle

    return decorate


def _acting(actor: str, arguments: dict[str, Any]) -> tuple[str | None, str]:
    """Whom the request speaks as, and the field that says so as the caller knows it."""
    place, _, name = actor.rpartition(".")
    if not place:
        return arguments[name], name
    struct = arguments[place]
    on_the_wire = {field.name: field.encode_name for field in msgspec.structs.fields(struct)}
    return getattr(struct, name), on_the_wire[name]


def decode_query(given: dict[str, list[str]], query: Any) -> Any:
    """Decode the parameters of a query: text, read as the type of its field.

    Raises:
        Invalid: a parameter is wrong, given twice, or says null: what is meant to be absent is left out.

    """
    fields = {field.encode_name: field.name for field in msgspec.structs.fields(query)}
    known = {name: values for name, values in given.items() if name in fields}
    for name, values in known.items():
        if len(values) > 1:
            raise Invalid(f"{name} is given more than once", fields=(FieldError(name, "expected one value"),))
    try:
        decoded = msgspec.convert({name: values[0] for name, values in known.items()}, query, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(error, query) from None
    for name in known:
        if getattr(decoded, fields[name]) is None:
            raise Invalid(f"{name} is null", fields=(FieldError(name, "expected a value"),))
    return decoded


def decode(decoder: msgspec.json.Decoder[Any], raw: bytes) -> Any:
    """Decode a request body.

    Raises:
        Invalid: not JSON (``malformed_json``), or a field is wrong (``invalid``) or nests too deep (``too_deep``).

    """
    try:
        body = decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise invalid(error, decoder.type) from None
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
