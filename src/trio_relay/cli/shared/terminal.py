"""Printing what others wrote.

A message body, a label or an agent id may hold anything; a terminal obeys some of it (colours, cursor moves, window
titles, replies typed into the shell, text running backwards). So control and direction characters are shown as
escapes, and rich's markup is off for foreign text. JSON output keeps its meaning: the same characters are written
as JSON escapes.
"""

import re
import sys
from typing import TYPE_CHECKING, Any

import click

# What only some commands need (JSON, structs, rich) is imported where it is used: every command loads this module.
if TYPE_CHECKING:
    from rich.console import Console

# C0 and C1 controls, DEL, surrogates, line and paragraph separators, and everything that turns text around.
_OBEYED = "\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_OBEYED_ANYWHERE = re.compile(f"[{_OBEYED}]")
_OBEYED_IN_TEXT = re.compile(f"(?![\\n\\t])[{_OBEYED}]")


def printable(text: str) -> str:
    r"""Make one line that a terminal only shows: ``\x1b``, ``\n`` and the like appear as written here."""
    return _OBEYED_ANYWHERE.sub(_escape, text)


def printable_text(text: str) -> str:
    """Do the same for text of several lines: newlines and tabs stay; Windows line ends become plain ones."""
    return _OBEYED_IN_TEXT.sub(_escape, text.replace("\r\n", "\n"))


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    short = {9: r"\t", 10: r"\n", 13: r"\r"}.get(code)
    return short or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def as_json(value: Any, *, indent: int | None = 2) -> str:
    """Write `value` (structs included) as JSON that is safe to look at in a terminal."""
    import json  # noqa: PLC0415  # see above

    import msgspec  # noqa: PLC0415

    text = json.dumps(msgspec.to_builtins(value), indent=indent, ensure_ascii=False)
    # json.dumps escapes C0 itself, and indentation is the only newline there is.
    return _OBEYED_IN_TEXT.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def echo_json(value: Any, *, indent: int | None = 2) -> None:
    """Print `value` as JSON."""
    click.echo(as_json(value, indent=indent))


def local_time(milliseconds: int) -> str:
    """Write the clock time of a Unix time in milliseconds here; with its date when that is not today."""
    from datetime import datetime  # noqa: PLC0415  # see above

    moment = datetime.fromtimestamp(milliseconds / 1000).astimezone()
    today = moment.date() == datetime.now(moment.tzinfo).date()
    return moment.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M")


def duration(seconds: float) -> str:
    """Write a length of time in its two largest units: ``42 s``, ``3 min 20 s``, ``2 d 4 h``."""
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    left = max(0, int(seconds))
    parts: list[str] = []
    for name, size in units:
        count, left = divmod(left, size)
        if count or (name == "s" and not parts):
            parts.append(f"{count} {name}")
    return " ".join(parts[:2])


def spoken(words: tuple[str, ...]) -> str:
    """Put together a text that came as several words; of ``-`` alone, read it from standard input."""
    return sys.stdin.read() if words == ("-",) else " ".join(words)


def parsed_json(text: str, what: str) -> Any:
    """Read JSON that was given as `what`; of ``-``, from standard input."""
    import json  # noqa: PLC0415  # see above

    try:
        return json.loads(sys.stdin.read() if text == "-" else text)
    except ValueError as error:
        raise click.UsageError(f"{what} is not JSON: {error}") from None


def console() -> "Console":
    """Make a rich console on stdout with markup, emoji codes and highlighting off: text is shown as it is."""
    from rich.console import Console  # noqa: PLC0415  # see above

    return Console(markup=False, emoji=False, highlight=False, soft_wrap=False)
