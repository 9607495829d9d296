"""What Claude Code writes of a session into ``sessions/PID.json`` of its home: whether it is busy, idle or waiting.

It is nowhere described, and 2.1.197 and 2.1.329 have it. Hooks say the same, except that nothing is said when the person
presses Esc. So this is the second source: whatever cannot be read says nothing.
"""

from enum import StrEnum
from pathlib import Path

import msgspec


class Activity(StrEnum):
    """What a session does. ``waiting``: a question to its person is on the screen."""

    IDLE = "idle"
    BUSY = "busy"
    WAITING = "waiting"


class StatusFile(msgspec.Struct, rename="camel", frozen=True):
    """What we read of it; times in Unix milliseconds."""

    session_id: str | None = None
    version: str | None = None
    kind: str | None = None
    status: str | None = None
    status_updated_at: int = 0

    @property
    def activity(self) -> Activity | None:
        """What the session does; ``shell`` is an idle one with a background task, which we are."""
        known = {
            "idle": Activity.IDLE,
            "shell": Activity.IDLE,
            "busy": Activity.BUSY,
            "waiting": Activity.WAITING,
        }
        return known.get(self.status or "")


def status_path(config: Path, pid: int) -> Path:
    """Where Claude Code with the home `config` (``CLAUDE_CONFIG_DIR``, else ``~/.claude``) writes it."""
    return config / "sessions" / f"{pid}.json"


def read_status(path: Path) -> StatusFile:
    """Read it; a file that is missing or half written says nothing."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=StatusFile)
    except (OSError, msgspec.DecodeError, UnicodeError):
        return StatusFile()
