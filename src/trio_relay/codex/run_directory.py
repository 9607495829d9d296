"""The directory of one `codex-relay`: token, logs and state file, for its user alone, gone when it ends.

Who runs holds a lock in its directory; a directory whose lock is free was left by a launcher that was killed, and
the next one to start removes it. No process ids: those are given out again.
"""

import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

_LOCK = "lock"
_TAIL = 4096


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Where one launcher keeps what belongs to its run."""

    path: Path

    @property
    def token_file(self) -> Path:
        """Holds the app-server's bearer token."""
        return self.path / "token"

    @property
    def state_file(self) -> Path:
        """The sidecar's state."""
        return self.path / "sidecar.json"

    def log(self, name: str) -> Path:
        """The log of one of the processes: ``app-server``, ``sidecar`` or ``launcher``."""
        return self.path / f"{name}.log"

    def last_words(self, name: str) -> str:
        """The last line in a log that is not empty, for saying why its process ended."""
        try:
            text = self.log(name).read_bytes()[-_TAIL:].decode(errors="replace")
        except FileNotFoundError:
            return ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else ""


@contextmanager
def run_directory(parent: Path) -> Iterator[RunDirectory]:
    """Make a run directory with a fresh token under `parent`, and remove it at the end with what others left."""
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(parent / _LOCK):  # nobody prunes between the making of a directory and of its lock
        prune(parent)
        path = Path(tempfile.mkdtemp(prefix=time.strftime("%Y%m%d-%H%M%S-"), dir=parent))
        held = FileLock(path / _LOCK)
        held.acquire(timeout=0)
    try:
        run = RunDirectory(path)
        run.token_file.touch(mode=0o600)
        run.token_file.write_text(secrets.token_urlsafe(32))
        yield run
    finally:
        shutil.rmtree(path, ignore_errors=True)
        held.release()


def stale_runs(parent: Path) -> list[Path]:
    """Run directories under `parent` whose launcher is gone."""
    return [path for path in sorted(parent.glob("*/")) if _is_stale(path)]


def running(parent: Path) -> list[Path]:
    """Run directories under `parent` whose launcher is at work."""
    return [path for path in sorted(parent.glob("*/")) if (path / _LOCK).exists() and not _is_stale(path)]


def prune(parent: Path) -> None:
    """Remove the run directories of launchers that are gone."""
    for path in stale_runs(parent):
        shutil.rmtree(path, ignore_errors=True)


def _is_stale(path: Path) -> bool:
    try:
        with FileLock(path / _LOCK, timeout=0):
            return True
    except (Timeout, FileNotFoundError):
        return False
