"""``trio-relay db``: the database itself, whichever engine: its schema, its state, and the way to PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from trio_relay.cli.operating.backup import stoppable
from trio_relay.cli.shared.calling import json_option
from trio_relay.cli.shared.environment import room_settings
from trio_relay.cli.shared.failures import FAILED, Failure
from trio_relay.cli.shared.progress import Progress
from trio_relay.cli.shared.terminal import echo_json, printable
from trio_relay.errors import Invalid, RelayError
from trio_relay.relay.serve import database_path
from trio_relay.settings import ServerSettings
from trio_relay.store.ownership import owned
from trio_relay.store.state import look_at_file, migrate_file

_Function = Any


def _which(function: _Function) -> _Function:
    """Add ``--db`` and ``--database``."""
    for option in (
        click.option(
            "--database", "database_url", metavar="URL", help="A PostgreSQL; default: DATABASE_URL."
        ),
        click.option(
            "--db", "db_path", metavar="FILE", help="A file of SQLite; default: DB_PATH, as for `serve`."
        ),
    ):
        function = option(function)
    return function


@click.group()
def db() -> None:
    """Look after the database: its schema, its state, its move to PostgreSQL."""


@db.command()
@_which
@json_option
def migrate(*, db_path: str | None, database_url: str | None, as_json: bool) -> None:
    """Bring the schema up to date.

    A relay does so itself when it starts. No relay may be using a file of SQLite meanwhile; on PostgreSQL relays of the
    new version wait for it.
    """
    settings = _settings(db_path, database_url)
    if settings.database_url is not None:
        with _driver():
            from trio_relay.store.postgres import name_of, prepare  # noqa: PLC0415  # an extra
        name = name_of(settings.database_url)
        applied = prepare(settings.database_url, name)
    else:
        file = database_path(settings).resolve()
        name = str(file)
        if not file.exists():  # owning it would leave a lock there
            raise RelayError(f"there is no database at {file}", code="no_database")
        with owned(file):
            applied = migrate_file(file)
    if as_json:
        echo_json({"database": name, "changes": applied})
        return
    click.echo(
        f"{printable(name)}: {applied} change{'' if applied == 1 else 's'} made, the schema is up to date"
    )


@db.command(short_help="Look through the database.")
@_which
@json_option
def check(*, db_path: str | None, database_url: str | None, as_json: bool) -> None:
    """Look through the database, also while relays use it; exit 1 if something is wrong with it.

    A file of SQLite is read whole; of PostgreSQL it is looked at what it does not see to itself.
    """
    settings = _settings(db_path, database_url)
    if settings.database_url is not None:
        with _driver():
            from trio_relay.store.postgres.state import look  # noqa: PLC0415  # an extra
        state = look(settings.database_url)
    else:
        try:
            state = look_at_file(database_path(settings).resolve())
        except Invalid as fault:
            raise Failure(fault.detail, FAILED) from None
    if as_json:
        echo_json(state)
    else:
        click.echo(f"{printable(state.name)}: {state.engine}, schema {state.schema} of {state.newest}")
        for table, count in state.rows.items():
            click.echo(f"  {table:<18} {count:>10,}")
        for node in state.nodes:
            click.echo(f"  used by {printable(node)}")
    if state.faults:
        raise Failure("; ".join(state.faults), FAILED)


@db.command(short_help="Make ready a PostgreSQL put back from a dump.")
@click.option("--database", "database_url", metavar="URL", help="The PostgreSQL; default: DATABASE_URL.")
@json_option
def restored(*, database_url: str | None, as_json: bool) -> None:
    """Say that a PostgreSQL was put back from a dump, or to a point in time, before a relay starts on it.

    It does what `trio-relay restore` does for a file: every agent registers again, every event stream hears of a gap, and
    ids go on far beyond those there, so that nothing new can be mistaken for something that was lost.
    """
    url = database_url or room_settings().database_url
    if url is None:
        raise click.UsageError("which one? --database, or DATABASE_URL in the environment")
    with _driver():
        from trio_relay.store.postgres import name_of  # noqa: PLC0415  # an extra
        from trio_relay.store.postgres.restored import resume_elsewhere  # noqa: PLC0415
    name = name_of(url)
    resume_elsewhere(url)
    if as_json:
        echo_json({"database": name})
        return
    click.echo(f"{printable(name)} is ready for its clients of before.")
    click.echo("Tokens revoked since it was saved count again: see `trio-relay tokens list`.")


@db.command()
@click.argument("sqlite_file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.argument("postgres_url", required=False)
@click.option(
    "--live", is_flag=True, help="Copy also while a relay uses the file: as it is now, to try it out."
)
@json_option
def copy(*, sqlite_file: Path, postgres_url: str | None, live: bool, as_json: bool) -> None:
    """Move a room from SQLite to PostgreSQL, whole or not at all.

    POSTGRES_URL is DATABASE_URL unless it is given; one with a password is better not given here, where every process
    can read it. The database there must be empty. Every row is compared before anything is committed; ids go on, so
    clients notice nothing. The file stays as it is.
    """
    url = postgres_url or room_settings().database_url
    if url is None:
        raise click.UsageError("where to? POSTGRES_URL, or DATABASE_URL in the environment")
    with _driver():
        from trio_relay.store.postgres.connection import name_of  # noqa: PLC0415  # an extra
        from trio_relay.store.postgres.copy import copy_room  # noqa: PLC0415
    file = sqlite_file.resolve()
    name = name_of(url)
    with stoppable(), Progress("copying", "rows") as progress:
        if live:
            copied = copy_room(file, url, progress)
        else:
            with owned(file):
                copied = copy_room(file, url, progress)
    if as_json:
        echo_json({"file": str(file), "database": name, "rows": copied.rows})
        return
    for table, rows in sorted(copied.rows.items()):
        click.echo(f"  {table:<18} {rows:>10,}")
    click.echo(f"{printable(str(file))} is in {printable(name)}: every row is there and the same.")
    if live:
        click.echo("What the relay has accepted in the file since is not there.")
    else:
        click.echo(
            "Serve it with DATABASE_URL or --database; keep the file, and let no relay use it any more."
        )


def _settings(db_path: str | None, database_url: str | None) -> ServerSettings:
    if db_path is not None and database_url is not None:
        raise click.UsageError("--db or --database: not both")
    settings = room_settings(db_path=db_path, database_url=database_url)
    return settings if db_path is None else replace(settings, database_url=None)


@contextmanager
def _driver() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise RelayError(
            "PostgreSQL needs the driver psycopg: pip install 'trio-relay[postgres]'", code="no_driver"
        ) from error
