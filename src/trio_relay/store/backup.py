"""Copies of a whole SQLite room: taken while the relay runs, checked, and put back.

A copy is made through SQLite's online backup within one read transaction, so it is the room as it was at one instant,
whatever is written meanwhile; nobody waits for it. It appears under its name only when it is whole, checked and on
disk: until then it is a hidden file beside it.

What a room gave out after the copy was taken (ids, cursors, sessions) is still in the hands of its clients when the
copy is put back. `resume_elsewhere` makes sure that none of it can be mistaken for something that comes after.
"""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from trio_relay.core.model import RESTORED, AgentStatus, Rung
from trio_relay.errors import Invalid, RelayError
from trio_relay.store.migrations import all_migrations, migrate

#: Told how much is done and of how much: bytes.
Progress = Callable[[int, int], None]

#: How far every kind of id goes on beyond what the copy holds: more than were ever given out after it was taken.
STEP = 1_000_000_000
#: What makes everybody who knew the room before look at it anew, beside ids that go on (`resume_elsewhere`).
FORGET = (
    "DELETE FROM events",
    (
        f"UPDATE agents SET instance_id = '{RESTORED}', epoch = epoch + {STEP}, identified_at = 0, "  # noqa: S608  # constants
        f"status = '{AgentStatus.OFFLINE}', ready = 0, ready_reason = 'the relay was restored from a backup'"
    ),
    f"UPDATE inbox SET attempts = attempts + 1 WHERE read_at IS NULL AND state = '{Rung.QUEUED}'",  # noqa: S608  # a constant
    "DELETE FROM tickets WHERE used_at IS NULL",
    "UPDATE approvals SET expires_at = created_at WHERE state = 'pending'",
)
#: Pages copied at a time, 8 MiB.
_PAGES = 2048
_SUFFIXES = ("", "-journal", "-wal", "-shm")


@dataclass(frozen=True, slots=True)
class Summary:
    """What a database holds: its schema's number, its bytes, and how many of the things people know."""

    schema: int
    size: int
    agents: int
    messages: int
    newest_message: int


def back_up(database: Path, target: Path, *, overwrite: bool = False, progress: Progress) -> Summary:
    """Copy a room, which may be in use, into the file `target`.

    Raises:
        Invalid: `target` exists (code ``exists``), or `database` is not a relay's (code ``not_a_relay_database``).
        RelayError: reading, writing or the check of the copy failed (codes ``no_database``, ``backup_failed``).

    """
    if not database.exists():
        raise RelayError(f"there is no database at {database}", code="no_database")
    if target.exists() and not overwrite:
        raise Invalid(f"{target} exists; --force replaces it", code="exists")
    if target.exists() and target.samefile(database):
        raise Invalid(f"{target} is the database itself", code="exists")
    with fresh_file(target) as fresh:
        copy(database, fresh, progress)
        return check(fresh)


def copy(database: Path, fresh: Path, progress: Progress) -> None:
    """Copy the database into an empty file, as it is at this instant, and make the copy one plain file."""
    with (
        _errors(f"{database} cannot be copied"),
        opened(database) as source,
        opened(fresh) as copied,
    ):
        copied.execute("PRAGMA synchronous = OFF")  # whoever puts it in its place syncs it
        (page,) = source.execute("PRAGMA page_size").fetchone()
        # This transaction is what makes it one instant: without it, each write of the relay starts the copy anew.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        source.backup(
            copied,
            pages=_PAGES,
            progress=lambda _status, left, pages: progress((pages - left) * page, pages * page),
        )
        source.execute("COMMIT")
        copied.execute("PRAGMA journal_mode = DELETE")


def check(file: Path) -> Summary:
    """Look through a copy: that it is a relay's, that its schema is one we know, that nothing in it is damaged.

    Raises:
        Invalid: it is not (codes ``not_a_relay_database``, ``damaged``).
        RelayError: it cannot be read, or is from a newer version (codes ``backup_failed``, ``store_too_new``).

    """
    try:
        with _errors(f"{file} cannot be read"), opened(file) as connection:
            (schema,) = connection.execute("PRAGMA user_version").fetchone()
            present = _schema_of(connection)
            ours = {"agents", "inbox", "messages"} <= {name for name, _ in present}
            if not ours or present != _schema_of_version(schema):
                raise Invalid(f"{file} is not a relay's database", code="not_a_relay_database")
            faults = [row[0] for row in connection.execute("PRAGMA integrity_check(3)") if row[0] != "ok"]
            faults += [f"{row[0]} without {row[2]}" for row in connection.execute("PRAGMA foreign_key_check")]
            if faults:
                raise Invalid(f"{file} is damaged: {'; '.join(faults[:3])}", code="damaged")
            return _summary(connection, schema, file.stat().st_size)
    except RelayError as error:
        if _is_damage(error.__cause__):
            raise Invalid(f"{file} is damaged, or no database: {error.__cause__}", code="damaged") from None
        raise


