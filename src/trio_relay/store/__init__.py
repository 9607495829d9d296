"""The store: a transaction is a plain synchronous function of a connection.

`open_store` gives a store with two verbs. ``write(operation)`` runs a function of a connection in a transaction that
is durable when the call returns; ``read(operation)`` runs one on a connection that cannot write. SQL stands in
``queries/``, each statement named and described by the state change it makes; the schema is ``migrations/``.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from trio_relay.errors import RelayError
from trio_relay.store.interface import RunSync, Store
from trio_relay.store.sqlite import SqliteStore, open_sqlite

__all__ = ["CONNECTIONS", "RunSync", "SqliteStore", "Store", "is_postgres", "open_sqlite", "open_store"]

#: Connections one process holds to a PostgreSQL, unless told otherwise.
CONNECTIONS = 8


def is_postgres(target: str | os.PathLike[str]) -> bool:
    """Whether this names a PostgreSQL database rather than a file of SQLite."""
    return isinstance(target, str) and target.startswith(("postgresql://", "postgres://"))


@asynccontextmanager
async def open_store(
    target: str | os.PathLike[str],
    *,
    run_sync: RunSync = trio.to_thread.run_sync,
    connections: int = CONNECTIONS,
) -> AsyncIterator[Store]:
    """Open the store that a ``postgresql://`` URL or the path of a file names, until the block ends.

    `connections`: how many to hold to a PostgreSQL, at least 2.

    Raises:
        StoreInUse: another process owns the file.
        RelayError: it cannot be opened, is no database, or is from a newer version; or psycopg is not installed.

    """
    if is_postgres(target):
        try:
            from trio_relay.store.postgres import open_postgres  # noqa: PLC0415  # an extra
        except ImportError as error:
            raise RelayError(
                "PostgreSQL needs the driver psycopg: pip install 'trio-relay[postgres]'", code="no_driver"
            ) from error
        async with open_postgres(str(target), run_sync=run_sync, connections=connections) as store:
            yield store
    else:
        async with open_sqlite(target, run_sync=run_sync) as file:
            yield file
