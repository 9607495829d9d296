"""A copy is the room at one instant, whole or not there; and it can be put back, also when everything goes wrong."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import trio

from support.check_store import bodies, joining, sending
from support.relay import inline
from trio_relay.errors import Invalid, RelayError
from trio_relay.store import open_store
from trio_relay.store.backup import Summary, back_up, check, restore
from trio_relay.store.migrations import all_migrations, migrate

ASIDE = ".aside"


def ignore(_done: int, _of: int) -> None:
    """Nobody watches."""


def files(directory: Path) -> set[str]:
    return {file.name for file in directory.iterdir() if file.suffix != ".lock"}


@pytest.fixture
async def database(tmp_path: Path) -> Path:
    """A room nobody has open: bob, and three messages to him."""
    path = tmp_path / "relay.db"
    async with open_store(path, run_sync=inline) as store:
        await store.write(joining("bob"))
        for number in range(3):
            await store.write(sending(f"message {number}"))
    return path


async def kept(path: Path) -> list[str]:
    async with open_store(path, run_sync=inline) as store:
        return await bodies(store)


async def test_a_copy_is_one_instant_whatever_is_written_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    seen: list[int] = []
    async with open_store(path, run_sync=inline) as store:
        await store.write(joining("bob"))
        for _ in range(30):
            await store.write(sending("x" * 1_000_000))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:

            def write_and_note(done: int, _of: int) -> None:
                assert not seen or done > seen[-1], "the copy began anew"
                seen.append(done)
                sending("meanwhile")(other)

            other.row_factory = sqlite3.Row
            summary = back_up(path, tmp_path / "copy.db", progress=write_and_note)
        assert (summary.messages, summary.newest_message) == (30, 30)
        assert len(await bodies(store)) == 30 + len(seen)
    assert len(seen) > 3


async def test_copies_taken_under_load_are_consistent(tmp_path: Path) -> None:
    """Each holds all that was accepted before it began, nothing in halves."""
    path = tmp_path / "relay.db"
    accepted: list[int] = []
    copies: list[tuple[int, Path]] = []
    async with open_store(path) as store, trio.open_nursery() as nursery:
        await store.write(joining("bob"))

        async def talk() -> None:
            while True:
                accepted.append(await store.write(sending("x" * 2000)))

        for _ in range(4):
            nursery.start_soon(talk)
        for number in range(5):
            before, copy = len(accepted), tmp_path / f"copy-{number}.db"
            await trio.to_thread.run_sync(partial(back_up, path, copy, progress=ignore))
            copies.append((before, copy))
        nursery.cancel_scope.cancel()
    assert copies[-1][0] > copies[0][0]
    for before, copy in copies:
        with closing(sqlite3.connect(copy)) as opened:
            ids = [row[0] for row in opened.execute("SELECT id FROM messages ORDER BY id")]
            queued = [row[0] for row in opened.execute("SELECT message_id FROM inbox ORDER BY 1")]
            (told,) = opened.execute("SELECT count(*) FROM events WHERE type = 'message.new'").fetchone()
        assert ids == queued == list(range(1, len(ids) + 1))
        assert told == len(ids) >= before


async def test_what_was_kept_is_there_again_and_the_old_file_too(database: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copies" / "monday.db"
    copy.parent.mkdir()
    summary = back_up(database, copy, progress=ignore)
    assert summary == Summary(len(all_migrations()), copy.stat().st_size, 1, 3, 3)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    before = copy.read_bytes()
    async with open_store(database, run_sync=inline) as store:
        await store.write(sending("said later"))
    restored, old = restore(copy, database, aside=ASIDE, progress=ignore)
    assert (restored.messages, restored.agents) == (3, 1)
    assert old == Path(f"{database}{ASIDE}")
    assert copy.read_bytes() == before
    assert files(copy.parent) == {"monday.db"}
    assert files(tmp_path) == {"copies", "relay.db", "relay.db.aside"}
    assert stat.S_IMODE(database.stat().st_mode) == 0o600
    assert await kept(database) == ["message 0", "message 1", "message 2"]
    assert (await kept(old))[3:] == ["said later"]


async def test_a_room_that_was_killed_is_copied_with_what_its_log_holds(tmp_path: Path) -> None:
    """Everything accepted is in the write-ahead log, nothing in the file yet; both at once are one room."""
    path, killed = tmp_path / "relay.db", tmp_path / "killed"
    killed.mkdir()
    async with open_store(path, run_sync=inline) as store:
        await store.write(joining("bob"))
        await store.write(sending("in the log"))
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", killed / f"relay.db{suffix}")
    assert back_up(killed / "relay.db", tmp_path / "copy.db", progress=ignore).messages == 1
    _, old = restore(tmp_path / "copy.db", killed / "relay.db", aside=ASIDE, progress=ignore)
    assert files(killed) == {"relay.db", "relay.db.aside"}
    assert old is not None
    assert await kept(old) == ["in the log"]


async def test_a_damaged_database_gives_way_and_is_kept(database: Path, tmp_path: Path) -> None:
    back_up(database, tmp_path / "copy.db", progress=ignore)
    database.write_bytes(b"\0" * 50_000)
    Path(f"{database}-wal").write_bytes(b"left over")
    restore(tmp_path / "copy.db", database, aside=ASIDE, progress=ignore)
    assert files(tmp_path) == {"copy.db", "relay.db", "relay.db.aside", "relay.db.aside-wal"}
    assert Path(f"{database}{ASIDE}").read_bytes() == b"\0" * 50_000
    assert await kept(database) == ["message 0", "message 1", "message 2"]


async def test_a_copy_of_an_older_version_is_brought_up_to_date(database: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    with closing(sqlite3.connect(old, isolation_level=None)) as connection:
        migrate(connection, all_migrations()[:1])
        connection.execute(
            "INSERT INTO messages (sender, target, body, thread_id, hop, claimable, type, meta, created_at)"
            " VALUES ('ann', 'bob', 'from long ago', 1, 0, 0, 'message', '{}', 1)"
        )
    assert check(old).schema == 1
    restored, _ = restore(old, database, aside=ASIDE, progress=ignore)
    assert (restored.schema, restored.messages) == (len(all_migrations()), 1)


def not_a_database(path: Path) -> None:
    path.write_bytes(b"this is a text, and a long one" * 200)


def empty(path: Path) -> None:
    path.touch()


def of_another_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE messages (id)")


def with_a_table_more(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (id)")


def cut_off(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def overwritten(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8192:12288] = bytes(4096)
    path.write_bytes(content)


def without_a_parent(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE inbox SET message_id = 99 WHERE message_id = 1")
        connection.commit()


def of_tomorrow(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 9999")


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (not_a_database, "damaged"),
        (empty, "not_a_relay_database"),
        (of_another_program, "not_a_relay_database"),
        (with_a_table_more, "not_a_relay_database"),
        (cut_off, "damaged"),
        (overwritten, "damaged"),
        (without_a_parent, "damaged"),
        (of_tomorrow, "store_too_new"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_what_is_no_whole_copy_is_refused_and_the_room_left_alone(
    database: Path, tmp_path: Path, spoil: Callable[[Path], None], code: str
) -> None:
    copy = tmp_path / "copy.db"
    if spoil not in {not_a_database, empty, of_another_program}:
        back_up(database, copy, progress=ignore)
    spoil(copy)
    before = database.read_bytes()
    with pytest.raises(RelayError, match=r"copy\.db|9999") as refused:
        restore(copy, database, aside=ASIDE, progress=ignore)
    assert refused.value.code == code
    assert database.read_bytes() == before
    assert files(tmp_path) == {"relay.db", "copy.db"}


async def test_nothing_is_overwritten_unasked(database: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    copy.write_text("something else")
    with pytest.raises(Invalid, match="exists"):
        back_up(database, copy, progress=ignore)
    assert copy.read_text() == "something else"
    assert back_up(database, copy, overwrite=True, progress=ignore).messages == 3
    for attempt in (
        lambda: back_up(database, database, overwrite=True, progress=ignore),
        lambda: restore(database, database, aside=ASIDE, progress=ignore),
    ):
        with pytest.raises(Invalid, match="itself"):
            attempt()
    assert len(await kept(database)) == 3


class _Stopped(Exception):  # noqa: N818
    pass


async def test_what_is_stopped_half_way_leaves_nothing_behind(database: Path, tmp_path: Path) -> None:
    def stop(_done: int, _of: int) -> None:
        raise _Stopped

    copy = tmp_path / "copy.db"
    with pytest.raises(_Stopped):
        back_up(database, copy, progress=stop)
    assert files(tmp_path) == {"relay.db"}
    back_up(database, copy, progress=ignore)
    before = database.read_bytes()
    with pytest.raises(_Stopped):
        restore(copy, database, aside=ASIDE, progress=stop)
    assert files(tmp_path) == {"relay.db", "copy.db"}
    assert database.read_bytes() == before


async def test_a_disk_that_is_full_leaves_nothing_behind(database: Path, tmp_path: Path) -> None:
    """The system lets the process write 64 KiB a file."""
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from trio_relay.errors import RelayError\n"
        "from trio_relay.store.backup import back_up\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        "try:\n"
        "    back_up(Path(sys.argv[1]), Path(sys.argv[2]), progress=lambda done, of: None)\n"
        "except RelayError as error:\n"
        "    print(error.code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, database, tmp_path / "copy.db"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("backup_failed\n", "", 0)
    assert files(tmp_path) == {"relay.db"}


async def test_a_directory_that_is_not_there_is_named(database: Path, tmp_path: Path) -> None:
    with pytest.raises(RelayError, match="nowhere") as failed:
        back_up(database, tmp_path / "nowhere" / "copy.db", progress=ignore)
    assert failed.value.code == "backup_failed"


@pytest.mark.parametrize("step", ["hardlink_to", "unlink", "replace"])
async def test_whatever_step_of_a_restore_is_the_last_there_is_a_whole_database(
    database: Path, tmp_path: Path, step: str
) -> None:
    """The process ends like a killed one at its first call of `step`, with nothing done that it would do."""
    copy = tmp_path / "copy.db"
    back_up(database, copy, progress=ignore)
    async with open_store(database, run_sync=inline) as store:
        await store.write(sending("said later"))
        for suffix in ("", "-wal"):  # a relay that was killed, too
            shutil.copy(f"{database}{suffix}", tmp_path / f"killed.db{suffix}")
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from trio_relay.store.backup import restore\n"
        "setattr(Path, sys.argv[3], lambda *args, **kwargs: os._exit(9))\n"
        "restore(Path(sys.argv[1]), Path(sys.argv[2]), aside='.aside', progress=lambda done, of: None)\n"
    )
    killed = tmp_path / "killed.db"
    command = [sys.executable, "-c", script, str(copy), str(killed), step]
    assert subprocess.run(command, check=False).returncode == 9
    assert (await kept(killed))[-1] == "said later"
