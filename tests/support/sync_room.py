"""The relay's operations without an event loop: a connection, a clock that is set by hand, and the caller's principal.

One call is one transaction, as in the store: an operation that raises changes nothing. `SyncRoom` is on SQLite,
`PostgresSyncRoom` on PostgreSQL.
"""

import itertools
import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from unittest import mock

from support.relay import EPOCH, empty_database
from trio_relay.core.access import FULL, Principal
from trio_relay.relay.operations.tx import Policy, Tx, is_concurrent
from trio_relay.store import locks
from trio_relay.store.locks import Kind, NeedsToBeAlone
from trio_relay.store.postgres import RelayConnection

T = TypeVar("T")


class SyncRoom:
    """A room on an in-memory database."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.now = EPOCH
        self.policy = policy or Policy()
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.row_factory = sqlite3.Row
        self.connection.execute("PRAGMA foreign_keys = ON")
        self.connection.deserialize(empty_database())
        self._tokens = itertools.count(1)
        self.woken: set[str] = set()

    def do(self, operation: Callable[..., T], *args: Any, by: Principal = FULL, **kwargs: Any) -> T:
        """Run one operation as one transaction."""
        tx = Tx(self.connection, self.now, lambda: f"token-{next(self._tokens)}", self.policy, principal=by)
        self.connection.execute("BEGIN")
        try:
            result = operation(tx, *args, **kwargs)
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")
        self.woken |= tx.wake
        return result

    def rows(self, statement: str, *parameters: Any) -> list[Any]:
        """What stands in the database, for a test's own eyes."""
        return self.connection.execute(statement, parameters).fetchall()

    def dump(self) -> list[str]:
        """Everything there is, to show that something changed nothing. The event log aside."""
        return [
            line
            for line in self.connection.iterdump()
            if 'INTO "events"' not in line and "sqlite_sequence" not in line
        ]

    def close(self) -> None:
        """Forget it all."""
        self.connection.close()


class PostgresSyncRoom(SyncRoom):
    """A room in a database that has the schema: one transaction that is undone at the end, an operation a savepoint.

    Operations that may run beside others do so, until they ask to be alone; and each of them must take its locks in the
    one order that cannot deadlock: kind after kind, all of one kind at once.
    """

    def __init__(self, connection: RelayConnection, policy: Policy | None = None) -> None:
        self.now = EPOCH
        self.policy = policy or Policy()
        self.pg = connection
        self.woken = set()
        self._tokens = itertools.count(1)
        #: How many operations had to be run again alone.
        self.again = 0
        connection.execute("BEGIN")
        connection.execute("SELECT begin_change(true)")

    def do(self, operation: Callable[..., T], *args: Any, by: Principal = FULL, **kwargs: Any) -> T:
        """Run one operation."""
        self.pg.alone = not is_concurrent(operation)
        try:
            return self._once(operation, *args, by=by, **kwargs)
        except NeedsToBeAlone:
            self.again += 1
            self.pg.alone = True
            return self._once(operation, *args, by=by, **kwargs)

    def rows(self, statement: str, *parameters: Any) -> list[Any]:
        """What stands in the database, for a test's own eyes."""
        return self.pg.execute(statement.replace("?", "%s"), parameters).fetchall()

    def dump(self) -> list[str]:
        """Everything there is, to show that something changed nothing. The event log aside."""
        tables = self.rows(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' "
            "AND table_type = 'BASE TABLE' AND table_name NOT IN ('events', 'schema_version') ORDER BY 1"
        )
        whole = " UNION ALL ".join(
            f"SELECT '{row[0]}' AS name, each::text AS content FROM {row[0]} AS each" for row in tables
        )
        return [f"{name}: {content}" for name, content in self.rows(f"{whole} ORDER BY 1, 2")]

    def close(self) -> None:
        """Forget it all."""
        self.pg.execute("ROLLBACK")

    def _once(self, operation: Callable[..., T], *args: Any, by: Principal, **kwargs: Any) -> T:
        taken: list[Kind] = []

        def lock(connection: RelayConnection, kind: Kind, names: Iterable[tuple[str | int, ...]]) -> None:
            names = list(names)
            if names and not connection.alone:
                assert not taken or taken[-1] < kind, f"{kind.name} is locked after {taken[-1].name}"
                taken.append(kind)
            real_lock(connection, kind, names)

        real_lock = locks.lock
        tx = Tx(self.pg, self.now, lambda: f"token-{next(self._tokens)}", self.policy, principal=by)
        self.pg.execute("SAVEPOINT operation")
        try:
            with mock.patch.object(locks, "lock", lock):
                result = operation(tx, *args, **kwargs)
        except BaseException:
            self.pg.execute("ROLLBACK TO SAVEPOINT operation")
            raise
        finally:
            self.pg.execute("RELEASE SAVEPOINT operation")
        self.woken |= tx.wake
        return result
