"""``codex`` as another name of ``codex-relay``, in the start-up file of the user's shell, between two marks. Pure.

An alias, not a program called ``codex``: scripts and other programs keep finding the real one.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from trio_relay.errors import Invalid

SHELLS = ("bash", "zsh", "fish")
_BEGIN = "# >>> trio-relay: codex starts codex-relay >>>"
_END = "# <<< trio-relay <<<"
# With the empty line before it, which we made.
_BLOCK = re.compile(
    rf"(?:(?<=\n)\n)?^{re.escape(_BEGIN)}\r?\n(?:.*\n)*?{re.escape(_END)}[^\S\n]*(?:\n|\Z)", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Shell:
    """A shell and the file it reads when a person opens it."""

    name: str
    file: Path


def shell_of(name: str, *, home: Path, zdotdir: str | None = None, config: str | None = None) -> Shell:
    """The shell called `name` (or at that path). `zdotdir` and `config` are ZDOTDIR and XDG_CONFIG_HOME, if set."""
    short = Path(name).name
    files = {
        "bash": home / ".bashrc",
        "zsh": Path(zdotdir or home) / ".zshrc",
        "fish": Path(config or home / ".config") / "fish" / "config.fish",
    }
    if short not in files:
        known = ", ".join(SHELLS)
        raise Invalid(
            f"no alias for the shell {short or 'that SHELL names'!r}: expected {known}", code="shell"
        )
    return Shell(short, files[short])


def with_alias(text: str, program: Path) -> str:
    """The start-up file with the alias at its end, once."""
    text = without_alias(text)
    if text and not text.endswith("\n"):
        text += "\n"
    return f"{text}\n{block(program)}" if text else block(program)


def without_alias(text: str) -> str:
    """The start-up file as it was before, but for its last line's end."""
    return _BLOCK.sub("", text)


def has_alias(text: str) -> bool:
    """Whether the alias is there."""
    return _BLOCK.search(text) is not None


def command_of(text: str) -> str | None:
    """The program the alias starts."""
    found = _BLOCK.search(text)
    line = (
        next((each for each in found[0].splitlines() if each.startswith("alias codex=")), "") if found else ""
    )
    words = shlex.split("".join(shlex.split(line.removeprefix("alias codex="))))
    return words[0] if words else None


def block(program: Path) -> str:
    """The lines between the marks, and these."""
    command = shlex.join([str(program), "--as-codex", "--"])
    return f"{_BEGIN}\nalias codex={shlex.quote(command)}\n{_END}\n"
