"""Where notices go into the session: a monitor's standard output, or the waiter of a Claude Code without monitors.

That a notice was written proves nothing: Claude Code may hold or drop it. See `claude/ledger.py`.
"""

import os
import sys
from collections.abc import Sequence
from typing import Protocol

import trio

from trio_relay.claude.events import Answer, feedback
from trio_relay.supervise import Doorbell


class Outlet(Protocol):
    """One way into the session. `name` stands in receipts."""

    name: str

    @property
    def ready(self) -> bool:
        """Whether something written now gets there."""

    async def say(self, lines: Sequence[str]) -> bool:
        """Write the lines of one batch; whether there was somebody to take them."""


class OutletGone(Exception):  # noqa: N818  # named for what happened
    """Nobody reads what the monitor prints any more: Claude Code has ended, or somebody has stopped the monitor."""


class Monitor:
    """Lines on standard output: Claude Code makes each batch an event of the session, idle or not."""

    name = "monitor"
    ready = True

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = sys.stdout.fileno() if descriptor is None else descriptor

    async def say(self, lines: Sequence[str]) -> bool:
        """Print a batch. Raises `OutletGone`."""
        text = "".join(f"{line}\n" for line in lines).encode(errors="replace")
        try:
            await trio.to_thread.run_sync(self._write, text)
        except OSError as error:
            raise OutletGone from error
        return True

    def _write(self, text: bytes) -> None:
        while text:
            text = text[os.write(self._descriptor, text) :]


class Waiters:
    """The one hook process that waits to wake the session; a newer one takes the place of an older one.

    `bell` rings when one comes.
    """

    name = "asyncRewake"

    def __init__(self, bell: Doorbell) -> None:
        self._bell = bell
        self._waiting: _Waiting | None = None

    @property
    def ready(self) -> bool:
        """Whether one waits."""
        return self._waiting is not None

    async def wait(self) -> Answer:
        """Be the one who waits: what to say, or nothing when another has come."""
        if self._waiting is not None:
            self._waiting.dismiss(Answer())
        mine = self._waiting = _Waiting()
        self._bell.ring()
        try:
            await mine.dismissed.wait()
        finally:
            if self._waiting is mine:
                self._waiting = None
        return mine.answer

    async def say(self, lines: Sequence[str]) -> bool:
        """Send the waiter off with a batch."""
        await trio.lowlevel.checkpoint()
        if self._waiting is None:
            return False
        self._waiting.dismiss(feedback("\n".join(lines)))
        self._waiting = None
        return True


class _Waiting:
    def __init__(self) -> None:
        self.dismissed = trio.Event()
        self.answer = Answer()

    def dismiss(self, answer: Answer) -> None:
        self.answer = answer
        self.dismissed.set()
