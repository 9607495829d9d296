"""Ordered schema changes: ``NNNN_name.sql``, each applied once, in its own transaction.

Those beside this file are SQLite's; the number of the newest applied one stands in the database file itself (``PRAGMA
user_version``). Those in ``postgres/`` are PostgreSQL's, the number in the table ``schema_version``; the first of them
makes what SQLite's first five have made. A database written by a newer trio-relay is refused rather than guessed at.
"""

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trio_relay.errors import RelayError

_FILE_NAME = re.compile(r"(\d{4})_\w+\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One schema change: its number and its SQL."""

    number: int
    sql: str


def all_migrations(engine: str = "sqlite") -> list[Migration]:
    """Every migration this version knows for an engine (``sqlite``, ``postgres``), in order."""
    here = Path(__file__).parent
    found = []
    for path in sorted((here if engine == "sqlite" else here / engine).glob("*.sql")):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            raise RuntimeError(f"{path.name} is not named NNNN_name.sql")
        found.append(Migration(int(match[1]), path.read_text(encoding="utf-8")))
    return found


def missing_from(present: int, migrations: Sequence[Migration]) -> list[Migration]:
    """Those that a database with the schema `present` (0: none) lacks.

    Raises:
        RelayError: it was written by a newer version (code ``store_too_new``).

    """
    newest = max(migration.number for migration in migrations)
    if present > newest:
        raise RelayError(
            f"a newer trio-relay has worked with this database (schema {present}; this one knows up to {newest}): "
            "upgrade this one, or put a backup from before back",
            code="store_too_new",
        )
    return [migration for migration in migrations if migration.number > present]


def migrate(connection: sqlite3.Connection, migrations: list[Migration] | None = None) -> int:
    """Apply what is missing; answer the number of migrations applied.

    Raises:
        RelayError: the file was written by a newer version (code ``store_too_new``).

    """
    (present,) = connection.execute("PRAGMA user_version").fetchone()
    missing = missing_from(present, all_migrations() if migrations is None else migrations)
    for migration in missing:
        # executescript() commits by itself, so the script brings its own transaction; a crash leaves the old schema.
        try:
            connection.executescript(
                f"BEGIN EXCLUSIVE;\n{migration.sql}\nPRAGMA user_version = {migration.number};\nCOMMIT;"
            )
        except sqlite3.Error:
            if connection.in_transaction:
                connection.rollback()
            raise
    return len(missing)
