"""Lines a person types, and what is shown meanwhile; or, where there is no terminal, lines of a pipe."""

import os
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from types import ModuleType
from typing import Protocol

import click
import trio

#: Switches a terminal's bracketed paste off, which readline may have switched on.
_NO_BRACKETED_PASTE = "\x1b[?2004l"


class Kind(Enum):
    """What is shown: somebody's message (its first line says who), how far a line of ours has got, our own word."""

    MESSAGE = "message"
    STATUS = "status"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Shown:
    """Something to show. One with a `key` may take the place of the one before it, if that has the same."""

    kind: Kind
    text: str
    key: int | None = None


class Face(Protocol):
    """Where a conversation is typed and shown."""

    def lines(self) -> AsyncGenerator[str, None]:
        """Give every line, without its end, until there are no more."""

    def show(self, shown: Shown) -> None:
        """Show something."""


class Pipe:
    """Lines of standard input; everything is shown on standard output, below what was shown before."""

    async def lines(self) -> AsyncGenerator[str, None]:
        """Give every line. What is read may be a file, a pipe or a terminal whose output goes elsewhere."""
        rest = b""
        while True:
            # A thread of its own, left behind when nobody wants the line any more: files cannot be waited for.
            piece = await trio.to_thread.run_sync(os.read, 0, 65_536, abandon_on_cancel=True)
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                yield line.decode("utf-8", "replace").removesuffix("\r")
            if not piece:
                break
        if rest:
            yield rest.decode("utf-8", "replace")

    def show(self, shown: Shown) -> None:
        """Write it down."""
        click.echo(shown.text)


class Terminal:
    """A line at the bottom of a terminal in which a person types; everything else is shown above it."""

    def __init__(self, prompt: str) -> None:
        self._prompt = prompt
        self._readline = _readline()
        self._colours = "NO_COLOR" not in os.environ
        self._typing = False
        self._last_key: int | None = None

    @contextmanager
    def kept_in_order(self) -> Iterator[None]:
        """Leave the terminal as it was, also when somebody is in the middle of a line."""
        import termios  # noqa: PLC0415  # where there is a terminal

        before = termios.tcgetattr(0)
        try:
            yield
        finally:
            if self._typing:
                sys.stdout.write(f"{_NO_BRACKETED_PASTE}\n")
                sys.stdout.flush()
            termios.tcsetattr(0, termios.TCSADRAIN, before)

    async def lines(self) -> AsyncGenerator[str, None]:
        """Give every line that is typed, until Ctrl-D."""
        while True:
            self._typing = True
            line = await trio.to_thread.run_sync(self._line, abandon_on_cancel=True)
            self._typing = False
            if line is None:
                sys.stdout.write("\n")
                return
            yield line

    def show(self, shown: Shown) -> None:
        """Show something above the line that is being typed, which is then as it was."""
        typed = self._prompt + (self._readline.get_line_buffer() if self._readline else "")
        rows = (len(typed) - 1) // os.get_terminal_size(1).columns if self._typing else 0
        replaces = shown.key is not None and shown.key == self._last_key
        up = rows + (1 if replaces else 0)
        clear = (f"\x1b[{up}A" if up else "") + "\r\x1b[J"
        sys.stdout.write(f"{clear}{self._styled(shown)}\n{typed if self._typing else ''}")
        sys.stdout.flush()
        self._last_key = shown.key

    def _line(self) -> str | None:
        self._last_key = None  # a line of the person's own now stands in between
        try:
            return input(self._prompt)
        except EOFError:
            return None

    def _styled(self, shown: Shown) -> str:
        if not self._colours:
            return shown.text
        if shown.kind is Kind.MESSAGE:
            head, newline, body = shown.text.partition("\n")
            return click.style(head, fg="cyan", bold=True) + newline + body
        return click.style(shown.text, dim=True)


def _readline() -> ModuleType | None:
    try:
        import readline  # noqa: PLC0415  # not everywhere, and only for a person who types
    except ImportError:
        return None
    return readline
