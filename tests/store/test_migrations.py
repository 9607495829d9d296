"""The schema: ordered changes, each applied once and whole."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from trio_relay.store.migrations import Migration, all_migrations, migrate

Schema = list[tuple[str, str, str]]


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    opened = sqlite3.connect(tmp_path / "relay.db", isolation_level=None)
    yield opened
    opened.close()


def schema(connection: sqlite3.Connection) -> Schema:
    """Every table, index, view and trigger; white space aside."""
    rows = connection.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
    return [(kind, name, re.sub(r"\s+", " ", sql)) for kind, name, sql in rows]


def version(connection: sqlite3.Connection) -> int:
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    return int(number)


def test_migrations_are_numbered_without_a_gap() -> None:
    assert [migration.number for migration in all_migrations()] == list(range(1, len(all_migrations()) + 1))


def test_applied_one_by_one_they_make_the_same_schema(connection: sqlite3.Connection) -> None:
    at_once = sqlite3.connect(":memory:", isolation_level=None)
    assert migrate(at_once) == len(all_migrations())
    for count in range(1, len(all_migrations()) + 1):
        assert migrate(connection, all_migrations()[:count]) == 1
        assert version(connection) == count
    assert schema(connection) == schema(at_once)
    at_once.close()


def test_a_migrated_database_is_left_alone(connection: sqlite3.Connection) -> None:
    migrate(connection)
    before = schema(connection)
    assert migrate(connection) == 0
    assert schema(connection) == before


def test_the_schema_is_sound(connection: sqlite3.Connection) -> None:
    migrate(connection)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_every_foreign_key_can_be_followed_back_by_an_index(connection: sqlite3.Connection) -> None:
    """Else deleting a row would read through the whole table that points at it."""
    migrate(connection)
    tables = [
        name
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%REFERENCES%'"
        )
    ]
    assert tables
    for table in tables:
        for _, _, _, column, *_ in connection.execute(f"PRAGMA foreign_key_list({table})").fetchall():
            plan = connection.execute(f"EXPLAIN QUERY PLAN DELETE FROM {table} WHERE {column} = 1").fetchall()
            assert not any(detail.startswith("SCAN") for *_, detail in plan), f"{table}.{column}: {plan}"


@pytest.mark.parametrize(
    "broken",
    [
        "CREATE TABLE fine (id INTEGER); CREATE TABLE agents (id INTEGER);",
        "DROP TABLE open_targets; this is no SQL;",
        "DELETE FROM agents; INSERT INTO agents (id) VALUES ('half');",
    ],
)
def test_one_that_fails_half_way_leaves_the_old_schema_and_can_be_tried_again(
    connection: sqlite3.Connection, broken: str
) -> None:
    known = all_migrations()
    migrate(connection)
    connection.execute(
        "INSERT INTO agents (id, name, machine, rig, tags, capabilities, channels, status, ready, epoch, meta,"
        " created_at, updated_at, last_seen) VALUES ('bob', '', '', '', '', '', '', '', 0, 1, '', 0, 0, 0)"
    )
    before = schema(connection)
    number = len(known) + 1
    with pytest.raises(sqlite3.Error):
        migrate(connection, [*known, Migration(number, broken)])
    assert (schema(connection), version(connection)) == (before, len(known))
    assert connection.execute("SELECT id FROM agents").fetchall() == [("bob",)]
    assert not connection.in_transaction
    assert migrate(connection, [*known, Migration(number, "CREATE TABLE fine (id INTEGER);")]) == 1
    assert version(connection) == number


def test_a_crash_in_the_middle_leaves_the_old_schema(tmp_path: Path) -> None:
    """What was not committed is not there when the file is opened anew, as after a kill."""
    path = tmp_path / "relay.db"
    known = all_migrations()
    crashing = sqlite3.connect(path, isolation_level=None)
    crashing.execute("PRAGMA journal_mode = WAL")
    migrate(crashing)
    before = schema(crashing)
    crashing.execute("BEGIN EXCLUSIVE")
    crashing.execute("DROP TABLE open_targets")
    crashing.execute("CREATE TABLE half (id INTEGER)")
    crashing.execute(f"PRAGMA user_version = {len(known) + 1}")
    # The files as a process that dies here leaves them.
    for file in list(tmp_path.iterdir()):
        (tmp_path / f"dead-{file.name}").write_bytes(file.read_bytes())
    crashing.close()
    after = sqlite3.connect(tmp_path / "dead-relay.db", isolation_level=None)
    assert (schema(after), version(after)) == (before, len(known))
    assert migrate(after) == 0
    after.close()
