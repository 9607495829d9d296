"""Events that were taken and not yet posted: one file each, on disk before their sender hears that they were taken.

The first in the order of names is the oldest. What the relay refuses is moved to ``refused/``, where a person can look.
"""

import json
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import msgspec
import trio

from trio_relay.core.wire_tasks import IntegrationEvent
from trio_relay.errors import Refused, Unavailable
from trio_relay.supervise import Doorbell

#: Events a connector keeps while the relay is away.
FULL = 10_000
_SUFFIX = ".json"
#: Before the name of what is not whole yet.
_DRAFT = "."


@contextmanager
def owned(directory: Path) -> Iterator[None]:
    """Keep other connectors from a spool while the block runs: two would post its events under each other's hands.

    Raises:
        Refused: another one has it (code ``spool_in_use``).

    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = filelock.FileLock(directory / "lock", timeout=0, mode=0o600)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise Refused(
            f"another connector keeps its events in {directory}: name another directory with --spool",
            code="spool_in_use",
        ) from None
    try:
        yield
    finally:
        lock.release()


class Spool:
    """A directory of events, for one process."""

    def __init__(
        self, directory: Path, *, run_sync: Callable[..., Awaitable[Any]] = trio.to_thread.run_sync
    ) -> None:
        self._directory = directory
        self._refused = directory / "refused"
        self._refused.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._run_sync = run_sync
        found = sorted(one.name for one in directory.glob(f"*{_SUFFIX}"))
        self._names = [name for name in found if not name.startswith(_DRAFT)]
        for name in found:
            if name.startswith(_DRAFT):  # its sender was never told that it was taken
                (directory / name).unlink()
        self._last = 0
        self.news = Doorbell()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._names)

    async def put(self, events: Iterable[IntegrationEvent]) -> None:
        """Keep events; they are on disk when this returns.

        Raises:
            Unavailable: so many wait that no more are taken, or the disk takes none.

        """
        texts = [msgspec.json.encode(event) for event in events]
        if len(self._names) + len(texts) > FULL:
            raise Unavailable("too much waits for the relay already: nothing more is taken for now")
        names = [self._name() for _ in texts]
        try:
            await self._run_sync(self._write, names, texts)
        except OSError as error:
            raise Unavailable(f"the spool cannot be written: {error.strerror}") from None
        self._names += names
        self.news.ring()

    async def first(self) -> tuple[str, IntegrationEvent] | None:
        """Give the oldest and its name, None if nothing waits."""
        while self._names:
            name = self._names[0]
            try:
                text = await self._run_sync((self._directory / name).read_bytes)
                return name, msgspec.json.decode(text, type=IntegrationEvent)
            except FileNotFoundError:  # a person took it away
                self._names.remove(name)
            except (msgspec.DecodeError, UnicodeDecodeError):
                await self.refuse(name, "it cannot be read")
        return None

    async def done(self, name: str) -> None:
        """The relay has it."""
        await self._run_sync(lambda: (self._directory / name).unlink(missing_ok=True))
        self._names.remove(name)

    async def refuse(self, name: str, reason: str) -> None:
        """The relay will never take it: put it aside, with the reason."""

        def move() -> None:
            text = (self._directory / name).read_text(encoding="utf-8", errors="replace")
            try:
                event = json.loads(text)
            except ValueError:
                event = text
            (self._refused / name).write_text(json.dumps({"reason": reason, "event": event}, indent=2))
            (self._directory / name).unlink()

        await self._run_sync(move)
        self._names.remove(name)

    def _name(self) -> str:
        # Names go up also when the clock does not.
        self._last = max(self._last + 1, time.time_ns())
        return f"{self._last:020}-{secrets.token_hex(4)}{_SUFFIX}"

    def _write(self, names: list[str], texts: list[bytes]) -> None:
        try:
            for name, text in zip(names, texts, strict=True):
                draft = self._directory / f"{_DRAFT}{name}"
                file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(file, "wb") as opened:
                    opened.write(text)
                    opened.flush()
                    os.fsync(file)
                draft.rename(self._directory / name)
            here = os.open(self._directory, os.O_RDONLY)
            try:
                os.fsync(here)
            finally:
                os.close(here)
        except OSError:
            for name in names:
                (self._directory / name).unlink(missing_ok=True)
                (self._directory / f"{_DRAFT}{name}").unlink(missing_ok=True)
            raise
