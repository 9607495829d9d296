"""Which sandbox a TUI begins in when it is given none. Pure, but for a look for ``.git``.

A TUI on a remote server works this out for itself and names it to the server (Codex 0.169): the ``sandbox_mode`` of the
user's or the project's configuration, else ``workspace-write`` in a folder the person trusts. In one it has to ask
about first it is ``read-only``, even when the answer is yes.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def own_sandbox(config: Mapping[str, Any], directory: Path) -> str | None:
    """Tell the sandbox of a TUI in `directory` by what ``config/read`` answers; None where that does not tell."""
    if config.get("default_permissions") is not None or not _is_trusted(config.get("projects"), directory):
        return None
    mode = config.get("sandbox_mode")
    return "workspace-write" if mode is None else mode if isinstance(mode, str) else None


def _is_trusted(projects: Any, directory: Path) -> bool:
    """Say whether the person trusts the directory, or the repository it is in."""
    if not isinstance(projects, Mapping):
        return False
    levels = [projects.get(str(place)) for place in _places(directory)]
    return any(isinstance(level, Mapping) and level.get("trust_level") == "trusted" for level in levels)


def _places(directory: Path) -> Iterator[Path]:
    for path in (directory, directory.resolve()):
        yield path
        root = next((one for one in (path, *path.parents) if (one / ".git").is_dir()), None)
        if root is not None:
            yield root
