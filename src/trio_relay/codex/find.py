"""Find the real ``codex``: the first on PATH that is not one of our own shims."""

import os
from pathlib import Path

from trio_relay.errors import NotFound

#: Every shim we install carries this line near its top; it is how we know our own.
SHIM_MARK = b"# trio-relay shim: starts codex-relay"
_HEAD = 1024


def is_shim(program: Path) -> bool:
    """Say whether `program` is a shim of ours, which would only start us again."""
    try:
        with program.open("rb") as file:
            return SHIM_MARK in file.read(_HEAD)
    except OSError:
        return False


def find_codex(search_path: str) -> str:
    """The path of the real Codex in `search_path`, written as PATH is. Raises `NotFound`."""
    for directory in search_path.split(os.pathsep):
        candidate = Path(directory or ".") / "codex"
        if candidate.is_file() and os.access(candidate, os.X_OK) and not is_shim(candidate):
            return str(candidate.absolute())
    raise NotFound(
        "there is no `codex` on PATH; install it with `npm install -g @openai/codex`", code="codex_not_found"
    )
