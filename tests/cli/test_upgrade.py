"""A database of another version: an older one is brought up to date, once; a newer one is refused and left alone."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from support.commands import call, clean_environment, serving_relay
from trio_relay.cli.shared.failures import REFUSED
from trio_relay.store.migrations import all_migrations, migrate

NEWEST = len(all_migrations())


def schema_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        (number,) = connection.execute("PRAGMA user_version").fetchone()
    return int(number)


def content_of(path: Path) -> list[str]:
    """Everything in it."""
    with closing(sqlite3.connect(path)) as connection:
        return [str(schema_of(path)), *connection.iterdump()]


def older(path: Path) -> None:
    """A room as the version before this one has left it, with a message in it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, all_migrations()[:-1])
        connection.execute(
            "INSERT INTO messages (sender, target, body, thread_id, hop, claimable, type, meta, created_at)"
            " VALUES ('ann', 'bob', 'from before', 1, 0, 0, 'message', '{}', ?)",
            (round(time.time() * 1000),),
        )


def test_a_relay_brings_the_room_of_the_version_before_up_to_date(tmp_path: Path) -> None:
    room = tmp_path / "relay.db"
    older(room)
    assert schema_of(room) == NEWEST - 1
    with serving_relay("--db", str(room), env=clean_environment(tmp_path), cwd=tmp_path) as relay:
        shown = call("history", env={"AGENT_RELAY_URL": relay.url})
        assert "from before" in shown.stdout
        assert relay.stop() == 0
    assert schema_of(room) == NEWEST
    assert call("db", "migrate", "--db", str(room)).exit_code == 0
    assert schema_of(room) == NEWEST


def test_a_room_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    room = tmp_path / "relay.db"
    older(room)
    with closing(sqlite3.connect(room)) as connection:
        migrate(connection)
        connection.execute("PRAGMA user_version = 999")
    before = content_of(room)
    refused = call("serve", "--port", "0", "--db", str(room))
    assert (refused.exit_code, refused.stdout) == (REFUSED, "")
    assert refused.stderr == (
        f"trio-relay: a newer trio-relay has worked with this database (schema 999; this one knows up to {NEWEST}): "
        "upgrade this one, or put a backup from before back\n"
    )
    for command in (("db", "check"), ("db", "migrate"), ("backup", str(tmp_path / "copy.db"))):
        other = call(*command, "--db", str(room))
        assert other.exit_code == REFUSED
        assert "a newer trio-relay has worked with this database" in other.stderr
    assert content_of(room) == before
    assert not (tmp_path / "copy.db").exists()
