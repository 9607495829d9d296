"""The store on PostgreSQL: opening it, with the schema it needs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import trio

from trio_relay.errors import RelayError
from trio_relay.store.interface import RunSync
from trio_relay.store.migrations import all_migrations, missing_from
from trio_relay.store.postgres.connection import OLDEST, RelayConnection, connect, name_of
from trio_relay.store.postgres.errors import weather, why_not_connected
from trio_relay.store.postgres.store import PostgresStore

__all__ = [
    "PostgresStore",
    "RelayConnection",
    "look_at_server",
    "migrate",
    "name_of",
    "open_postgres",
    "schema_of",
]

#: Whoever migrates holds this advisory lock: several nodes start at once.
MIGRATING = 0x5203 << 48


@asynccontextmanager
async def open_postgres(url: str, *, run_sync: RunSync, connections: int) -> AsyncIterator[PostgresStore]:
    """Open the database behind a URL, bring its schema up to date, and use it until the block ends.

    Raises:
        RelayError: it cannot be used; the text says why and holds no password.

    """
    name = name_of(url)
    await run_sync(prepare, url, name)
    store = PostgresStore(url, name, run_sync, connections)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.watch)
            for _ in range(store.writers):
                nursery.start_soon(store.work)
            try:
                yield store
            finally:
                store.close()
    finally:
        with trio.CancelScope(shield=True):
            await store.close_readers()


def prepare(url: str, name: str) -> int:
    """Connect once, look whether the server will do, apply what the schema lacks; answer how many changes that was.

    Raises:
        RelayError: it will not do (``bad_store``), or was written by a newer version (``store_too_new``).

    """
    try:
        connection = connect(url)
    except psycopg.Error as error:
        raise _bad_store(name, why_not_connected(error)) from None  # the driver's words may hold the password
    with connection:
        try:
            look_at_server(connection, name)
            return migrate(connection)
        except psycopg.Error as error:
            raise _bad_store(name, weather(error) or f"it refuses ({type(error).__name__})") from error


def schema_of(connection: RelayConnection) -> int:
    """The number of the newest migration applied; 0: none."""
    connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)")
    row = connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()
    return 0 if row is None else int(row[0])


def migrate(connection: RelayConnection) -> int:
    """Apply what is missing, all of it or nothing; answer the number of migrations applied.

    Raises:
        RelayError: the database was written by a newer version (code ``store_too_new``).

    """
    with connection.transaction():
        connection.execute("SET LOCAL lock_timeout = 0")
        connection.execute("SET LOCAL statement_timeout = 0")
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATING,))
        missing = missing_from(schema_of(connection), all_migrations("postgres"))
        for migration in missing:
            connection.execute(migration.sql.encode())
            connection.execute("INSERT INTO schema_version (version) VALUES (%s)", (migration.number,))
    return len(missing)


def look_at_server(connection: RelayConnection, name: str) -> None:
    """Look whether the server will do.

    Raises:
        RelayError: it will not (code ``bad_store``).

    """
    version = connection.info.server_version // 10_000
    if version < OLDEST:
        raise _bad_store(name, f"it is PostgreSQL {version}, at least {OLDEST} is needed")
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise _bad_store(name, f"its encoding is {encoding}: make it with ENCODING 'UTF8'")


def _bad_store(name: str, reason: str) -> RelayError:
    return RelayError(f"{name} cannot be used as the relay's database: {reason}", code="bad_store")
