"""What views share in reading what a page was asked for: numbers, choices, fields of forms as requests of the API."""

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

import msgspec
from quart import request

from trio_relay.errors import NotFound
from trio_relay.relay.web.problems import invalid

T = TypeVar("T")
_LARGEST = 2**63 - 1


def number_asked(name: str) -> int | None:
    """A number of the query; None: it is not there, or none."""
    text = request.args.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else None


def choice_asked(name: str, choices: Collection[str], default: str) -> str:
    """One of some words; what is none of them counts as the default."""
    given = request.args.get(name, default)
    return given if given in choices else default


def known(number: int) -> int:
    """The id in a path.

    Raises:
        NotFound: nothing has such a number (code ``no_such_route``).

    """
    if number > _LARGEST:
        raise NotFound("nothing has such a number", code="no_such_route")
    return number


def as_request(fields: Mapping[str, Any], kind: type[T]) -> T:
    """Fields of a form as the body of a request, under the names it has in the API.

    Raises:
        Invalid: a field cannot be meant.

    """
    try:
        return msgspec.convert(dict(fields), kind, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(error, kind) from None
