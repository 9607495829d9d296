"""The programs in ``~/.local/bin``: two lines of shell each that start this installation, wherever it lies."""

import shlex
from pathlib import Path

from trio_relay.codex.find import SHIM_MARK, is_shim

PROGRAMS = ("codex-relay", "agent-relay-codex", "trio-relay", "agent-relay")


def shim(program: Path) -> bytes:
    """The shim that starts `program`."""
    start = f'exec {shlex.quote(str(program))} "$@"\n'
    return b"#!/bin/sh\n" + SHIM_MARK + b"\n" + start.encode()


def is_same_program(path: Path, program: Path) -> bool:
    """Whether `path` is `program` itself, as a link that uv or pipx made: nothing of it is ours to change."""
    return path.exists() and path.resolve() == program.resolve()


def is_ours(path: Path) -> bool:
    """Whether `path` is a shim of ours, of this installation or an older one."""
    return is_shim(path)
