"""SQLite: one writer with group commit, readers on their own connections.

The writer task takes every waiting operation, runs each in its own savepoint, and commits them together, so that the
cost of making them durable (``synchronous=FULL``: one fsync of the write-ahead log) is shared. An operation that
raises is rolled back alone; its siblings commit. Nobody hears of success before the commit has returned (G1).

How a blocking call leaves the event loop is handed in as `run_sync`: production passes ``trio.to_thread.run_sync``;
tests in virtual time pass one that calls straight through, because trio's autojump clock does not wait for threads.
"""

import os
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import outcome
import trio

from trio_relay.errors import Unavailable
from trio_relay.store.interface import RunSync
from trio_relay.store.migrations import migrate
from trio_relay.store.ownership import bad_store, owned

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], T]

#: Operations that share one commit, at most: bounds how long the first waits for the last.
MAX_BATCH = 512
READERS = 4


#: Errors of SQLite that are the weather's: the disk is full or fails, somebody else holds the file. Any other error of
#: an operation is a bug of ours.
_WEATHER = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)


@dataclass(eq=False)
class _Job(Generic[T]):
    """One waiting write. `after` runs in the event loop once it is durable, even if the caller has gone."""

    operation: Operation[T]
    after: Callable[[T], None] | None
    done: trio.Event = field(default_factory=trio.Event)
    result: outcome.Outcome[T] | None = None


class SqliteStore:
    """An open SQLite database. Use `open_sqlite`."""

    def __init__(self, path: Path, run_sync: RunSync) -> None:
        self.path = path
        #: What people call it.
        self.name = str(path)
        self._run_sync = run_sync
        #: Told of every commit: how many operations shared it, and the seconds it took.
        self.on_commit: Callable[[int, float], None] | None = None
        self._waiting: deque[_Job[Any]] = deque()
        self._doorbell = trio.Event()
        self._closing = False
        self._writer = self._connect()
        self._idle_readers: list[sqlite3.Connection] = []
        self._reader_slots = trio.CapacityLimiter(READERS)

    async def write(
        self,
        operation: Operation[T],
        *,
        after: Callable[[T], None] | None = None,
        alone: bool = True,  # noqa: ARG002  # with one writer every operation is alone
    ) -> T:
        """Run `operation` in a transaction; when this returns, what it did is durable.

        `after(result)` is called in the event loop right after the commit, before this returns, and also when the
        caller was cancelled meanwhile: a client that hangs up does not undo what was done for it.

        Raises:
            Unavailable: the store is closing or cannot write now; nothing was changed.
            Exception: whatever `operation` raised; nothing was changed.

        """
        if self._closing:
            raise Unavailable("the relay is shutting down", code="shutting_down")
        job = _Job(operation, after)
        self._waiting.append(job)
        self._doorbell.set()
        await job.done.wait()
        if job.result is None:
            raise RuntimeError("a write ended without a result")
        return job.result.unwrap()

    async def read(
        self,
        operation: Operation[T],
        *,
        fresh: bool = False,  # noqa: ARG002  # one snapshot serves those as well who need none
    ) -> T:
        """Run `operation` on a connection that sees every commit made before this call and cannot write.

        Raises:
            Unavailable: the store cannot be read now.
            Exception: whatever `operation` raised.

        """
        async with self._reader_slots:
            connection = self._idle_readers.pop() if self._idle_readers else self._connect(readonly=True)
            try:
                # Shielded: a cancelled reader must not leave a thread using a connection that others take next.
                with trio.CancelScope(shield=True):
                    result: T = await self._run_sync(_reading, connection, operation)
            finally:
                self._idle_readers.append(connection)
        return result

    async def commit_batches(self) -> None:
        """Task: commit waiting writes, batch after batch, until cancelled; what waits then is still committed."""
        while True:
            try:
                await self._doorbell.wait()
            except trio.Cancelled:
                self._closing = True
                with trio.CancelScope(shield=True):
                    while self._waiting:
                        await self._commit_one_batch()
                raise
            self._doorbell = trio.Event()
            while self._waiting:
                await self._commit_one_batch()

    async def _commit_one_batch(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(MAX_BATCH, len(self._waiting)))]
        began = trio.current_time()
        with trio.CancelScope(shield=True):
            await self._run_sync(_commit, self._writer, batch)
        if self.on_commit is not None:
            self.on_commit(len(batch), trio.current_time() - began)
        for job in batch:
            if job.after is not None and isinstance(job.result, outcome.Value):
                job.after(job.result.value)
            job.done.set()

    def close(self) -> None:
        """Close every connection. The last one folds the write-ahead log into the file."""
        for connection in self._idle_readers:
            connection.close()
        self._writer.close()

    def _connect(self, *, readonly: bool = False) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False, cached_statements=256, timeout=5
        )
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA foreign_keys = ON")
            if readonly:
                connection.execute("PRAGMA query_only = ON")
            else:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA cache_size = -16384")
            connection.execute("PRAGMA mmap_size = 268435456")
        except BaseException:
            connection.close()
            raise
        return connection


