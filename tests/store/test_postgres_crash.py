"""PostgreSQL crashes while it commits, and gives the number of the lost transaction to another."""

from typing import Any

import psycopg
import pytest

from support.check_store import bodies, joining, sending
from support.postgres import private_server
from trio_relay.errors import Unavailable
from trio_relay.store.postgres import connection as postgres_connection
from trio_relay.store.postgres import open_postgres

#: Nothing is written to the disk but by a commit.
_LAZY = {"wal_writer_delay": "10s", "wal_level": "minimal", "max_wal_senders": "0", "autovacuum": "off"}


async def inline(call: Any, *args: Any) -> Any:
    return call(*args)


async def test_a_number_given_again_after_a_crash_is_not_taken_for_the_lost_transaction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a sender would hear that its message was accepted, which nobody has."""
    real = postgres_connection.RelayConnection.execute
    with private_server(**_LAZY) as server, server.database() as url:

        def crash(connection: postgres_connection.RelayConnection, query: Any, *args: Any, **how: Any) -> Any:
            if query != "COMMIT" or connection.read_only_by_choice:
                return real(connection, query, *args, **how)
            monkeypatch.setattr(postgres_connection.RelayConnection, "execute", real)
            lost = number_of_transaction(connection)
            server.kill()
            server.start()
            with psycopg.connect(url) as somebody:
                assert number_of_transaction(somebody) == lost
            return real(connection, query)

        async with open_postgres(url, run_sync=inline, connections=2) as store:
            await store.write(joining("bob"))
            monkeypatch.setattr(postgres_connection.RelayConnection, "execute", crash)
            with pytest.raises(Unavailable) as unknown:
                await store.write(sending("lost"))
            assert unknown.value.code == "outcome_unknown"
            await store.write(sending("after"))
            assert await bodies(store) == ["after"]


def number_of_transaction(connection: psycopg.Connection[Any]) -> str:
    row = (
        connection.cursor(row_factory=psycopg.rows.tuple_row)
        .execute("SELECT pg_current_xact_id()::text")
        .fetchone()
    )
    assert row is not None
    number: str = row[0]
    return number
