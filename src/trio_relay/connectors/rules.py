"""Any program that posts JSON: rules say what becomes of it.

.. code:: json

    {"signature": {"header": "X-Signature", "prefix": "sha256="},
     "rules": [{"when": {"/action": ["open", "update"]},
                "each": "/items",
                "event": {"dedupeKey": "shop:{/id}", "title": "{/name} is {payload:/state}", "target": "tag:ops"}}]}

The first rule whose `when` fits counts; when none does, nothing happens. ``/action`` is a JSON Pointer (RFC 6901) into the
payload, or into one of the things of the list `each` points to; ``payload:/state`` points into the whole payload all the
same, ``header:X-Kind`` at a header. In a text ``{…}`` stands for what is there, ``{{`` for a brace.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from trio_relay.connectors.delivery import (
    KEY,
    TEXT,
    TITLE,
    URL,
    WORD,
    Check,
    Delivery,
    Understand,
    cut,
    key,
    link,
    signature,
)
from trio_relay.core.wire_tasks import IntegrationEvent
from trio_relay.errors import Invalid

_FIELDS = (
    "type",
    "severity",
    "dedupeKey",
    "title",
    "body",
    "target",
    "channel",
    "externalUrl",
    "metadata",
    "status",
)
_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_NOTHING = object()
Scalar = str | int | float | bool | None


class Signature(msgspec.Struct, forbid_unknown_fields=True, rename="camel", frozen=True):
    """Where the sender puts the HMAC of the body."""

    header: str
    prefix: str = ""
    algorithm: Literal["sha256", "sha512", "sha1"] = "sha256"


class Rule(msgspec.Struct, forbid_unknown_fields=True, rename="camel", frozen=True):
    """When it fits, and the event it makes."""

    event: dict[str, Any]
    when: dict[str, Scalar | list[Scalar]] = {}
    each: str | None = None


class Rules(msgspec.Struct, forbid_unknown_fields=True, rename="camel", frozen=True):
    """The whole file."""

    rules: list[Rule]
    signature: Signature | None = None

    def check(self, secret: str) -> Check | None:
        """Check as the file says, None where it says nothing."""
        if self.signature is None:
            return None
        said = self.signature
        return signature(secret, header=said.header, prefix=said.prefix, algorithm=said.algorithm)


@dataclass(frozen=True, slots=True)
class Place:
    """What pointers point into."""

    payload: Any
    here: Any
    headers: Mapping[str, str]

    def find(self, pointer: str) -> Any:
        """Find what `pointer` points to, `_NOTHING` if there is nothing."""
        if pointer.startswith("header:"):
            return self.headers.get(pointer.removeprefix("header:").lower(), _NOTHING)
        whole = pointer.startswith("payload:")
        found = self.payload if whole else self.here
        for step in pointer.removeprefix("payload:").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and name in found:
                found = found[name]
            elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
                found = found[int(name)]
            else:
                return _NOTHING
        return found


def read_rules(text: str) -> Rules:
    """Read a file of rules.

    Raises:
        Invalid: it cannot be meant; says which rule and field (``bad_rules``).

    """
    try:
        rules = msgspec.json.decode(text, type=Rules)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _bad("the rules", str(error)) from None
    if not rules.rules:
        raise _bad("rules", "expected at least one")
    for index, rule in enumerate(rules.rules):
        at = f"rules[{index}]"
        for pointer in (*rule.when, *([rule.each] if rule.each is not None else [])):
            _check_pointer(f"{at}.{'each' if pointer == rule.each else 'when'}", pointer)
        unknown = sorted(rule.event.keys() - set(_FIELDS))
        if unknown:
            raise _bad(f"{at}.event.{unknown[0]}", f"expected one of {', '.join(_FIELDS)}")
        if "dedupeKey" not in rule.event:
            raise _bad(f"{at}.event.dedupeKey", "expected what tells the same thing again from another one")
        if "title" not in rule.event and rule.event.get("status") != "resolved":
            raise _bad(f"{at}.event.title", "expected a title")
        for name, template in rule.event.items():
            _check_template(f"{at}.event.{name}", template, text_only=name != "metadata")
    return rules


def by_rules(rules: Rules, *, target: str | None, channel: str | None) -> Understand:
    """Understand what `rules` say; an event that names no target goes to `target`."""
    defaults = {"target": target, "channel": channel}

    def understand(delivery: Delivery) -> list[IntegrationEvent]:
        whole = Place(delivery.payload, delivery.payload, delivery.headers)
        for index, rule in enumerate(rules.rules):
            if not all(_fits(whole.find(pointer), wanted) for pointer, wanted in rule.when.items()):
                continue
            if rule.each is None:
                return [_event(f"rules[{index}]", rule, whole, defaults)]
            things = whole.find(rule.each)
            if not isinstance(things, list):
                raise Invalid(f"rules[{index}].each: {rule.each} is no list", code="not_understood")
            places = [Place(delivery.payload, thing, delivery.headers) for thing in things]
            return [_event(f"rules[{index}]", rule, place, defaults) for place in places]
        return []

    return understand


def _event(at: str, rule: Rule, place: Place, defaults: dict[str, str | None]) -> IntegrationEvent:
    made: dict[str, Any] = {name: value for name, value in defaults.items() if value is not None}
    limits = {"title": TITLE, "body": TEXT, "dedupeKey": 10 * KEY, "externalUrl": 10 * URL}
    for name, template in rule.event.items():
        if name == "metadata":
            made[name] = _filled(template, place)
        elif text := _text(template, place, strict=f"{at}.event.{name}" if name == "dedupeKey" else None):
            made[name] = cut(text, limits.get(name, WORD))
    if "dedupeKey" in made:
        made["dedupeKey"] = key(made["dedupeKey"])
    made["externalUrl"] = link(made.get("externalUrl"))
    try:
        return msgspec.convert(made, IntegrationEvent)
    except msgspec.ValidationError as error:
        raise Invalid(f"{at}.event: {error}", code="not_understood") from None


def _filled(template: Any, place: Place) -> Any:
    """Fill a template of any shape; a text that is one placeholder becomes what is there, not its words."""
    if isinstance(template, dict):
        return {name: _filled(value, place) for name, value in template.items()}
    if isinstance(template, list):
        return [_filled(value, place) for value in template]
    if not isinstance(template, str):
        return template
    alone = _TOKEN.fullmatch(template)
    if alone is not None and alone[1] is not None:
        found = place.find(alone[1])
        return None if found is _NOTHING else found
    return _text(template, place)


def _text(template: str, place: Place, *, strict: str | None = None) -> str:
    """Fill a text. `strict` names a field in which nothing may be missing."""

    def word(token: re.Match[str]) -> str:
        if token[1] is None:
            return token[0][0]
        found = place.find(token[1])
        if found is _NOTHING or found is None:
            if strict is not None:
                raise Invalid(f"{strict}: there is nothing at {token[1]}", code="not_understood")
            return ""
        return found if isinstance(found, str) else msgspec.json.encode(found).decode()

    return _TOKEN.sub(word, template).strip()


def _fits(found: Any, wanted: Any) -> bool:
    options = wanted if isinstance(wanted, list) else [wanted]
    if found is _NOTHING:
        found = None
    return any(type(found) is type(one) and found == one for one in options)


def _check_pointer(at: str, pointer: str) -> None:
    if not re.fullmatch(r"header:[!-~]+|(payload:)?(/.*)?", pointer):
        raise _bad(at, f"expected a JSON Pointer or header:NAME, not {pointer!r}")


def _check_template(at: str, template: Any, *, text_only: bool) -> None:
    if isinstance(template, str):
        for token in _TOKEN.finditer(template):
            if token[0] in {"{", "}"}:
                raise _bad(at, "expected {{ and }} for braces that are meant")
            if token[1] is not None:
                _check_pointer(at, token[1])
    elif text_only:
        raise _bad(at, "expected a text")
    elif isinstance(template, dict | list):
        for inner in template.values() if isinstance(template, dict) else template:
            _check_template(at, inner, text_only=False)
    elif at.endswith(".metadata"):
        raise _bad(at, "expected an object")


def _bad(at: str, expected: str) -> Invalid:
    return Invalid(f"{at}: {expected}", code="bad_rules")
