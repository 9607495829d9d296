"""The named SQL statements, loaded once: ``queries.get_agent(connection, id=…)``.

The kind of a statement is the mark behind its name: ``^`` one row or None, ``!`` the number of rows changed, ``<!``
the id of the inserted row, none: all rows.

The files beside this one hold for every engine. What an engine says in its own words stands under the same name in
``sqlite/`` and ``postgres/``; a statement of PostgreSQL's own takes the place of the shared one. Which is meant is
told by the connection it is called with.
"""

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiosql
from aiosql.adapters.pyformat import PyFormatAdapter

from trio_relay.store.words import fts5, lexemes, tsquery

_HERE = Path(__file__).parent


class _PostgresAdapter(PyFormatAdapter):
    """Parameters as psycopg wants them; an inserted row answers with its id, as SQLite's does."""

    def process_sql(self, query_name: str, op_type: Any, sql: str) -> str:
        text: str = super().process_sql(query_name, op_type, sql.replace("%", "%%"))  # type: ignore[no-untyped-call]
        return f"{text.rstrip().rstrip(';')} RETURNING id" if op_type.name == "INSERT_RETURNING" else text


def _load(engine: str, adapter: Any) -> dict[str, Any]:
    """The statements of one engine, by name."""
    found: dict[str, Any] = {}
    for path in (*sorted(_HERE.glob("*.sql")), *sorted((_HERE / engine).glob("*.sql"))):
        loaded = aiosql.from_path(path, adapter, kwargs_only=True)
        found |= {name: getattr(loaded, name) for name in loaded.available_queries}
    return {name: each for name, each in found.items() if not name.endswith("_cursor")}


class Queries:
    """Every statement, in the words of the engine a connection belongs to."""

    def __init__(self) -> None:
        #: The same statements, engine by engine; each has its text as ``.sql``.
        self.sqlite = _load("sqlite", "sqlite3")
        self.postgres = _load("postgres", _PostgresAdapter)
        if self.sqlite.keys() != self.postgres.keys():
            raise RuntimeError(f"one engine lacks {self.sqlite.keys() ^ self.postgres.keys()}")
        for name, statement in self.sqlite.items():
            setattr(self, name, _by_connection(statement, self.postgres[name]))
        # What is found by full text is computed here for PostgreSQL: its own parser would take addresses and numbers
        # apart in another way than SQLite's, and lower case would depend on the locale of the database.
        self.insert_message = _by_connection(
            self.sqlite["insert_message"],
            lambda connection, **values: self.postgres["insert_message"](
                connection, **values, words=lexemes(values["subject"], values["body"])
            ),
        )
        self.search_messages = _by_connection(
            lambda connection, *, words, **page: self.sqlite["search_messages"](
                connection, words=fts5(words), **page
            ),
            lambda connection, *, words, **page: self.postgres["search_messages"](
                connection, words=tsquery(words), **page
            ),
        )


def _by_connection(sqlite: Callable[..., Any], postgres: Callable[..., Any]) -> Callable[..., Any]:
    def statement(connection: Any, **values: Any) -> Any:
        chosen = sqlite if isinstance(connection, sqlite3.Connection) else postgres
        return chosen(connection, **values)

    return statement


def select(connection: Any, statement: str, **values: Any) -> list[Any]:
    """Run a SELECT that was put together from literals of ours, with ``:name`` where a value belongs."""
    if not isinstance(connection, sqlite3.Connection):
        statement = re.sub(r":(\w+)", r"%(\1)s", statement)
    rows: list[Any] = connection.execute(statement, values).fetchall()
    return rows


queries: Any = Queries()
