"""Addresses: what ``to`` may say, and which agents answer to it.

A target is an agent id, ``tag:NAME``, ``cap:NAME``, ``label:NAME`` or ``broadcast``. An agent answers to a set of
selectors, spelled the same way, so that matching is equality.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from trio_relay.core.model import SYSTEM
from trio_relay.errors import FieldError, Invalid

BROADCAST = "broadcast"
_PREFIXES = ("tag:", "cap:", "label:")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a message goes. `fan_out` targets reach whoever matches; the others name one agent."""

    text: str
    fan_out: bool


def parse_target(text: str, *, path: str = "to") -> Target:
    """Read an address.

    Raises:
        Invalid: it is empty, or a prefix without a name.

    """
    trimmed = text.strip()
    if not trimmed:
        raise Invalid("the target is empty", fields=(FieldError(path, "expected an agent id or a target"),))
    for prefix in _PREFIXES:
        if trimmed.startswith(prefix):
            name = trimmed.removeprefix(prefix).strip()
            if not name:
                raise Invalid(
                    f"{prefix} names nobody", fields=(FieldError(path, f"expected a name behind {prefix}"),)
                )
            return Target(prefix + name, fan_out=True)
    return Target(trimmed, fan_out=trimmed == BROADCAST)


def check_sender(name: str, *, path: str = "from") -> None:
    """Refuse a name that would read as another kind of address, or that a terminal would not show as it is.

    Raises:
        Invalid: it is ``broadcast``, begins like a target, has white space at its ends or control characters.

    """
    if name != name.strip() or not name.isprintable() or parse_target(name, path=path).fan_out:
        raise Invalid(
            "the name of an agent must not read as a target",
            fields=(
                FieldError(
                    path, "expected printable text without tag:, cap:, label: in front and not 'broadcast'"
                ),
            ),
        )


def check_agent_id(agent_id: str) -> None:
    """Refuse an agent id that could not be addressed: `check_sender`, and it stands as one segment in a URL.

    Raises:
        Invalid: it reads as a target, is the relay's own name or has a slash in it.

    """
    check_sender(agent_id, path="id")
    if agent_id == SYSTEM:
        raise Invalid(
            "this name is the relay's own", fields=(FieldError("id", f"expected an id other than {SYSTEM}"),)
        )
    if "/" in agent_id or agent_id in {".", ".."}:
        raise Invalid(
            "an agent id stands in URLs: it must be one path segment",
            fields=(FieldError("id", "expected an id without a slash"),),
        )


def selectors(
    agent_id: str, *, label: str | None, tags: Iterable[str], capabilities: Iterable[str]
) -> set[str]:
    """Every address an agent answers to."""
    found = {agent_id, BROADCAST}
    found.update(f"tag:{tag}" for tag in tags)
    found.update(f"cap:{capability}" for capability in capabilities)
    if label:
        found.add(f"label:{label}")
    return found
