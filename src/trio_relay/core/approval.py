"""Approval modes: what an agent may do unasked, in one word, and the Codex permissions that word stands for.

``open`` works without asking inside its workspace, ``guarded`` asks a person, ``read-only`` changes nothing.
"""

from enum import StrEnum
from typing import NamedTuple


class Approval(StrEnum):
    """What an agent may do unasked."""

    OPEN = "open"
    GUARDED = "guarded"
    READ_ONLY = "read-only"


class Permissions(NamedTuple):
    """Codex's two dials, in Codex's words (``--ask-for-approval``, ``--sandbox``)."""

    approval_policy: str
    sandbox: str


_PERMISSIONS = {
    Approval.OPEN: Permissions("never", "workspace-write"),
    Approval.GUARDED: Permissions("on-request", "workspace-write"),
    Approval.READ_ONLY: Permissions("never", "read-only"),
}

_DESCRIPTIONS = {
    Approval.OPEN: "may edit its workspace and run commands in the sandbox without asking",
    Approval.GUARDED: "asks a person before it leaves the sandbox or does anything risky",
    Approval.READ_ONLY: "may read and answer, but changes no file",
}


def parse_approval(text: str | None) -> tuple[Approval, str | None]:
    """Read the mode named by `text`, and a warning when the word is unknown and ``open`` is used instead."""
    if text is None or not text.strip():
        return Approval.OPEN, None
    try:
        return Approval(text.strip().lower()), None
    except ValueError:
        return (
            Approval.OPEN,
            f"approval mode {text.strip()!r} is unknown (open | guarded | read-only); using open",
        )


def permissions(mode: Approval) -> Permissions:
    """Map a mode to the Codex permissions that realise it."""
    return _PERMISSIONS[mode]


def codex_arguments(mode: Approval) -> tuple[str, ...]:
    """Spell a mode as arguments of the Codex command line."""
    policy, sandbox = _PERMISSIONS[mode]
    return ("--ask-for-approval", policy, "--sandbox", sandbox)


def from_permissions(approval_policy: str | None, sandbox: str | None) -> Approval:
    """Derive the mode from Codex permissions a person chose.

    Unset dials count as the launcher's defaults. Whatever asks is guarded, whichever way it asks.
    """
    if sandbox == "read-only":
        return Approval.READ_ONLY
    if approval_policy not in {None, "never"}:
        return Approval.GUARDED
    return Approval.OPEN


def describe(mode: Approval) -> str:
    """Say in words what an agent in this mode does; fits after "this agent"."""
    return _DESCRIPTIONS[mode]
