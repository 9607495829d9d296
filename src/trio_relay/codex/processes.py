"""Child processes that cannot outlive us: each on a leash (see `leash.py`) that we hold by a pipe."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import trio

_LEASH = str(Path(__file__).with_name("leash.py"))
#: How much longer than its own steps a leash may take to end its child, seconds.
_MARGIN = 5.0


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: the arguments, its environment and directory, and how long each step of its ending may take.

    `terminal`: it is the foreground program of our terminal and shares our process group. Others get a group of
    their own, so that what a terminal sends to the foreground does not reach them, and read nothing.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str]
    cwd: str
    grace: float = 1.0
    terminal: bool = False


@asynccontextmanager
async def leashed(
    command: Command, *, stdout: int | IO[bytes] | None = None, stderr: int | IO[bytes] | None = None
) -> AsyncGenerator[trio.Process]:
    """Run a command for the time of the block; it has ended when the block is left, however that happens."""
    read_end, write_end = os.pipe()
    try:
        try:
            kind = "terminal" if command.terminal else "group"
            process = await trio.lowlevel.open_process(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    _LEASH,
                    str(read_end),
                    str(command.grace),
                    kind,
                    *command.arguments,
                ],
                stdin=None if command.terminal else subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=command.environment,
                cwd=command.cwd,
                pass_fds=[read_end],
                start_new_session=not command.terminal,
            )
        finally:
            os.close(read_end)
        try:
            yield process
        finally:
            os.close(write_end)
            write_end = -1
            await _ended(process, command)
    finally:
        if write_end >= 0:
            os.close(write_end)


async def _ended(process: trio.Process, command: Command) -> None:
    with trio.move_on_after(3 * command.grace + _MARGIN, shield=True):
        await process.wait()
        return
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL) if command.terminal else os.killpg(process.pid, signal.SIGKILL)
