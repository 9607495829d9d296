"""Moving a room from a file of SQLite into an empty PostgreSQL: every row, with its ids, or nothing.

It is one transaction there and one snapshot here. Each table is streamed (``COPY``), then read back, and its rows are
compared with what was read from the file, by number and content, before anything is committed. The sequences go on
where the file's stand, so every cursor and Last-Event-ID that clients hold is as good as before.
"""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from trio_relay.errors import Conflict, RelayError
from trio_relay.store.backup import Progress, check, opened
from trio_relay.store.migrations import all_migrations
from trio_relay.store.postgres import prepare
from trio_relay.store.postgres.connection import RelayConnection, connect, name_of
from trio_relay.store.postgres.errors import weather
from trio_relay.store.postgres.state import keep_relays_out
from trio_relay.store.words import lexemes

#: Rows between two words of progress, and fetched at once.
_PIECE = 2000
_pack = msgspec.msgpack.Encoder().encode
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the file: its columns, and the one whose numbers it gives out itself, if it does."""

    name: str
    columns: tuple[str, ...]
    numbered: str | None


@dataclass(slots=True)
class Content:
    """What a table holds: how many rows, and the sum of their hashes, which is the same in whatever order."""

    rows: int = 0
    hashes: int = 0

    def add(self, row: Row) -> None:
        """Count one more row in."""
        self.rows += 1
        digest = blake2b(_pack(row), digest_size=16).digest()
        self.hashes = (self.hashes + int.from_bytes(digest)) % 2**128


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied: rows by table."""

    rows: dict[str, int]


def copy_room(file: Path, url: str, progress: Progress) -> Copied:
    """Copy the room in `file` into the empty database behind `url`.

    Whoever calls owns the file, or knows that what is written to it from now on is left behind.

    Raises:
        Invalid: the file is no whole database of a relay (``not_a_relay_database``, ``damaged``).
        Conflict: the database is not empty, or a relay works with it (``not_empty``, ``in_use``).
        RelayError: reading, writing or comparing failed; nothing was changed.

    """
    newest = max(migration.number for migration in all_migrations())
    present = check(file).schema
    if present < newest:
        raise RelayError(
            f"{file} has schema {present}: bring it to {newest} first, with `trio-relay db migrate --db FILE`",
            code="store_too_old",
        )
    name = name_of(url)
    prepare(url, name)
    try:
        with opened(file) as source, connect(url) as target:
            source.execute("BEGIN")  # one snapshot for all that follows
            copied = _copy(source, target, name, progress)
            target.execute("SET statement_timeout = 0")
            target.execute("ANALYZE")
    except psycopg.Error as error:
        reason = weather(error) or f"the database refuses ({type(error).__name__})"
        raise RelayError(f"{name}: {reason}; nothing was copied", code="copy_failed") from error
    except sqlite3.Error as error:
        raise RelayError(f"{file} cannot be read: {error}; nothing was copied", code="copy_failed") from error
    return copied


def _copy(source: sqlite3.Connection, target: RelayConnection, name: str, progress: Progress) -> Copied:
    tables = tables_of(source)
    counts = {each.name: _count(source, each) for each in tables}
    total = 2 * sum(counts.values())
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if done % _PIECE == 0:
            progress(done, total)

    with target.transaction():
        _alone_and_empty(target, tables, name)
        contents = {each.name: _send(source, target, each, step) for each in tables}
        for each in tables:
            if _read_back(target, each, step) != contents[each.name]:
                raise RelayError(
                    f"what {name} holds of {each.name} is not what was sent; nothing was copied",
                    code="copy_failed",
                )
            if each.numbered is not None:
                _go_on(source, target, each, each.numbered)
    progress(total, total)
    return Copied({each.name: contents[each.name].rows for each in tables})


def tables_of(source: sqlite3.Connection) -> list[Table]:
    """Every table that is a table of the room, each after those it refers to; the full-text index is made anew."""
    names = [
        row[0]
        for row in source.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' "
            "AND name NOT LIKE 'messages_text%'"
        )
    ]
    order: TopologicalSorter[str] = TopologicalSorter()
    tables: dict[str, Table] = {}
    for name in sorted(names):
        columns = source.execute("SELECT name, type, pk FROM pragma_table_info(?)", (name,)).fetchall()
        keys = [column for column, kind, key in columns if key and kind == "INTEGER"]
        only = len([1 for _, _, key in columns if key]) == 1
        # `threads` are numbered by their first message.
        numbered = keys[0] if keys and only and keys[0] in {"id", "seq"} and name != "threads" else None
        tables[name] = Table(name, tuple(column for column, _, _ in columns), numbered)
        referred = [
            row[0] for row in source.execute('SELECT "table" FROM pragma_foreign_key_list(?)', (name,))
        ]
        order.add(name, *referred)
    return [tables[name] for name in order.static_order()]


def _alone_and_empty(target: RelayConnection, tables: list[Table], name: str) -> None:
    """Keep every relay out until the end, and see that there is nothing yet."""
    keep_relays_out(target, name)
    for each in tables:
        query = sql.SQL("SELECT 1 FROM {} LIMIT 1").format(sql.Identifier(each.name))
        if each.name != "event_log" and target.execute(query).fetchone() is not None:
            raise Conflict(f"{name} is not empty: there are {each.name}", code="not_empty")


def _send(
    source: sqlite3.Connection, target: RelayConnection, table: Table, step: Callable[[], None]
) -> Content:
    content = Content()
    columns = table.columns + (("words",) if table.name == "messages" else ())
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table.name), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    if table.name == "event_log":  # its one row is there from the beginning
        target.execute("DELETE FROM event_log")
    subject, body = (
        (table.columns.index("subject"), table.columns.index("body")) if table.name == "messages" else (0, 0)
    )
    with target.cursor().copy(statement) as stream:
        for row in _rows(source, table):
            content.add(row)
            words = (lexemes(row[subject], row[body]),) if table.name == "messages" else ()
            stream.write_row(row + words)
            step()
    return content


def _read_back(target: RelayConnection, table: Table, step: Callable[[], None]) -> Content:
    content = Content()
    statement = sql.SQL("SELECT {} FROM {}").format(
        sql.SQL(", ").join(map(sql.Identifier, table.columns)), sql.Identifier(table.name)
    )
    with target.cursor(name="read_back") as cursor:
        cursor.itersize = _PIECE
        cursor.execute(statement)
        for row in cursor:
            content.add(tuple(row))
            step()
    return content


def _go_on(source: sqlite3.Connection, target: RelayConnection, table: Table, column: str) -> None:
    """Have a sequence go on where the file's numbers end: those given, also of rows that are gone."""
    given = source.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table.name,)).fetchone()
    (highest,) = source.execute(f'SELECT coalesce(max("{column}"), 0) FROM "{table.name}"').fetchone()  # noqa: S608  # names of the schema
    last = max(0 if given is None else given[0], highest)
    target.execute(
        "SELECT setval(pg_get_serial_sequence(%s, %s)::regclass, %s, %s)",
        (table.name, column, max(last, 1), last > 0),
    )


def _rows(source: sqlite3.Connection, table: Table) -> Iterator[Row]:
    columns = ", ".join(f'"{column}"' for column in table.columns)
    cursor = source.execute(f'SELECT {columns} FROM "{table.name}"')  # noqa: S608  # names of the schema
    while rows := cursor.fetchmany(_PIECE):
        yield from rows


def _count(source: sqlite3.Connection, table: Table) -> int:
    (count,) = source.execute(f'SELECT count(*) FROM "{table.name}"').fetchone()  # noqa: S608  # a name of the schema
    return int(count)
