"""Integrations: programs outside (CI, alerting) that may ask for work, and what each of them may reach.

They are configured as a JSON list (``AGENT_RELAY_INTEGRATIONS``). A mistake in it is an error that names the entry and
the field, never a value: values may be secrets.
"""

import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import msgspec

from trio_relay.errors import Invalid

VARIABLE = "AGENT_RELAY_INTEGRATIONS"
#: The right to post events: what an integration is for. Where scopes are listed, this must be among them.
INTEGRATE = "integrate"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_FIELDS = ("name", "token", "scopes", "targets", "channels", "callbackUrl", "callbackSecret")


@dataclass(frozen=True, slots=True)
class Integration:
    """One of them. `targets` and `channels` are exact words or patterns with ``*``; None allows all.

    Events about its tasks are posted to `callback_url`, signed with `callback_secret`.
    """

    name: str
    token: str = field(repr=False)
    scopes: tuple[str, ...] | None = None
    targets: tuple[str, ...] | None = None
    channels: tuple[str, ...] | None = None
    callback_url: str | None = field(default=None, repr=False)
    callback_secret: str = field(default="", repr=False)

    @property
    def only_target(self) -> str | None:
        """Where its events go when they do not say, if there is just one place."""
        if self.targets is None or len(self.targets) != 1 or "*" in self.targets[0]:
            return None
        return self.targets[0]


def allows(patterns: tuple[str, ...] | None, word: str) -> bool:
    """Whether `word` is on the list; ``*`` in a pattern stands for any characters, None for every word."""
    return patterns is None or any(_matches(pattern, word) for pattern in patterns)


def by_token(integrations: Iterable[Integration], token: str) -> Integration | None:
    """The integration this token belongs to. Every token is compared, in constant time."""
    found = None
    for integration in integrations:
        if hmac.compare_digest(integration.token.encode(), token.encode()):
            found = integration
    return found


def parse_integrations(text: str) -> tuple[Integration, ...]:
    """Read the JSON list.

    Raises:
        Invalid: it is not JSON, or an entry is not usable; says which one and which field (``bad_integrations``).

    """
    try:
        entries = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _bad("", "expected a JSON list") from None
    if not isinstance(entries, list):
        raise _bad("", "expected a JSON list")
    found: list[Integration] = []
    for index, entry in enumerate(entries):
        integration = _entry(f"[{index}]", entry)
        if any(other.name == integration.name for other in found):
            raise _bad(f"[{index}].name", "expected a name no other entry has")
        if any(other.token == integration.token for other in found):
            raise _bad(f"[{index}].token", "expected a token no other entry has")
        found.append(integration)
    return tuple(found)


def _entry(at: str, entry: Any) -> Integration:
    if not isinstance(entry, dict):
        raise _bad(at, "expected an object")
    unknown = sorted(entry.keys() - set(_FIELDS))
    if unknown:
        raise _bad(at, f"expected only the fields {', '.join(_FIELDS)}")
    name, token = entry.get("name"), entry.get("token")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _bad(f"{at}.name", "expected letters, digits, dots, dashes and underscores, at most 100")
    if not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token):
        raise _bad(f"{at}.token", "expected a text of ASCII characters without white space")
    secret = entry.get("callbackSecret")
    if secret is not None and (not isinstance(secret, str) or not secret):
        raise _bad(f"{at}.callbackSecret", "expected a text")
    return Integration(
        name=name,
        token=token,
        scopes=_words(at, entry, "scopes"),
        targets=_words(at, entry, "targets"),
        channels=_words(at, entry, "channels"),
        callback_url=_url(f"{at}.callbackUrl", entry.get("callbackUrl")),
        callback_secret=secret or token,
    )


def _words(at: str, entry: dict[str, Any], name: str) -> tuple[str, ...] | None:
    words = entry.get(name)
    if words is None:
        return None
    if not isinstance(words, list) or not all(isinstance(word, str) and word.strip() for word in words):
        raise _bad(f"{at}.{name}", "expected a list of words")
    return tuple(word.strip() for word in words)


def _url(at: str, url: Any) -> str | None:
    if url is None:
        return None
    expected = "expected an http:// or https:// URL without a user name in it"
    if not isinstance(url, str) or not url.isprintable() or " " in url:
        raise _bad(at, expected)
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.username is None
        (parts.hostname or "").encode("idna")
        _ = parts.port
    except ValueError:
        usable = False
    if not usable:
        raise _bad(at, expected)
    return url


def _matches(pattern: str, word: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), word, re.DOTALL) is not None


def _bad(path: str, expected: str) -> Invalid:
    return Invalid(f"{VARIABLE}{path}: {expected}", code="bad_integrations")
