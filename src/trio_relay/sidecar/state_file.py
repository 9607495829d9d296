"""The state file: what a sidecar knows, for its successor after a crash and for the CLI of the same session.

One JSON object, replaced atomically, readable by its owner only. It holds ids and words, no message text and no
token. Written in the event loop on purpose: a hand-off must stand in it before the app-server hears of the message,
and replacing a file of a few hundred bytes takes about a tenth of a millisecond.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from trio_relay.core.wire import Wire


class InFlight(Wire, kw_only=True):
    """A hand-off that has not come to its end: the successor looks for it in the thread before anything else.

    `createdAt` (Unix ms, one a message) tells a message from another with the same id in a new relay database.
    """

    client_id: str
    message_ids: list[int]
    created_at: list[int]
    thread_id: str
    turn_id: str | None = None
    mode: str | None = None
    phase: str = ""


class State(Wire, kw_only=True):
    """The object in the file.

    `session` names the session of the person it follows (`whoami.session_of`).
    `introducedThreads` were given the startup context, the newest last; `note` says how the agent came to its thread.
    """

    agent_id: str | None = None
    instance_id: str | None = None
    epoch: int | None = None
    relay_url: str | None = None
    app_server_url: str | None = None
    cwd: str | None = None
    session: str | None = None
    thread_id: str | None = None
    introduced_threads: list[str] = msgspec.field(default_factory=list)
    note: str | None = None
    active_turn: str | None = None
    status: str = "starting"
    ready: bool = False
    reason: str | None = None
    connection: str = "connecting"
    cursor: int = 0
    pending_count: int = 0
    in_flight: list[InFlight] = msgspec.field(default_factory=list)
    versions: dict[str, str] = msgspec.field(default_factory=dict)
    pid: int | None = None
    updated_at: int = 0


class StateFile:
    """The state and the file it is kept in. `now` answers Unix seconds."""

    def __init__(self, path: Path, state: State, now: Callable[[], float]) -> None:
        self.path = path
        self.state = state
        self._now = now

    @classmethod
    def open(cls, path: Path, now: Callable[[], float]) -> "StateFile":
        """Read what a predecessor left; a missing or unreadable file counts as none."""
        try:
            state = msgspec.json.decode(path.read_bytes(), type=State)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            state = State()
        return cls(path, state, now)

    def update(self, **changes: Any) -> None:
        """Change some fields and write the file, if they differ from what stands in it."""
        if all(getattr(self.state, name) == value for name, value in changes.items()):
            return
        for name, value in changes.items():
            setattr(self.state, name, value)
        self.write()

    def write(self) -> None:
        """Replace the file, atomically, mode 0600."""
        self.state.updated_at = round(self._now() * 1000)
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self.path.with_name(self.path.name + ".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(self.state), indent=1))
        fresh.replace(self.path)
