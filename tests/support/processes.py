"""Who is running: the processes that belong to one test, found by the home directory they were given."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trio

_LOOK = 0.02


@dataclass(frozen=True)
class Process:
    """A process as /proc tells it."""

    pid: int
    parent: int
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.pid} (of {self.parent}): {' '.join(self.arguments)}"

    def runs(self, *words: str) -> bool:
        """Whether all `words` are among the arguments, as whole arguments or as the end of a path."""
        return all(any(one == word or one.endswith("/" + word) for one in self.arguments) for word in words)


def processes_of(home: Path) -> list[Process]:
    """Every living process whose environment says ``HOME=home``, by pid."""
    wanted = f"HOME={home}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if wanted not in (entry / "environ").read_bytes().split(b"\0"):
                continue
            arguments = (entry / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if state != "Z":
            found.append(Process(int(entry.name), int(parent), tuple(one.decode() for one in arguments)))
    return sorted(found, key=lambda process: process.pid)


async def until(condition: Callable[[], bool]) -> None:
    """Look again and again until `condition` holds. Bound it with ``trio.fail_after``."""
    while not condition():
        await trio.sleep(_LOOK)
