"""How a database stands, for `trio-relay db check`."""

from dataclasses import dataclass, field
from pathlib import Path

from trio_relay.errors import RelayError
from trio_relay.store.backup import check, opened
from trio_relay.store.migrations import all_migrations, migrate


@dataclass(frozen=True, slots=True)
class State:
    """A database: its schema and the newest there is, its rows by table, the relays that use it, what is wrong with it.

    Who uses a file of SQLite is not known.
    """

    name: str
    engine: str
    schema: int
    newest: int
    rows: dict[str, int]
    nodes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def look_at_file(file: Path) -> State:
    """Read a file of SQLite whole.

    Raises:
        Invalid: it is no relay's database, or damaged.
        RelayError: it is not there, cannot be read, or is from a newer version.

    """
    if not file.exists():
        raise RelayError(f"there is no database at {file}", code="no_database")
    summary = check(file)
    newest = max(migration.number for migration in all_migrations())
    behind = (
        [f"its schema is {summary.schema}, not {newest}: run trio-relay db migrate"]
        if summary.schema < newest
        else []
    )
    rows = {"agents": summary.agents, "messages": summary.messages}
    return State(str(file), "SQLite", summary.schema, newest, rows, faults=behind)


def migrate_file(file: Path) -> int:
    """Bring a file of SQLite up to date; answer the number of changes. The caller owns it.

    Raises:
        Invalid: it is no relay's database, or damaged.
        RelayError: it is from a newer version.

    """
    check(file)
    with opened(file) as connection:
        return migrate(connection)
