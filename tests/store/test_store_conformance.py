"""The SQLite store does what every store must, with its work in threads and straight through."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import trio

from support.check_store import CHECKS, Check, Store
from support.relay import inline
from trio_relay.store import open_store
from trio_relay.store.sqlite import RunSync


@pytest.mark.parametrize("run_sync", [trio.to_thread.run_sync, inline], ids=["threads", "inline"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_sqlite(check: Check, run_sync: RunSync, tmp_path: Path) -> None:
    def make(name: str) -> AbstractAsyncContextManager[Store]:
        return open_store(tmp_path / f"{name}.db", run_sync=run_sync)

    with trio.fail_after(60):  # a store that loses a waiter would hang
        await check(make)
