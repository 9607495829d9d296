"""Events that were taken and not yet posted: one file each, on disk before their sender hears that they were taken.

The first in the order of names is the oldest. What the relay refuses is moved to ``refused/``, where a person can look.
"""

import json
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import trio

from trio_relay.core.wire_tasks import IntegrationEvent
from trio_relay.errors import Unavailable
from trio_relay.supervise import Doorbell

#: Events a connector keeps while the relay is away.
FULL = 10_000
_SUFFIX = ".json"


class Spool:
    """A directory of events, for one process."""

    def __init__(
        self, directory: Path, *, run_sync: Callable[..., Awaitable[Any]] = trio.to_thread.run_sync
    ) -> None:
        self._directory = directory
        self._refused = directory / "refused"
        self._refused.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._run_sync = run_sync
        self._names = sorted(one.name for one in directory.glob(f"*{_SUFFIX}"))
        self._last = 0
        self.news = Doorbell()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._names)

    async def put(self, events: Iterable[IntegrationEvent]) -> None:
        """Keep events; they are on disk when this returns.

        Raises:
            Unavailable: so many wait that no more are taken.

        """
        texts = [msgspec.json.encode(event) for event in events]
        if len(self._names) + len(texts) > FULL:
            raise Unavailable("too much waits for the relay already: nothing more is taken for now")
        names = [self._name() for _ in texts]
        await self._run_sync(self._write, names, texts)
        self._names += names
        self.news.ring()

    async def first(self) -> tuple[str, IntegrationEvent] | None:
        """Give the oldest and its name, None if nothing waits."""
        if not self._names:
            return None
        name = self._names[0]
        text = await self._run_sync((self._directory / name).read_bytes)
        return name, msgspec.json.decode(text, type=IntegrationEvent)

    async def done(self, name: str) -> None:
        """The relay has it."""
        await self._run_sync((self._directory / name).unlink)
        self._names.remove(name)

    async def refuse(self, name: str, reason: str) -> None:
        """The relay will never take it: put it aside, with the reason."""

        def move() -> None:
            event = json.loads((self._directory / name).read_bytes())
            (self._refused / name).write_text(json.dumps({"reason": reason, "event": event}, indent=2))
            (self._directory / name).unlink()

        await self._run_sync(move)
        self._names.remove(name)

    def _name(self) -> str:
        # Names go up also when the clock does not.
        self._last = max(self._last + 1, time.time_ns())
        return f"{self._last:020}-{secrets.token_hex(4)}{_SUFFIX}"

    def _write(self, names: list[str], texts: list[bytes]) -> None:
        for name, text in zip(names, texts, strict=True):
            draft = self._directory / f".{name}"
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


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
