"""The relay's operations without an event loop: a connection, a clock that is set by hand, and the caller's principal.

One call is one transaction, as in the store: an operation that raises changes nothing.
"""

import itertools
import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

from support.relay import EPOCH
from trio_relay.core.access import FULL, Principal
from trio_relay.relay.operations.tx import Policy, Tx
from trio_relay.store.migrations import migrate

T = TypeVar("T")


class SyncRoom:
    """A room on an in-memory database."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.now = EPOCH
        self.policy = policy or Policy()
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.row_factory = sqlite3.Row
        self.connection.execute("PRAGMA foreign_keys = ON")
        migrate(self.connection)
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

    def rows(self, statement: str, *parameters: Any) -> list[sqlite3.Row]:
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
