"""A delivery: what a program posted, whether it may, and what is made of it."""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from trio_relay.core.wire_tasks import IntegrationEvent
from trio_relay.errors import Invalid, Unauthorized

#: Characters of a title, and of a text that is somebody else's: who wants all of it follows the link.
TITLE, TEXT, WORD, KEY, URL = 500, 20_000, 200, 500, 2_000
RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request. Names of headers are in small letters."""

    headers: Mapping[str, str]
    payload: Any


#: Makes events of a delivery, none when it says nothing that matters; raises `Invalid` for what it does not understand.
Understand = Callable[[Delivery], list[IntegrationEvent]]
#: Raises `Unauthorized` for a body that is not from whom it says. Gets headers and body.
Check = Callable[[Mapping[str, str], bytes], None]


def bearer(secret: str) -> Check:
    """Ask for ``Authorization: Bearer SECRET``."""

    def check(headers: Mapping[str, str], _: bytes) -> None:
        given = headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {secret}".encode()):
            raise Unauthorized(
                "this needs the header Authorization: Bearer and the secret", code="bad_secret"
            )

    return check


def signature(secret: str, *, header: str, prefix: str = "", algorithm: str = "sha256") -> Check:
    """Ask for the HMAC of the body, in hexadecimal, after `prefix`, in a header."""

    def check(headers: Mapping[str, str], body: bytes) -> None:
        given = headers.get(header.lower())
        if given is None:
            raise Unauthorized(
                f"the header {header} is missing: this takes only what is signed", code="unsigned"
            )
        expected = prefix + hmac.new(secret.encode(), body, getattr(hashlib, algorithm)).hexdigest()
        if not hmac.compare_digest(given.encode(), expected.encode()):
            raise Unauthorized(
                f"{header} does not fit the body: is the secret the same?", code="bad_signature"
            )

    return check


def part(path: str, value: Any, kind: type[Any]) -> Any:
    """`value`, if it is of the `kind`.

    Raises:
        Invalid: it is not.

    """
    if not isinstance(value, kind):
        what = {dict: "an object", list: "a list", str: "a text", int: "a number"}.get(kind, kind.__name__)
        raise Invalid(f"{path}: expected {what}", code="not_understood")
    return value


def cut(text: str, length: int) -> str:
    """Keep a text as it is if it is short enough, else its beginning and dots."""
    return text if len(text) <= length else text[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"


def key(*words: str) -> str:
    """Make a dedupe key of `words`; a long one becomes its digest."""
    whole = ":".join(words)
    return whole if len(whole) <= KEY else f"{words[0]}:{hashlib.sha256(whole.encode()).hexdigest()}"


def link(url: Any) -> str | None:
    """Give an address a person can open, or None."""
    if not isinstance(url, str) or len(url) > URL or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return url if parts.scheme in ("http", "https") and parts.hostname else None
