"""What a program has to say while the relay is away: kept in a file, sent in order once it is back.

An entry is durable when `Outbox.post` returns and leaves the file when the relay has it. Its idempotency key is made
before the first attempt, so an attempt whose answer was lost, or whose program was killed, is made again without harm.
The relay remembers keys for a day; an entry that was tried and could not be tried again within `MEMORY` is set aside,
because it might come twice.

What the relay refuses (an unknown recipient, a field that cannot be meant) is set aside with the reason, and the rest
goes on. Several processes may put into one file; one of them at a time sends.
"""

import os
import sqlite3
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import filelock
import msgspec
import platformdirs

from trio_relay.client.holding import Delays
from trio_relay.client.http import RelayClient
from trio_relay.client.presence import log
from trio_relay.core.wire import SendRequest
from trio_relay.errors import ConnectionLost, Invalid, NotFound, RateLimited, RelayError, Unauthorized

#: How long an attempt may be left before the relay might have forgotten its key, milliseconds: a day and some room.
MEMORY = 23 * 3_600_000
#: How often the file is looked at for what other processes have put there, seconds.
LOOK_EVERY = 1.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  key TEXT NOT NULL UNIQUE,
  request BLOB NOT NULL,
  posted_at INTEGER NOT NULL,
  tried_at INTEGER,
  refusal_code TEXT,
  refusal TEXT
)"""
RunSync = Callable[..., Awaitable[Any]]
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Entry:
    """A message in an outbox. Where it was set aside, `code` and `reason` say why."""

    key: str
    request: SendRequest
    posted_at: int
    code: str | None = None
    reason: str | None = None


def default_path(url: str) -> Path:
    """Where the outbox for a relay lies in the user's state directory."""
    name = sha256(url.encode()).hexdigest()[:16]
    return Path(platformdirs.user_state_dir("trio-relay", appauthor=False)) / "outbox" / f"{name}.db"


