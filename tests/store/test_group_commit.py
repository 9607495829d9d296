"""Group commit: who waits is committed together, nobody hears before COMMIT has returned, a failed one leaves nothing."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from support.check_store import bodies, failing_after, inbox, joining, sending
from support.relay import inline
from trio_relay.errors import NotFound, Unavailable
from trio_relay.store import SqliteStore, open_sqlite
from trio_relay.store.sqlite import MAX_BATCH, READERS

T = TypeVar("T")


@dataclass
class Gate:
    """Stand in for a thread hop whose work is done but whose answer is on its way until `open`."""

    open: trio.Event = field(default_factory=trio.Event)
    hops: list[str] = field(default_factory=list)

    async def __call__(self, function: Callable[..., T], *args: Any) -> T:
        self.hops.append(function.__name__)
        result = await inline(function, *args)
        await self.open.wait()
        return result


@asynccontextmanager
async def traced(path: Path, **options: Any) -> AsyncIterator[tuple[SqliteStore, list[str]]]:
    """A store with bob in it, and what its writer tells SQLite from here on."""
    async with open_sqlite(path / "relay.db", run_sync=options.pop("run_sync", inline)) as store:
        await store.write(joining("bob"))
        await wait_all_tasks_blocked()
        statements: list[str] = []
        store._writer.set_trace_callback(statements.append)
        yield store, statements


def transactions(statements: list[str]) -> list[str]:
    """BEGIN, COMMIT and ROLLBACK as they came."""
    return [word for line in statements if (word := line.split()[0]) in {"BEGIN", "COMMIT", "ROLLBACK"}]


async def test_nobody_hears_before_the_commit_has_returned(tmp_path: Path) -> None:
    async with traced(tmp_path) as (store, statements):
        await store.write(sending("one"), after=lambda _: statements.append("AFTER"))
        statements.append("HEARD")
    order = [line for line in statements if line in {"COMMIT", "AFTER", "HEARD"}]
    assert order == ["COMMIT", "AFTER", "HEARD"]


async def test_nobody_hears_while_the_commit_is_on_its_way(tmp_path: Path) -> None:
    gate = Gate()
    gate.open.set()
    async with traced(tmp_path, run_sync=gate) as (store, _), trio.open_nursery() as nursery:
        heard: list[str] = []

        async def write(body: str) -> None:
            await store.write(sending(body), after=lambda _: heard.append(f"after {body}"))
            heard.append(f"accepted {body}")

        async def fail() -> None:
            with pytest.raises(NotFound):
                await store.write(failing_after(sending("lost"), NotFound("nobody")))
            heard.append("refused")

        gate.open = trio.Event()
        nursery.start_soon(write, "one")
        nursery.start_soon(fail)
        await wait_all_tasks_blocked()
        heard_early = list(heard)
        gate.open.set()
        await wait_all_tasks_blocked()
        assert heard_early == []
        assert sorted(heard) == ["accepted one", "after one", "refused"]


async def test_who_waits_while_another_commits_shares_the_next_commit(tmp_path: Path) -> None:
    gate = Gate()
    gate.open.set()
    async with traced(tmp_path, run_sync=gate) as (store, statements), trio.open_nursery() as nursery:
        gate.open = trio.Event()
        nursery.start_soon(store.write, sending("first"))
        await wait_all_tasks_blocked()
        for number in range(20):
            nursery.start_soon(store.write, sending(str(number)))
        await wait_all_tasks_blocked()
        gate.open.set()
    assert transactions(statements) == ["BEGIN", "COMMIT"] * 2


async def test_one_commit_takes_no_more_than_its_bound(tmp_path: Path) -> None:
    async with traced(tmp_path) as (store, statements):
        async with trio.open_nursery() as nursery:
            for _ in range(MAX_BATCH + 1):
                nursery.start_soon(store.write, lambda _: None)
        assert transactions(statements) == ["BEGIN", "COMMIT"] * 2


async def test_the_writer_tells_of_every_commit(tmp_path: Path) -> None:
    async with traced(tmp_path) as (store, _):
        sizes: list[int] = []
        store.on_commit = lambda size, _seconds: sizes.append(size)
        async with trio.open_nursery() as nursery:
            for number in range(7):
                nursery.start_soon(store.write, sending(str(number)))
        await store.write(sending("last"))
        assert sizes == [7, 1]


def breaking_the_commit(connection: sqlite3.Connection) -> None:
    """Leave a row behind that no foreign key can explain: COMMIT itself will fail."""
    connection.execute("PRAGMA defer_foreign_keys = ON")
    connection.execute("INSERT INTO open_targets (target, message_id, kind) VALUES ('x', 999, 'parked')")


async def test_when_the_commit_fails_all_hear_so_and_nothing_is_half_written(tmp_path: Path) -> None:
    async with traced(tmp_path) as (store, statements):
        heard: list[str] = []

        async def write(operation: Callable[[Any], Any]) -> None:
            with pytest.raises(Unavailable) as failed:
                await store.write(operation, after=lambda _: heard.append("after"))
            assert failed.value.code == "unavailable"

        async with trio.open_nursery() as nursery:
            for operation in (sending("one"), breaking_the_commit, sending("two")):
                nursery.start_soon(write, operation)
        assert transactions(statements) == ["BEGIN", "COMMIT", "ROLLBACK"]
        assert heard == []
        assert await bodies(store) == []
        await store.write(sending("three"))
        assert await bodies(store) == ["three"]


async def test_a_disk_that_is_full_is_weather_and_passes(tmp_path: Path) -> None:
    async with traced(tmp_path) as (store, _):
        (pages,) = store._writer.execute("PRAGMA page_count").fetchone()
        store._writer.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(Unavailable, match="full"):
            await store.write(sending("x" * 1_000_000))
        assert await bodies(store) == []
        store._writer.execute("PRAGMA max_page_count = 1000000")
        await store.write(sending("small"))
        assert await bodies(store) == ["small"]


async def test_a_file_somebody_else_has_locked_is_weather_and_passes(tmp_path: Path) -> None:
    async with traced(tmp_path) as (store, _):
        store._writer.execute("PRAGMA busy_timeout = 0")
        other = sqlite3.connect(store.path, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable, match="locked"):
                await store.write(sending("one"))
            assert await bodies(store) == []
            other.execute("ROLLBACK")
            await store.write(sending("two"))
            assert await bodies(store) == ["two"]
        finally:
            other.close()


async def test_a_bug_in_sql_is_no_weather(tmp_path: Path) -> None:
    async with traced(tmp_path) as (store, _):
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            await store.write(lambda connection: connection.execute("SELECT * FROM nowhere"))
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            await store.read(lambda connection: connection.execute("SELECT * FROM nowhere"))
        with pytest.raises(sqlite3.IntegrityError):
            await store.write(
                lambda connection: connection.execute(
                    "INSERT INTO agent_selectors (selector, agent_id) VALUES ('x', 'ghost')"
                )
            )


async def test_a_commit_outlives_the_cancellation_of_everything(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Nothing is abandoned half-way: what had begun is finished, with `after`, before the store closes."""
    heard: list[int] = []
    began = trio.Event()

    async def slow(function: Callable[..., T], *args: Any) -> T:
        began.set()
        await trio.sleep(1)
        return function(*args)

    with trio.move_on_after(0.5):
        async with open_sqlite(tmp_path / "relay.db", run_sync=slow) as store, trio.open_nursery() as nursery:
            nursery.start_soon(store.write, joining("bob"))
            await began.wait()
            for number in range(3):
                nursery.start_soon(lambda n: store.write(sending(str(n)), after=heard.append), number)
            await trio.sleep_forever()
    assert trio.current_time() == 2  # the commit that ran, and one more for those who waited
    assert len(heard) == 3
    async with open_sqlite(tmp_path / "relay.db", run_sync=inline) as store:
        assert sorted(await bodies(store)) == ["0", "1", "2"]


