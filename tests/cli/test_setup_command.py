"""``trio-relay setup``: one file, made whole or not at all, and a relay and commands that use it."""

import json
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from support.commands import call, clean_environment, serving_relay
from trio_relay.cli.shared.env_file import read_env_file
from trio_relay.store.migrations import migrate

CONFIG = Path(".config") / "trio-relay" / "relay.env"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, for commands in this process."""
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "AGENT_RELAY_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_relay_is_set_up_and_found_without_a_word_about_its_token(home: Path) -> None:
    done = call("setup", "--yes", "--port", "4999")
    assert (done.exit_code, done.stderr) == (0, "")
    file = home / CONFIG
    values = read_env_file(file)
    token = values["AGENT_RELAY_TOKEN"]
    assert (mode(file), mode(file.parent)) == (0o600, 0o700)
    assert len(token) == 43
    assert token not in done.stdout
    database = home / ".local/share/trio-relay/relay.db"
    assert (values["HOST"], values["PORT"], values["DB_PATH"]) == ("127.0.0.1", "4999", str(database))
    assert f"serve --env-file {file}" in done.stdout
    assert "export AGENT_RELAY_URL=http://127.0.0.1:4999" in done.stdout

    with serving_relay("--env-file", str(file), env=clean_environment(home), cwd=home) as relay:
        # It listens elsewhere than the file says, for the test's sake: --port 0.
        file.write_text(file.read_text().replace("4999", relay.url.rpartition(":")[2]))
        here = {"AGENT_RELAY_URL": relay.url}
        assert call("agents", env=here).exit_code == 0
        assert call("agents", env={**here, "AGENT_RELAY_TOKEN": "x"}).exit_code == 3
        assert database.exists()
        assert relay.stop() == 0
    assert token not in (home / "serve.log").read_text()


def test_nothing_is_written_unasked(home: Path) -> None:
    assert call("setup", "--dry-run").exit_code == 0
    nobody = call("setup")
    assert (nobody.exit_code, nobody.stderr) == (2, "trio-relay: nobody can be asked here: say --yes\n")
    assert list(home.iterdir()) == []


def test_nothing_is_replaced_unasked_and_a_token_in_use_stays(home: Path) -> None:
    file = home / CONFIG
    assert call("setup", "--yes").exit_code == 0
    file.write_text(file.read_text() + "RETENTION_DAYS=7\n")
    before = read_env_file(file)
    again = call("setup", "--yes")
    assert (again.exit_code, read_env_file(file)) == (2, before)
    assert "--force" in again.stderr

    other = call("setup", "--yes", "--force", "--host", "0.0.0.0")
    assert other.exit_code == 0
    assert "docs/security.md" in other.stdout
    assert read_env_file(file) == before | {"HOST": "0.0.0.0"}
    assert call("setup", "--yes", "--force", "--new-token").exit_code == 0
    assert read_env_file(file)["AGENT_RELAY_TOKEN"] != before["AGENT_RELAY_TOKEN"]
    assert [each.name for each in file.parent.iterdir()] == ["relay.env"]


def test_no_secret_that_is_there_is_printed(home: Path) -> None:
    assert call("setup", "--yes").exit_code == 0
    file = home / CONFIG
    file.write_text(file.read_text() + "DATABASE_URL=postgresql://relay:hunter2@db/relay\n")
    token = read_env_file(file)["AGENT_RELAY_TOKEN"]
    for how in ("--dry-run", "--yes"):
        done = call("setup", "--force", how)
        assert done.exit_code == 0
        assert "DATABASE_URL=(as it is now)" in done.stdout
        assert not any(secret in done.stdout + done.stderr for secret in ("hunter2", token))
    assert read_env_file(file)["DATABASE_URL"].endswith("hunter2@db/relay")


def test_what_is_not_named_stays_when_the_file_is_changed(home: Path) -> None:
    """Another token must not move the room to another place."""
    chosen = ("--host", "10.0.0.5", "--port", "4999", "--db", str(home / "mine.db"))
    assert call("setup", "--yes", *chosen).exit_code == 0
    before = read_env_file(home / CONFIG)
    assert call("setup", "--yes", "--force", "--new-token").exit_code == 0
    after = read_env_file(home / CONFIG)
    assert after.pop("AGENT_RELAY_TOKEN") != before.pop("AGENT_RELAY_TOKEN")
    assert after == before


def test_of_two_databases_the_one_chosen_last_counts(home: Path) -> None:
    """The relay takes a PostgreSQL before a file: the one that is not meant any more may not stay in the settings."""

    def database() -> dict[str, str]:
        return {
            name: value
            for name, value in read_env_file(home / CONFIG).items()
            if name in {"DB_PATH", "DATABASE_URL"}
        }

    url = "postgresql://relay:hunter2@db/relay"
    assert call("setup", "--yes", "--db", str(home / "mine.db")).exit_code == 0
    moved = call("setup", "--yes", "--force", "--database", url)
    assert (moved.exit_code, database()) == (0, {"DATABASE_URL": url})
    assert "hunter2" not in moved.stdout + moved.stderr
    assert call("setup", "--yes", "--force").exit_code == 0
    assert database() == {"DATABASE_URL": url}
    assert call("setup", "--yes", "--force", "--db", str(home / "mine.db")).exit_code == 0
    assert database() == {"DB_PATH": str(home / "mine.db")}
    before = read_env_file(home / CONFIG)
    for wrong in (("--db", "a", "--database", url), ("--database", "mysql://x"), ("--database", "relay.db")):
        assert call("setup", "--yes", "--force", *wrong).exit_code == 2
    assert read_env_file(home / CONFIG) == before


def test_a_script_sets_it_up_and_reads_where(home: Path) -> None:
    told = call("setup", "--json", "--dry-run")
    file, database = str(home / CONFIG), str(home / ".local/share/trio-relay/relay.db")
    where = {"file": file, "url": "http://127.0.0.1:4850", "database": database}
    assert json.loads(told.stdout) == {**where, "written": False}
    assert not (home / CONFIG).exists()
    unasked = call("setup", "--json")
    assert (unasked.exit_code, unasked.stdout) == (2, "")
    assert json.loads(call("setup", "--json", "--yes").stdout) == {**where, "written": True}
    there = json.loads(call("setup", "--json", "--yes", "--force", "--host", "::", "--port", "5000").stdout)
    assert there["url"] == "http://[::1]:5000"


def test_who_looks_after_the_database_finds_it(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DB_PATH", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    elsewhere, other = tmp_path / "rooms" / "mine.db", tmp_path / "other.db"
    assert call("setup", "--yes", "--db", str(elsewhere)).exit_code == 0
    elsewhere.parent.mkdir()
    for path in (elsewhere, other):
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            migrate(connection)
    assert str(elsewhere) in call("db", "check").stdout
    assert call("backup", str(home / "copy.db")).exit_code == 0
    monkeypatch.setenv("DB_PATH", str(other))
    assert str(other) in call("db", "check").stdout
