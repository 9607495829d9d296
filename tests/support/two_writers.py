"""Transactions of a PostgreSQL store that are held open by hand, to force one interleaving after another."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import psycopg

from support.check_store import on
from trio_relay.store.postgres import RelayConnection
from trio_relay.store.postgres.connection import connect
from trio_relay.store.postgres.seat import begin

T = TypeVar("T")
#: Seconds a transaction has to end or to meet a lock.
PATIENCE = 60


class Writer:
    """One transaction at a time, in a thread of its own: what waits for a lock waits there."""

    def __init__(self, connection: RelayConnection, watcher: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._watcher = watcher
        self._thread = ThreadPoolExecutor(1)

    def begin(self, *, alone: bool = False) -> "Writer":
        """Begin a transaction that changes the room."""
        self._connection.alone = alone
        self._now(begin, self._connection, alone)
        return self

    def do(self, operation: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run one of the relay's operations in the transaction."""
        result: T = self._now(on(operation, *args, **kwargs), self._connection)
        return result

    def try_to(
        self, operation: Callable[..., T], *args: Any, alone: bool = False, **kwargs: Any
    ) -> "Future[T]":
        """Begin, run and commit: as far as it comes. Returns once it is done or waits for a lock."""

        def whole() -> T:
            self._connection.alone = alone
            begin(self._connection, alone)
            result = on(operation, *args, **kwargs)(self._connection)
            self._connection.execute("COMMIT")
            return result

        trying = self._thread.submit(whole)
        deadline = time.monotonic() + PATIENCE
        while not trying.done() and not self.is_waiting:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        return trying

    def commit(self) -> None:
        """Commit."""
        self._now(self._connection.execute, "COMMIT")

    def roll_back(self) -> None:
        """Undo it all."""
        self._now(self._connection.execute, "ROLLBACK")

    @property
    def is_waiting(self) -> bool:
        """Whether the server has this transaction wait for a lock."""
        row = self._watcher.execute(
            "SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s",
            (self._connection.info.backend_pid,),
        ).fetchone()
        return row is not None and row[0] == "Lock"

    def close(self) -> None:
        """End the thread and the connection."""
        self._thread.shutdown()
        self._connection.close()

    def _now(self, call: Callable[..., Any], *args: Any) -> Any:
        return self._thread.submit(call, *args).result()


class Reader:
    """Reads what is committed, statement by statement, as the store does for polls and for the event log."""

    def __init__(self, connection: RelayConnection) -> None:
        self.connection = connection

    def do(self, operation: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run one of the relay's operations that change nothing."""
        return on(operation, *args, **kwargs)(self.connection)


@contextmanager
def writers(url: str, count: int = 2) -> Iterator[tuple[Reader, list[Writer]]]:
    """Answer somebody to read and so many to write, in a database that has the schema."""
    with ExitStack() as stack:
        watcher = stack.enter_context(psycopg.connect(url, autocommit=True))
        reader = stack.enter_context(connect(url, readonly=True))
        found = []
        for _ in range(count):
            writer = Writer(connect(url), watcher)
            stack.callback(writer.close)
            found.append(writer)
        yield Reader(reader), found
