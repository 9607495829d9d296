"""What is wrong with a profiles file, and on which line: everything that reading it would leave out or misread.

It says what ``profiles/profile.schema.json`` says, with places, and names written twice besides (which JSON allows and
a schema cannot see).
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from trio_relay.core.approval import Approval
from trio_relay.core.model import Authority
from trio_relay.core.profiles import SCHEMA_KEY

_SPACE = re.compile(r"[ \t\n\r]*")
_decode = json.JSONDecoder().raw_decode


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: where (`line` and `column` from 1; `profile` is None for the file itself) and what."""

    line: int
    column: int
    profile: str | None
    message: str


@dataclass(frozen=True, slots=True)
class _Value:
    """A JSON value, and where it begins. An object is a list of its pairs, so that nothing written is lost."""

    at: int
    value: Any


_Pairs = list[tuple[str, int, _Value]]


class _Object(list[Any]):
    """The pairs of a JSON object."""


def _is_object(value: _Value) -> bool:
    return isinstance(value.value, _Object)


def _is_name(value: _Value) -> bool:
    return isinstance(value.value, str) and bool(value.value.strip())


#: The fields that are lists of names, each with the names there are; none: any.
_LISTS: dict[str, tuple[str, ...]] = {
    "tags": (),
    "capabilities": (),
    "channels": (),
    "mayInterrupt": tuple(Authority),
}
_SINGLE: dict[str, tuple[Callable[[_Value], bool], str]] = {
    "label": (_is_name, "a name"),
    "approval": (lambda field: field.value in list(Approval), " | ".join(Approval)),
    "autoClaim": (lambda field: isinstance(field.value, bool), "true or false"),
    "meta": (_is_object, "a JSON object"),
}


def find_faults(text: str) -> list[Fault]:
    """Say everything that is wrong with the text of a profiles file, in order; nothing for a good one."""

    def fault(at: int, profile: str | None, message: str) -> Fault:
        return Fault(text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at), profile, message)

    try:
        json.loads(text)
        document, _ = _read(text, _after(text, 0))
    except json.JSONDecodeError as error:
        return [fault(error.pos, None, f"not valid JSON ({error.msg})")]
    except (RecursionError, ValueError):
        return [fault(0, None, "nested too deeply, or a number too long")]
    if not _is_object(document):
        return [fault(document.at, None, "expected a JSON object of profiles")]
    return [fault(*found) for found in _in_document(document.value)]


def _in_document(profiles: _Pairs) -> Iterator[tuple[int, str | None, str]]:
    for at, message in _repeated(profiles):
        yield at, None, message
    for name, at, profile in profiles:
        if name == SCHEMA_KEY and isinstance(profile.value, str):
            continue
        if not _is_object(profile):
            yield profile.at, name, "a profile is a JSON object"
            continue
        if not name.strip():
            yield at, name, "a profile without a name cannot be chosen"
        for where, message in _in_profile(profile.value):
            yield where, name, message


def _in_profile(fields: _Pairs) -> Iterator[tuple[int, str]]:
    yield from _repeated(fields)
    for name, at, field in fields:
        if name in _LISTS:
            yield from _in_names(name, field, _LISTS[name])
        elif name in _SINGLE:
            fits, expected = _SINGLE[name]
            if not fits(field):
                yield field.at, f"{name}: expected {expected}"
        else:
            known = (*_LISTS, *_SINGLE)
            close = get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
            yield at, f"{name!r} is no field of a profile: {hint}"


def _in_names(name: str, field: _Value, words: tuple[str, ...] = ()) -> Iterator[tuple[int, str]]:
    if not isinstance(field.value, list) or _is_object(field):
        yield field.at, f"{name}: expected a list of names"
        return
    seen: set[str] = set()
    for item in field.value:
        if not _is_name(item):
            yield item.at, f"{name}: expected a name"
        elif words and item.value not in words:
            yield item.at, f"{name}: expected {' | '.join(words)}"
        elif item.value in seen:
            yield item.at, f"{name}: {item.value!r} is there twice"
        else:
            seen.add(item.value)


def _repeated(pairs: _Pairs) -> Iterator[tuple[int, str]]:
    seen: set[str] = set()
    for name, at, _ in pairs:
        if name in seen:
            yield at, f"{name!r} is there twice: the last one counts"
        seen.add(name)


def _read(text: str, at: int) -> tuple[_Value, int]:
    """Read the value that begins at `at` out of valid JSON; answer it and where what follows begins."""
    items: list[Any]
    if text[at] == "{":
        items, end = _Object(), _after(text, at + 1)
        while text[end] != "}":
            name, colon = _decode(text, end)
            value, after = _read(text, _after(text, _after(text, colon) + 1))
            items.append((name, end, value))
            end = _after(text, after + 1) if text[after] == "," else after
    elif text[at] == "[":
        items, end = [], _after(text, at + 1)
        while text[end] != "]":
            item, after = _read(text, end)
            items.append(item)
            end = _after(text, after + 1) if text[after] == "," else after
    else:
        value, end = _decode(text, at)
        return _Value(at, value), _after(text, end)
    return _Value(at, items), _after(text, end + 1)


def _after(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()
