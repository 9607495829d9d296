"""``trio-relay backup`` and ``restore``: the SQLite room as one file, and back."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

from trio_relay.cli.shared.calling import json_option
from trio_relay.cli.shared.environment import room_settings
from trio_relay.cli.shared.failures import BAD_INPUT, Failure
from trio_relay.cli.shared.progress import Progress
from trio_relay.cli.shared.terminal import echo_json, printable
from trio_relay.relay.serve import database_path
from trio_relay.store import backup as copies
from trio_relay.store.ownership import owned

_db_option = click.option(
    "--db",
    "db_path",
    metavar="FILE",
    help="The database; default: DB_PATH, else relay.db in the user's data directory.",
)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_db_option
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@json_option
def backup(*, file: Path, db_path: str | None, force: bool, as_json: bool) -> None:
    """Copy the room into FILE, also while the relay runs.

    FILE is the room at one instant, checked, mode 0600; it appears when it is whole. It holds every message and the
    hashes of every token: keep it as you keep the database.
    """
    database = _database(db_path)
    with stoppable(), Progress("copying") as progress:
        summary = copies.back_up(database, file, overwrite=force, progress=progress)
    if as_json:
        echo_json({"file": str(file), "database": str(database), **_facts(summary)})
    else:
        click.echo(f"{printable(str(file))}: {_text(summary)}")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@_db_option
@click.option("--check", "only_check", is_flag=True, help="Only look whether FILE can be restored.")
@json_option
def restore(*, file: Path, db_path: str | None, only_check: bool, as_json: bool) -> None:
    """Put a backup in the place of the room's database.

    The relay must not be running. The database that was there is kept beside it. FILE stays as it is. Every agent
    registers again, every event stream hears of a gap, and ids go on far beyond those in FILE, so that nothing new can
    be mistaken for something that was lost.
    """
    if only_check:
        summary, kept, database = copies.check(file), None, None
    else:
        database = _database(db_path)
        aside = datetime.now(UTC).strftime(".before-restore-%Y%m%dT%H%M%SZ")
        with stoppable(), owned(database), Progress("copying") as progress:
            summary, kept = copies.restore(file, database, aside=aside, progress=progress)
    if as_json:
        facts = {"file": str(file), "database": database and str(database), "kept": kept and str(kept)}
        echo_json(facts | _facts(summary))
        return
    if database is None:
        click.echo(f"{printable(str(file))} is whole: {_text(summary)}")
        return
    click.echo(f"{printable(str(database))}: {_text(summary)}")
    if kept is not None:
        click.echo(f"What was there is kept as {printable(str(kept))}")
    click.echo("Tokens revoked since the backup was taken count again: see `trio-relay tokens list`.")


def _database(db_path: str | None) -> Path:
    settings = room_settings(db_path=db_path)
    if db_path is None and settings.database_url is not None:
        raise Failure(
            "DATABASE_URL names a PostgreSQL: its own tools (pg_dump, pg_restore) back it up; --db names a file",
            BAD_INPUT,
        )
    return database_path(settings).resolve()


def _facts(summary: copies.Summary) -> dict[str, int]:
    return {
        "schema": summary.schema,
        "bytes": summary.size,
        "agents": summary.agents,
        "messages": summary.messages,
        "newestMessage": summary.newest_message,
    }


def _text(summary: copies.Summary) -> str:
    newest = f", the newest {summary.newest_message}" if summary.messages else ""
    return f"{summary.messages:,} messages{newest}, {summary.agents:,} agents, {summary.size / 1e6:.1f} MB"


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM end the work as Ctrl-C does: tidily."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
