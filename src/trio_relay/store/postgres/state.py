"""How a PostgreSQL of ours stands: what the server itself does not see to."""

import psycopg
from psycopg import sql

from trio_relay.errors import Conflict, RelayError
from trio_relay.store.interface import APPLICATION
from trio_relay.store.migrations import all_migrations, missing_from
from trio_relay.store.postgres import look_at_server
from trio_relay.store.postgres.connection import RelayConnection, connect, name_of
from trio_relay.store.postgres.errors import weather, why_not_connected
from trio_relay.store.state import State

#: The columns whose numbers PostgreSQL gives out, and the sequence of each.
NUMBERED = """
SELECT table_name AS of, column_name AS number, pg_get_serial_sequence(table_name, column_name) AS sequence
FROM information_schema.columns WHERE table_schema = 'public' AND is_identity = 'YES' ORDER BY table_name
"""
_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_version' ORDER BY tablename"


def look(url: str) -> State:
    """Look at the database behind a URL; nothing is changed.

    Raises:
        RelayError: it cannot be reached, or is from a newer version; the text holds no password.

    """
    name = name_of(url)
    try:
        connection = connect(url, readonly=True)
    except psycopg.Error as error:
        raise RelayError(f"{name} cannot be reached: {why_not_connected(error)}", code="bad_store") from None
    with connection:
        try:
            connection.execute("SET statement_timeout = 0")
            look_at_server(connection, name)
            return _look(connection, name)
        except psycopg.Error as error:
            reason = weather(error) or f"it refuses ({type(error).__name__})"
            raise RelayError(f"{name} cannot be read: {reason}", code="bad_store") from error


def keep_relays_out(connection: RelayConnection, name: str) -> None:
    """From here to the end of the transaction no relay changes the room, and none may be there already.

    Raises:
        Conflict: one is (code ``in_use``).

    """
    connection.execute("SET LOCAL statement_timeout = 0")
    connection.execute("SET LOCAL lock_timeout = 0")
    connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
    connection.execute("SELECT begin_change(true)")
    if _nodes(connection):
        raise Conflict(f"a relay works with {name}: stop it first", code="in_use")


def _nodes(connection: RelayConnection) -> list[str]:
    found = connection.execute(
        "SELECT DISTINCT application_name FROM pg_stat_activity "
        "WHERE datname = current_database() AND starts_with(application_name, %s)",
        (APPLICATION,),
    )
    return sorted(row[0].removeprefix(APPLICATION) for row in found)


def _look(connection: RelayConnection, name: str) -> State:
    migrations = all_migrations("postgres")
    newest = max(migration.number for migration in migrations)
    present = _one(connection, "SELECT to_regclass('schema_version') IS NOT NULL")
    schema = _one(connection, "SELECT coalesce(max(version), 0) FROM schema_version") if present else 0
    missing = missing_from(schema, migrations)
    faults = [f"its schema is {schema}, not {newest}: run trio-relay db migrate"] if missing else []
    tables = [row[0] for row in connection.execute(_TABLES)] if schema else []
    rows = {table: _one(connection, _count(table)) for table in tables}
    if rows.get("event_log", 1) != 1:
        faults.append(f"event_log has {rows['event_log']} rows, not one")
    faults += _numbers_behind(connection) if schema else []
    return State(name, "PostgreSQL", schema, newest, rows, _nodes(connection), faults)


def _numbers_behind(connection: RelayConnection) -> list[str]:
    """Tables that would give out a number a second time: after rows were put in by hand."""
    found = []
    for row in connection.execute(NUMBERED).fetchall():
        table, column = sql.Identifier(row["of"]), sql.Identifier(row["number"])
        highest = sql.SQL("SELECT coalesce(max({}), 0) FROM {}").format(column, table)
        given = sql.SQL("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {}").format(
            sql.SQL(row["sequence"])
        )
        if _one(connection, given) < _one(connection, highest):
            found.append(
                f"the numbers of {row['of']} begin again: set its sequence beyond max({row['number']})"
            )
    return found


def _count(table: str) -> sql.Composed:
    return sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))


def _one(connection: RelayConnection, statement: str | sql.Composed) -> int:
    query = sql.SQL(statement) if isinstance(statement, str) else statement
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])