class Outbox:
    """A file of messages that wait to be sent. Use `Outbox.open`."""

    def __init__(self, path: Path, connection: sqlite3.Connection, run_sync: RunSync) -> None:
        self.path = path
        self._connection = connection
        self._run_sync = run_sync
        self._turn = anyio.Lock()
        self._news = anyio.Event()

    @classmethod
    @asynccontextmanager
    async def open(
        cls, path: Path | str, *, run_sync: RunSync = anyio.to_thread.run_sync
    ) -> AsyncIterator["Outbox"]:
        """Open the outbox at `path`, made with access for its owner alone.

        Raises:
            Invalid: it cannot be opened, or is another kind of file (``bad_outbox``).

        """
        connection = await run_sync(_open, Path(path))
        with closing(connection):
            yield cls(Path(path), connection, run_sync)

    async def post(self, request: SendRequest) -> str:
        """Put a message in; it is on disk when this returns. The key it will be sent with.

        Raises:
            Invalid: it has no idempotency key (`message_of` makes one).

        """
        if request.idempotency_key is None:
            raise Invalid("a message in an outbox needs an idempotency key", code="key_missing")
        posted = (request.idempotency_key, _encode(request), _now())
        await self._run(
            "INSERT INTO entries (key, request, posted_at) VALUES (?, ?, ?) ON CONFLICT (key) DO NOTHING",
            *posted,
        )
        self._ring()
        return request.idempotency_key

    async def waiting(self) -> int:
        """How many wait to be sent."""
        rows = await self._run("SELECT count(*) FROM entries WHERE refusal_code IS NULL")
        return int(rows[0][0])

    async def refused(self) -> list[Entry]:
        """What was set aside, oldest first, and why. Somebody has to look at it: `retry` or `drop` it."""
        rows = await self._run(
            "SELECT key, request, posted_at, refusal_code, refusal FROM entries "
            "WHERE refusal_code IS NOT NULL ORDER BY id"
        )
        return [Entry(row[0], _decode(row[1]), *row[2:]) for row in rows]

    async def retry(self, key: str) -> None:
        """Have what was set aside sent after all, as it is, where it stood in the order."""
        await self._known(
            "UPDATE entries SET refusal_code = NULL, refusal = NULL, tried_at = NULL WHERE key = ? RETURNING id",
            key,
        )
        self._ring()

    async def drop(self, key: str) -> None:
        """Take a message out, unsent."""
        await self._known("DELETE FROM entries WHERE key = ? RETURNING id", key)
        self._ring()

    async def flush(self) -> None:
        """Wait until nothing waits any more: everything was sent, or set aside."""
        while True:
            news = self._news
            if not await self.waiting():
                return
            with anyio.move_on_after(LOOK_EVERY):
                await news.wait()

    async def drain(self, relay: RelayClient, delays: Delays) -> None:
        """Task: send what waits, oldest first, for ever; only while no other process does."""
        lock = filelock.FileLock(f"{self.path}.lock", thread_local=False, mode=0o600)
        while True:
            try:
                lock.acquire(blocking=False)
            except filelock.Timeout:
                await anyio.sleep(LOOK_EVERY)
                continue
            try:
                await self._drain(relay, delays)
            finally:
                lock.release()

    async def _drain(self, relay: RelayClient, delays: Delays) -> None:
        pauses, done = delays(), 0
        while True:
            news = self._news
            row = await self._next(done)
            if done:
                self._ring()  # for whoever waits for the end
            done = 0
            if row is None:
                with anyio.move_on_after(LOOK_EVERY):
                    await news.wait()
                continue
            pause = await self._send(relay, row[0], row[1], row[2])
            if pause is None:
                pauses, done = delays(), row[0]
            else:
                await anyio.sleep(pause or next(pauses))

    async def _send(self, relay: RelayClient, entry: int, request: bytes, tried_at: int) -> float | None:
        """Try one entry: None when it is off our hands, else how long to wait, 0 for a pause that grows."""
        if tried_at < _now() - MEMORY:
            await self._set_aside(
                entry, "outcome_unknown", "it was tried more than a day ago: it might come twice"
            )
            return None
        try:
            await relay.send(_decode(request))
        except (ConnectionLost, Unauthorized) as away:
            # A token that does not count is no fault of the message's.
            log.info("outbox: entry %d waits: %s", entry, away.detail)
            return 0.0
        except RateLimited as busy:
            return busy.retry_after
        except RelayError as refusal:
            log.warning("outbox: entry %d is set aside: %s", entry, refusal.code)
            await self._set_aside(entry, refusal.code, refusal.detail)
        return None

    async def _next(self, done: int) -> tuple[int, bytes, int] | None:
        """Take out what was sent; note that the next is being tried, before it is."""

        def step() -> tuple[int, bytes, int] | None:
            with self._connection as transaction:
                if done:
                    transaction.execute("DELETE FROM entries WHERE id = ? AND refusal_code IS NULL", (done,))
                row = transaction.execute(
                    "SELECT id, request, coalesce(tried_at, ?) FROM entries "
                    "WHERE refusal_code IS NULL ORDER BY id LIMIT 1",
                    (_now(),),
                ).fetchone()
                if row is not None:
                    transaction.execute(
                        "UPDATE entries SET tried_at = ? WHERE id = ? AND tried_at IS NULL", (row[2], row[0])
                    )
                found: tuple[int, bytes, int] | None = row
                return found

        async with self._turn:
            return await self._run_sync(step)  # type: ignore[no-any-return]  # what `step` returns

    async def _set_aside(self, entry: int, code: str, reason: str) -> None:
        await self._run("UPDATE entries SET refusal_code = ?, refusal = ? WHERE id = ?", code, reason, entry)
        self._ring()

    async def _known(self, statement: str, key: str) -> None:
        if not await self._run(statement, key):
            raise NotFound("the outbox has no such entry", code="unknown_entry")

    async def _run(self, statement: str, *values: Any) -> list[Any]:
        def step() -> list[Any]:
            with self._connection as transaction:
                return transaction.execute(statement, values).fetchall()

        async with self._turn:
            return await self._run_sync(step)  # type: ignore[no-any-return]  # what `step` returns

    def _ring(self) -> None:
        self._news.set()
        self._news = anyio.Event()


def _open(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Made before SQLite does, so that its journals inherit the mode.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, stat.S_IRUSR | stat.S_IWUSR))
        connection = sqlite3.connect(path, timeout=30.0, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise Invalid(f"the outbox {path} cannot be opened: {error}", code="bad_outbox") from None
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        with connection:
            connection.execute(_SCHEMA)
    except sqlite3.Error as error:
        connection.close()
        raise Invalid(f"the outbox {path} cannot be opened: {error}", code="bad_outbox") from None
    return connection


def _decode(request: bytes) -> SendRequest:
    return msgspec.json.decode(request, type=SendRequest)


def _now() -> int:
    return time.time_ns() // 1_000_000