async def test_what_comes_in_the_moment_of_closing_is_committed_or_refused(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Never left waiting. Which of the two it is hangs on who runs first, so it is tried a few times."""
    committed: list[str] = []

    async def write(store: SqliteStore, body: str, now: trio.Event) -> None:
        await now.wait()
        with suppress(Unavailable):
            await store.write(sending(body))
            committed.append(body)

    with trio.fail_after(1):
        for number in range(30):
            now = trio.Event()
            opened = open_sqlite(tmp_path / "relay.db", run_sync=inline)
            async with trio.open_nursery() as nursery, opened as store:
                await store.write(joining("bob"))
                nursery.start_soon(write, store, str(number), now)
                await wait_all_tasks_blocked()
                now.set()
    async with open_sqlite(tmp_path / "relay.db", run_sync=inline) as store:
        assert await bodies(store) == committed


async def test_a_read_sees_one_snapshot_however_long_it_takes(tmp_path: Path) -> None:
    async with traced(tmp_path, run_sync=trio.to_thread.run_sync) as (store, _):
        looked = trio.Event()
        counts: list[int] = []

        def look_twice(connection: sqlite3.Connection) -> None:
            for _ in range(2):
                counts.append(connection.execute("SELECT count(*) FROM messages").fetchone()[0])
                trio.from_thread.run_sync(looked.set)
                if len(counts) == 1:
                    trio.from_thread.run(written.wait)

        written = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.read, look_twice)
            await looked.wait()
            await store.write(sending("meanwhile"))
            written.set()
        assert counts == [0, 0]
        assert await bodies(store) == ["meanwhile"]


async def test_reads_share_a_few_connections(tmp_path: Path) -> None:
    async with traced(tmp_path, run_sync=trio.to_thread.run_sync) as (store, _):
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(inbox, store)
        assert len(store._idle_readers) <= READERS


async def test_a_cancelled_read_gives_its_connection_back(tmp_path: Path) -> None:
    async with traced(tmp_path, run_sync=trio.to_thread.run_sync) as (store, _):
        for _ in range(2 * READERS):
            with trio.CancelScope() as scope:
                scope.cancel()
                await store.read(lambda _: None)
        async with trio.open_nursery() as nursery:
            for _ in range(READERS):
                nursery.start_soon(inbox, store)
        assert len(store._idle_readers) <= READERS


async def test_durable_means_synced(tmp_path: Path) -> None:
    """WAL with ``synchronous`` 2 (FULL): each commit waits for the log to be on the disk."""
    async with traced(tmp_path) as (store, _):
        assert store._writer.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert store._writer.execute("PRAGMA synchronous").fetchone()[0] == 2
        assert store._writer.execute("PRAGMA foreign_keys").fetchone()[0] == 1
        readers = await store.read(
            lambda connection: [
                connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("query_only", "foreign_keys")
            ]
        )
        assert readers == [1, 1]
