"""``trio-relay db``: an operator brings a schema up to date, looks, and moves a room to PostgreSQL."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from support.commands import call, clean_environment, run_command, serving_relay
from trio_relay.store.migrations import all_migrations, migrate

NEWEST = len(all_migrations())


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A database of the first version."""
    path = tmp_path / "relay.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, all_migrations()[:1])
    return path


def test_an_old_schema_is_said_and_brought_up_to_date(old: Path) -> None:
    behind = call("db", "check", "--db", str(old))
    assert behind.exit_code == 1
    assert behind.stdout.splitlines()[0] == f"{old}: SQLite, schema 1 of {NEWEST}"
    assert behind.stderr == f"trio-relay: its schema is 1, not {NEWEST}: run trio-relay db migrate\n"
    made = call("db", "migrate", "--db", str(old))
    assert made.stdout == f"{old}: {NEWEST - 1} changes made, the schema is up to date\n"
    assert call("db", "check", "--db", str(old)).exit_code == 0
    assert "0 changes made" in call("db", "migrate", "--db", str(old)).stdout
    told = call("db", "migrate", "--db", str(old), "--json").stdout
    assert json.loads(told) == {"database": str(old), "changes": 0}


def test_a_damaged_file_is_a_fault(old: Path) -> None:
    old.write_bytes(old.read_bytes()[:4096] + bytes(old.stat().st_size - 4096))
    damaged = call("db", "check", "--db", str(old))
    assert damaged.exit_code == 1
    assert f"{old} is damaged" in damaged.stderr


def test_a_postgres_is_made_ready_and_looked_at(postgres_url: str) -> None:
    env = {"DATABASE_URL": postgres_url}
    assert call("db", "check", env=env).exit_code == 1
    assert f"{len(all_migrations('postgres'))} changes made" in call("db", "migrate", env=env).stdout
    state = json.loads(call("db", "check", "--json", env=env).stdout)
    assert (state["engine"], state["schema"], state["rows"]["messages"]) == (
        *("PostgreSQL", len(all_migrations("postgres")), 0),
    )
    assert (state["nodes"], state["faults"]) == ([], [])


def test_a_room_moves_once_its_relay_has_stopped(tmp_path: Path, postgres_url: str) -> None:
    file = tmp_path / "relay.db"
    env = clean_environment(tmp_path, DB_PATH=str(file))
    with serving_relay(env=env, cwd=tmp_path) as relay:
        here = env | {"AGENT_RELAY_URL": relay.url}
        for to, sender in (("tag:night", "me"), ("me", "ci")):
            assert call("send", to, "hello", "--from", sender, env=here).exit_code == 0
        busy = run_command("db", "copy", str(file), postgres_url, env=env, cwd=tmp_path)
        assert (busy.returncode, busy.stdout) == (3, "")
        assert "already serves" in busy.stderr
        assert relay.stop() == 0
    done = run_command("db", "copy", str(file), env=env | {"DATABASE_URL": postgres_url}, cwd=tmp_path)
    assert done.returncode == 0, done.stderr  # where it takes long it also says how far it is
    assert "  messages                    2\n" in done.stdout
    assert "every row is there and the same" in done.stdout
    twice = run_command("db", "copy", str(file), postgres_url, env=env, cwd=tmp_path)
    assert (twice.returncode, twice.stdout) == (3, "")
    assert "is not empty" in twice.stderr
    moved = clean_environment(tmp_path, DATABASE_URL=postgres_url)
    with serving_relay(env=moved, cwd=tmp_path) as relay:
        here = moved | {"AGENT_RELAY_URL": relay.url}
        [message] = json.loads(call("inbox", "--agent", "me", "--json", env=here).stdout)
        assert (message["id"], message["body"]) == (2, "hello")
        state = json.loads(call("db", "check", "--json", env=moved).stdout)
        assert len(state["nodes"]) == 1
        assert relay.stop() == 0


def test_a_copy_to_try_it_out_says_what_it_leaves_behind(tmp_path: Path, postgres_url: str) -> None:
    env = clean_environment(tmp_path, DB_PATH=str(tmp_path / "relay.db"))
    with serving_relay(env=env, cwd=tmp_path):
        tried = run_command("db", "copy", "relay.db", postgres_url, "--live", env=env, cwd=tmp_path)
    assert tried.returncode == 0
    assert tried.stdout.endswith("What the relay has accepted in the file since is not there.\n")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("db", "copy", "FILE"), 2, "where to?"),
        (("db", "copy", "FILE", "postgresql://u:secret@127.0.0.1:9/x"), 1, "127.0.0.1:9/x cannot be used"),
        (("db", "copy", "FILE", "mysql://u:secret@h/x"), 1, "the database URL cannot be understood"),
        (("db", "check", "--db", "nothing.db"), 1, "there is no database at"),
        (("db", "migrate", "--db", "nothing.db"), 1, "there is no database at"),
        (("db", "check", "--database", "postgresql://u:secret@127.0.0.1:9/x"), 1, "nothing listens there"),
        (("db", "check", "--db", "a", "--database", "postgresql:///x"), 2, "not both"),
    ],
)
def test_what_cannot_be_done_is_said_without_the_password(
    tmp_path: Path, old: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    call("db", "migrate", "--db", str(old))
    places = {"FILE": str(old), "nothing.db": str(tmp_path / "nothing.db")}
    words = [places.get(word, word) for word in arguments]
    done = call(*words, env={"HOME": str(tmp_path), "DATABASE_URL": ""})
    assert (done.exit_code, done.stdout) == (code, "")
    assert says in done.stderr
    assert "secret" not in done.stderr
    assert {file.suffix for file in tmp_path.iterdir()} <= {".db", ".lock"}
    assert not list(tmp_path.glob("nothing.db*"))


def test_a_postgres_is_not_backed_up_here(tmp_path: Path) -> None:
    refused = call("backup", str(tmp_path / "x.db"), env={"DATABASE_URL": "postgresql:///x"})
    assert refused.exit_code == 2
    assert "pg_dump" in refused.stderr


def test_a_postgres_that_was_put_back_is_said_to_be_ready(postgres_url: str) -> None:
    done = call("db", "restored", env={"DATABASE_URL": postgres_url})
    assert done.stdout.splitlines()[0].endswith("is ready for its clients of before.")
    assert call("db", "check", env={"DATABASE_URL": postgres_url}).exit_code == 0
    assert call("db", "restored", env={"DATABASE_URL": ""}).exit_code == 2
