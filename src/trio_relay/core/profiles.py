"""Profiles: named identities kept in one JSON file, and how they combine with the environment.

The file holds an object of profiles, each with ``label, tags, capabilities, channels, approval, autoClaim,
mayInterrupt, meta``, all optional. What the environment says wins over the profile, except tags, which are added to
the fixed ones. Reading is lenient, so that an agent starts with what it has: what cannot be used is left out.
`core/profile_check.py` says what that is.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trio_relay.core.model import Authority
from trio_relay.errors import Invalid

#: Where a file may name its schema, for editors; no profile.
SCHEMA_KEY = "$schema"


@dataclass(frozen=True, slots=True)
class Profile:
    """One named identity. Everything is optional.

    `auto_claim`: whether claimable work is claimed as it comes; None: as the approval mode has it. `may_interrupt`:
    whose messages may stop a running turn; None: as usual.
    """

    label: str | None = None
    tags: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    approval: str | None = None
    auto_claim: bool | None = None
    may_interrupt: tuple[Authority, ...] | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resolved:
    """What an agent registers as, after the environment and the profile were put together."""

    label: str | None
    tags: tuple[str, ...]
    capabilities: tuple[str, ...]
    channels: tuple[str, ...]
    approval: str | None
    auto_claim: bool | None
    may_interrupt: tuple[Authority, ...] | None
    meta: Mapping[str, Any]


def clean_list(value: Any) -> tuple[str, ...]:
    """Strings of a JSON list, trimmed, without empties and repeats, in order; anything else is dropped."""
    if not isinstance(value, list):
        return ()
    strings = (item.strip() for item in value if isinstance(item, str))
    return tuple(dict.fromkeys(item for item in strings if item))


def _clean_text(value: Any) -> str | None:
    return (value.strip() or None) if isinstance(value, str) else None


def _authorities(value: Any) -> tuple[Authority, ...] | None:
    if not isinstance(value, list):
        return None
    return tuple(Authority(name) for name in clean_list(value) if name in set(Authority))


def _profile(value: Mapping[str, Any]) -> Profile:
    meta, auto_claim = value.get("meta"), value.get("autoClaim")
    return Profile(
        label=_clean_text(value.get("label")),
        tags=clean_list(value.get("tags")),
        capabilities=clean_list(value.get("capabilities")),
        channels=clean_list(value.get("channels")),
        approval=_clean_text(value.get("approval")),
        auto_claim=auto_claim if isinstance(auto_claim, bool) else None,
        may_interrupt=_authorities(value.get("mayInterrupt")),
        meta=dict(meta) if isinstance(meta, dict) else {},
    )


def parse_profiles(text: str, path: str) -> dict[str, Profile]:
    """Read a profiles file. `Invalid` names the file and, for broken JSON, the line and column."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise Invalid(
            f"{path}, line {error.lineno}, column {error.colno}: not valid JSON ({error.msg})"
        ) from error
    except (RecursionError, ValueError) as error:  # also a number of thousands of digits
        raise Invalid(f"{path}: nested too deeply, or a number too long") from error
    if not isinstance(document, dict):
        raise Invalid(f"{path}: expected a JSON object of profiles")
    if isinstance(document.get(SCHEMA_KEY), str):
        del document[SCHEMA_KEY]
    for name, value in document.items():
        if not isinstance(value, dict):
            raise Invalid(f"{path}: profile {name!r} is not a JSON object")
    return {name: _profile(value) for name, value in document.items()}


def resolve(
    *,
    provider: str,
    rig: str,
    project: str,
    name: str | None = None,
    profile: Profile | None = None,
    label: str | None = None,
    tags: Iterable[str] = (),
    capabilities: Iterable[str] = (),
    channels: Iterable[str] = (),
    approval: str | None = None,
) -> Resolved:
    """Put environment values and a profile together; `name` is recorded in the meta when the profile was found."""
    found = profile or Profile()
    own_tags = tuple(tags) or found.tags
    meta = dict(found.meta)
    if name is not None and profile is not None:
        meta["profile"] = name
    return Resolved(
        label=label or found.label,
        tags=tuple(dict.fromkeys((provider, rig, project, *own_tags))),
        capabilities=tuple(dict.fromkeys(capabilities)) or found.capabilities or ("chat",),
        channels=tuple(dict.fromkeys(channels)) or found.channels,
        approval=approval or found.approval,
        auto_claim=found.auto_claim,
        may_interrupt=found.may_interrupt,
        meta=meta,
    )