def _reading(connection: sqlite3.Connection, operation: Operation[T]) -> T:
    # One snapshot for the whole operation, however many statements it makes.
    try:
        connection.execute("BEGIN")
        try:
            return operation(connection)
        finally:
            if connection.in_transaction:
                connection.execute("COMMIT")
    except sqlite3.Error as error:
        # Writing on a reader is a bug, not a file system that has become read-only.
        if _is_weather(error) and error.sqlite_errorname != "SQLITE_READONLY":
            raise Unavailable(f"the store cannot be read now ({error})") from error
        raise


def _commit(connection: sqlite3.Connection, batch: list[_Job[Any]]) -> None:
    """Run the batch in one transaction. Every job has a result afterwards."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        for job in batch:
            job.result = _run_in_savepoint(connection, job.operation)
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        for job in batch:
            job.result = outcome.Error(Unavailable(f"the store cannot write now ({error})"))


def _run_in_savepoint(connection: sqlite3.Connection, operation: Operation[T]) -> outcome.Outcome[T]:
    connection.execute("SAVEPOINT operation")
    result = outcome.capture(operation, connection)
    if isinstance(result, outcome.Error):
        if not connection.in_transaction:  # SQLite rolls all back by itself when the disk is full or fails
            raise sqlite3.OperationalError("the transaction was rolled back")
        if isinstance(result.error, sqlite3.Error) and _is_weather(result.error):
            raise result.error
        connection.execute("ROLLBACK TO operation")
    connection.execute("RELEASE operation")
    return result


def _is_weather(error: sqlite3.Error) -> bool:
    # Extended codes carry the primary one in their low byte.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _WEATHER


@asynccontextmanager
async def open_sqlite(
    path: str | os.PathLike[str], *, run_sync: RunSync = trio.to_thread.run_sync
) -> AsyncIterator[SqliteStore]:
    """Open (or make, mode 0600) the database at `path` and own it until the block ends.

    Raises:
        StoreInUse: another process owns the file.
        RelayError: the file is no database, cannot be opened, or is from a newer version.

    """
    file = Path(path).resolve()  # noqa: ASYNC240  # once, before anything is served
    with owned(file):
        try:
            file.touch(mode=0o600)
            store = SqliteStore(file, run_sync)
        except (OSError, sqlite3.Error) as error:
            raise bad_store(file, error) from error
        try:
            try:
                migrate(store._writer)  # noqa: SLF001  # the store opens itself
            except sqlite3.Error as error:
                raise bad_store(file, error) from error
            async with trio.open_nursery() as nursery:
                nursery.start_soon(store.commit_batches)
                try:
                    yield store
                finally:
                    nursery.cancel_scope.cancel()
        finally:
            store.close()