def restore(backup: Path, database: Path, *, aside: str, progress: Progress) -> tuple[Summary, Path | None]:
    """Put a copy in the place of `database`; answer what it holds and where the old file is now.

    The caller owns `database`. The old one is kept beside it, `aside` appended to its name; it stays in its place
    until the new one takes it, so that there is a whole database there at every moment.

    Raises:
        Invalid: `backup` is not a whole copy of a relay's database.
        RelayError: reading or writing failed.

    """
    if database.exists() and backup.exists() and backup.samefile(database):
        raise Invalid(f"{backup} is the database itself", code="exists")
    check(backup)
    with fresh_file(database) as fresh:
        copy(backup, fresh, progress)
        with _errors(f"{fresh} cannot be written"), opened(fresh) as connection:
            migrate(connection)
            resume_elsewhere(connection)
        summary = check(fresh)
        with _errors(f"{database} cannot be kept aside"):
            kept = _keep(database, database.with_name(database.name + aside))
    return summary, kept


def resume_elsewhere(connection: sqlite3.Connection) -> None:
    """Prepare a copy for clients that may have seen more of the room than it holds.

    Every id goes on beyond any that was given out since, so no cursor and no Last-Event-ID skips what comes, and no
    new message bears the id of one that is lost. The event log begins anew: whoever followed it hears of a gap. Every
    agent has to register again. An open delivery may have been made since: it counts as handed off once more, which
    makes its program look before it delivers it a second time. Tickets for other machines are void; what was asked and not
    answered has expired.
    """
    connection.execute("BEGIN IMMEDIATE")
    counted = [
        row[0]
        for row in connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%'"
        )
    ]
    given = dict(connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
    connection.execute("DELETE FROM sqlite_sequence")
    connection.executemany(
        "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)",
        [(name, given.get(name, 0) + STEP) for name in counted],
    )
    connection.execute("UPDATE event_log SET trimmed_to = ?", (given.get("events", 0) + STEP,))
    for statement in FORGET:
        connection.execute(statement)
    connection.execute("COMMIT")


@contextmanager
def fresh_file(target: Path) -> Iterator[Path]:
    """Give an empty file, mode 0600, that becomes `target` when the block ends well, and is gone if it does not.

    It is synced to disk before it takes the name, and the name after it.
    """
    with _errors(f"{target} cannot be written"):
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
        os.close(descriptor)
    fresh = Path(name)
    try:
        yield fresh
        with _errors(f"{target} cannot be written"):
            _sync(fresh)
            fresh.replace(target)
            _sync(target.parent)
    finally:
        for suffix in _SUFFIXES:
            Path(name + suffix).unlink(missing_ok=True)


def _keep(database: Path, kept: Path) -> Path | None:
    """Keep a database under another name as well, with what stands in its write-ahead log."""
    if not database.exists():
        return None
    # Only where it can be read at all: opening a damaged one for writing would throw its log away.
    with suppress(sqlite3.Error), opened(database, "mode=ro&immutable=1") as connection:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        with opened(database) as writer:
            writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the last to close removes the log
    for suffix in ("-wal", ""):
        if (part := Path(f"{database}{suffix}")).exists():
            _second_name(part, Path(f"{kept}{suffix}"))
    # A log that could not be folded in must not be taken for the new database's.
    for suffix in ("-wal", "-shm"):
        Path(f"{database}{suffix}").unlink(missing_ok=True)
    return kept


def _second_name(file: Path, name: Path) -> None:
    try:
        name.hardlink_to(file)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        shutil.copy2(file, name)
        _sync(name)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def opened(path: Path, mode: str = "mode=rw") -> Iterator[sqlite3.Connection]:
    """Open a database that is there. `mode` is SQLite's, of a URI."""
    # Not mode=ro, which leaves the files of a write-ahead log behind. No database is made where none is.
    uri = f"{path.absolute().as_uri()}?{mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=10)
    try:
        yield connection
    finally:
        connection.close()


def _is_damage(error: BaseException | None) -> bool:
    # Extended codes carry the primary one in their low byte.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}


@contextmanager
def _errors(what: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise RelayError(f"{what}: {error}", code="backup_failed") from error


def _schema_of(connection: sqlite3.Connection) -> set[tuple[str, str]]:
    return set(connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL"))


def _schema_of_version(version: int) -> set[tuple[str, str]]:
    """The schema as the migrations make it.

    Raises:
        RelayError: this version is not known here (code ``store_too_new``).

    """
    known = [migration for migration in all_migrations() if migration.number <= version]
    if len(known) < version:
        raise RelayError(
            f"a newer trio-relay has worked with this database (schema {version}; this one knows up to {len(known)}): "
            "upgrade this one",
            code="store_too_new",
        )
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        if known:
            migrate(connection, known)
        return _schema_of(connection)
    finally:
        connection.close()


def _summary(connection: sqlite3.Connection, schema: int, size: int) -> Summary:
    (agents,) = connection.execute("SELECT count(*) FROM agents").fetchone()
    messages, newest = connection.execute("SELECT count(*), coalesce(max(id), 0) FROM messages").fetchone()
    return Summary(schema, size, agents, messages, newest)
