"""Every engine does what a store must, with its work in threads and straight through."""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import trio

from support.check_store import CHECKS, Check
from support.relay import inline
from trio_relay.store import RunSync, Store, open_store


@pytest.fixture(params=["sqlite", "postgres"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A new database: the path of a file, or the URL of a PostgreSQL."""
    if request.param == "sqlite":
        yield str(tmp_path / "relay.db")
    else:
        yield request.getfixturevalue("postgres_url")


@pytest.mark.parametrize("run_sync", [trio.to_thread.run_sync, inline], ids=["threads", "inline"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_every_store(check: Check, run_sync: RunSync, target: str) -> None:
    def make(_: str) -> AbstractAsyncContextManager[Store]:
        return open_store(target, run_sync=run_sync)

    with trio.fail_after(60):  # a store that loses a waiter would hang
        await check(make)
