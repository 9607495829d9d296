"""Every engine does what a store must; SQLite with its work in threads and straight through."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import trio

from support.check_store import CHECKS, Check
from support.relay import inline
from trio_relay.store import RunSync, Store, open_store

threads = trio.to_thread.run_sync


@pytest.mark.parametrize(
    ("engine", "run_sync"),
    [("sqlite", threads), ("sqlite", inline), ("postgres", threads)],
    ids=["sqlite-threads", "sqlite-inline", "postgres"],
)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_every_store(check: Check, run_sync: RunSync, database: str | None, tmp_path: Path) -> None:
    def make(_: str) -> AbstractAsyncContextManager[Store]:
        return open_store(database or tmp_path / "relay.db", run_sync=run_sync)

    with trio.fail_after(60):  # a store that loses a waiter would hang
        await check(make)
