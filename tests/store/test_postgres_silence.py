"""A PostgreSQL that hangs: it acknowledges what it is sent and answers nothing. Nobody waits for ever."""

import threading
from typing import Any

import pytest
import trio

from support.check_store import bodies, joining, sending
from trio_relay.errors import Unavailable
from trio_relay.store.postgres import open_postgres
from trio_relay.store.postgres import store as postgres_store


def hang(connection: Any) -> None:
    """The server does not come back within anybody's patience."""
    connection.execute("SET statement_timeout = 0; SET client_connection_check_interval = '100ms'")
    connection.execute("SELECT pg_sleep(60)")


async def test_who_waits_for_a_server_that_hangs_hears_so(
    room_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_postgres(room_url, run_sync=trio.to_thread.run_sync, connections=2) as store:
        await store.write(joining("bob"))
    monkeypatch.setattr(postgres_store, "LONGEST", 0.5)
    monkeypatch.setattr(postgres_store, "PATIENCE", 0.2)
    async with open_postgres(room_url, run_sync=trio.to_thread.run_sync, connections=2) as store:
        with trio.fail_after(60):
            for verb in (store.write, store.read):
                with pytest.raises(Unavailable, match="lost"):
                    await verb(hang)
        monkeypatch.undo()
        await store.write(sending("after"))
        assert await bodies(store) == ["after"]


async def test_a_write_that_nobody_has_begun_is_given_up_and_never_done(
    room_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, release = threading.Event(), threading.Event()

    def long(_: Any) -> None:
        began.set()
        release.wait(60)

    async with open_postgres(room_url, run_sync=trio.to_thread.run_sync, connections=2) as store:
        await store.write(joining("bob"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.write, long)
            await trio.to_thread.run_sync(began.wait, 60)
            monkeypatch.setattr(postgres_store, "IN_QUEUE", 0.2)
            for operation in ("alone", "beside"):
                with pytest.raises(Unavailable, match="slow"):
                    await store.write(sending(operation), alone=operation == "alone")
            monkeypatch.undo()
            release.set()
        await store.write(sending("after"))
        assert await bodies(store) == ["after"]
