"""How to call this program: from a shell here, and from a service manager, which has no PATH of ours."""

import shlex
import shutil
import sys
from pathlib import Path

from trio_relay.cli.shared.failures import BAD_INPUT, Failure

#: The interpreter is told so; -P: whatever lies in the working directory is not taken for a module of ours.
AS_MODULE = ("-P", "-m", "trio_relay")
#: What is installed below one of these lasts only as long as its cache.
_CACHES = (
    ("uv", "archive-v0"),
    ("uv", "environments-v2"),
    ("uv", "builds-v0"),
    ("pipx", ".cache"),
    (".cache", "pipx"),
)


def own_command() -> str:
    """Say how to call this program from a shell here: by name where that finds us, else by path."""
    beside = Path(sys.executable).with_name("trio-relay")
    found = shutil.which("trio-relay")
    if found and Path(found).resolve() == beside.resolve():
        return "trio-relay"
    if not beside.exists():
        return shlex.join([sys.executable, "-m", "trio_relay"])
    shortened = beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside
    return shlex.quote(str(shortened))


def lasting_command() -> list[str]:
    """Say how to call this program from anywhere and for years: the interpreter of its environment, by path.

    The link in the environment is named and not what it leads to: it is what makes the packages there visible. An
    upgrade with pip, pipx or uv leaves it where it is.

    Raises:
        Failure: it was started from a cache (``uvx``, ``pipx run``), which is cleared some day.

    """
    python = Path(sys.executable)
    if is_passing(python):
        raise Failure(
            f"{python} is in a cache that is cleared some day; install it to stay (`uv tool install trio-relay`, "
            "`pipx install trio-relay`) and call it from there",
            BAD_INPUT,
        )
    return [str(python.absolute()), *AS_MODULE]


def is_passing(python: Path) -> bool:
    """Whether an interpreter stands in a cache of uv or pipx."""
    pairs = set(zip(python.parts, python.parts[1:], strict=False))
    return any(each in pairs for each in _CACHES)
