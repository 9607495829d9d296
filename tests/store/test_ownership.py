"""One relay owns a database file, nobody else can read it, and one that cannot be used is said so."""

import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from support.check_store import bodies, joining, sending
from support.relay import inline
from trio_relay.errors import RelayError, StoreInUse
from trio_relay.store import open_store


async def test_a_second_owner_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    async with open_store(path, run_sync=inline) as store:
        await store.write(joining("bob"))
        with pytest.raises(StoreInUse, match=r"relay\.db"):
            async with open_store(path, run_sync=inline):
                pass
        await store.write(sending("unharmed"))
    async with open_store(path, run_sync=inline) as store:
        assert await bodies(store) == ["unharmed"]


async def test_a_second_process_is_refused_whatever_name_it_uses(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "relay.db")
    script = (
        "import sys, trio\n"
        "from trio_relay.errors import StoreInUse\n"
        "from trio_relay.store import open_store\n"
        "async def main():\n"
        "    async with open_store(sys.argv[1]):\n"
        "        pass\n"
        "try:\n"
        "    trio.run(main)\n"
        "except StoreInUse as refused:\n"
        "    print(refused.code)\n"
    )
    async with open_store(tmp_path / "relay.db", run_sync=inline):
        for name in ("relay.db", "link.db"):
            other = subprocess.run(
                [sys.executable, "-c", script, str(tmp_path / name)],
                capture_output=True,
                text=True,
                check=False,
            )
            assert (other.returncode, other.stdout) == (0, "store_in_use\n"), other.stderr


async def test_the_lock_is_free_again_when_opening_failed(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    path.write_bytes(b"this is no database, and long enough to be read as a header of one" * 20)
    for _ in range(2):
        with pytest.raises(RelayError) as failed:
            async with open_store(path, run_sync=inline):
                pass
        assert failed.value.code == "bad_store"
    path.unlink()
    async with open_store(path, run_sync=inline):
        pass


async def test_nobody_else_can_read_what_was_said(tmp_path: Path) -> None:
    path = tmp_path / "new" / "relay.db"
    async with open_store(path, run_sync=inline) as store:
        await store.write(joining("bob"))
        files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert files["relay.db"] == files["relay.db-wal"] == files["relay.db-shm"] == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_closing_leaves_one_file_to_copy(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    async with open_store(path, run_sync=inline) as store:
        await store.write(joining("bob"))
        await store.write(sending("kept"))
        await bodies(store)
    assert sorted(file.name for file in tmp_path.iterdir() if file.suffix != ".lock") == ["relay.db"]
    copy = sqlite3.connect(path)
    try:
        assert copy.execute("SELECT body FROM messages").fetchall() == [("kept",)]
    finally:
        copy.close()


@pytest.mark.parametrize("what", ["a directory", "below a file"])
async def test_a_path_that_cannot_be_used_is_named(tmp_path: Path, what: str) -> None:
    path = tmp_path / "place"
    if what == "a directory":
        path.mkdir()
    else:
        path.write_text("a file")
        path /= "relay.db"
    with pytest.raises(RelayError, match="place") as failed:
        async with open_store(path, run_sync=inline):
            pass
    assert failed.value.code == "bad_store"


async def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    async with open_store(path, run_sync=inline):
        pass
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 9999")
    newer.close()
    for _ in range(2):
        with pytest.raises(RelayError, match="9999") as failed:
            async with open_store(path, run_sync=inline):
                pass
        assert failed.value.code == "store_too_new"
    kept = sqlite3.connect(path)
    try:
        assert kept.execute("PRAGMA user_version").fetchone() == (9999,)
    finally:
        kept.close()
