"""How far a long piece of work is, on stderr: nothing in the first second, then a line that is written anew.

Where stderr is not a terminal, a line every ten seconds, so that a log stays short.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import click

#: Seconds before the first line, and between two.
_FIRST = 1.0
_ON_TERMINAL = 0.2
_IN_LOG = 10.0


class Progress:
    """A context manager; call it with what is done, of how much, in `unit`s."""

    def __init__(self, what: str, unit: str = "MB") -> None:
        self.what = what
        self._unit = unit
        self._terminal = sys.stderr.isatty()
        self._next = time.monotonic() + _FIRST
        self._shown = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown and self._terminal:
            click.echo("\r" + " " * self._shown + "\r", nl=False, err=True)

    def __call__(self, done: int, of: int) -> None:
        """Show it, if it is time to."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (_ON_TERMINAL if self._terminal else _IN_LOG)
        scale = 1_000_000 if self._unit == "MB" else 1
        share = f"{100 * done // of} %" if of else "0 %"
        text = f"{self.what}: {share} ({done // scale:,} of {of // scale:,} {self._unit})"
        if self._terminal:
            click.echo("\r" + text.ljust(self._shown), nl=False, err=True)
            self._shown = len(text)
        else:
            click.echo(text, err=True)


@contextmanager
def patience(what: str) -> Iterator[None]:
    """Say on a terminal what is being waited for, once it takes longer than a second; gone when it is over."""
    if not sys.stderr.isatty():
        yield
        return
    from threading import Event, Thread  # noqa: PLC0415  # commands start quickly

    over = Event()

    def say() -> None:
        if not over.wait(_FIRST):
            click.echo(what, nl=False, err=True)
            over.wait()
            click.echo("\r" + " " * len(what) + "\r", nl=False, err=True)

    thread = Thread(target=say, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
