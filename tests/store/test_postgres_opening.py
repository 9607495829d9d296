"""Opening a PostgreSQL: the schema once, answers that mean synced; and one that will not do is said so, without secrets."""

import sys
from functools import partial

import psycopg
import pytest
import trio

from support.postgres import PostgresDatabases, private_server
from trio_relay.errors import RelayError
from trio_relay.store import open_store
from trio_relay.store.migrations import all_migrations
from trio_relay.store.postgres import PostgresStore, name_of, open_postgres

opened = partial(open_postgres, run_sync=trio.to_thread.run_sync, connections=2)


class TestADatabaseThatWillNotDo:
    @pytest.mark.parametrize(
        "bad",
        [
            "postgresql://ann:s3cret@127.0.0.1:notaport/room",
            "postgresql://ann:s3cret@127.0.0.1:5432/room?s3cret=1",
            "postgresql://ann:s3cret@[::1/room",
            "postgresql://ann:s3/cret@127.0.0.1/room",
        ],
    )
    async def test_a_url_that_cannot_be_understood(self, bad: str) -> None:
        with pytest.raises(RelayError) as refused:
            async with open_store(bad):
                pass
        assert refused.value.code == "bad_database_url"
        assert "s3" not in whole_text(refused.value)

    async def test_nobody_listens_there(self) -> None:
        with pytest.raises(RelayError, match="nothing listens there") as refused:
            async with open_store("postgresql://ann:s3cret@127.0.0.1:1/room"):
                pass
        assert refused.value.code == "bad_store"
        assert "s3cret" not in whole_text(refused.value)

    async def test_a_wrong_password(self) -> None:
        with private_server() as server:
            server.execute("CREATE ROLE ann LOGIN PASSWORD 'right'")
            server.stop()
            rules = server._data / "pg_hba.conf"
            rules.write_text(f"host all ann 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
            server.start()
            with pytest.raises(RelayError, match="user or password") as refused:
                async with open_store(f"postgresql://ann:s3cret@127.0.0.1:{server.port}/postgres"):
                    pass
        assert "s3cret" not in whole_text(refused.value)

    async def test_there_is_no_such_database(self, postgres: PostgresDatabases) -> None:
        with pytest.raises(RelayError, match="no such database"):
            async with open_store(postgres.url_of("nowhere")):
                pass

    async def test_another_encoding(self, postgres: PostgresDatabases) -> None:
        postgres.execute(
            "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        )
        try:
            with pytest.raises(RelayError, match="encoding is LATIN1"):
                async with open_store(postgres.url_of("latin")):
                    pass
        finally:
            postgres.execute("DROP DATABASE latin")

    async def test_a_newer_schema(self, postgres_url: str) -> None:
        async with open_store(postgres_url):
            pass
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("INSERT INTO schema_version (version) VALUES (999)")
        with pytest.raises(RelayError) as refused:
            async with open_store(postgres_url):
                pass
        assert refused.value.code == "store_too_new"

    async def test_the_driver_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "trio_relay.store.postgres", None)
        with pytest.raises(RelayError, match=r"trio-relay\[postgres\]") as refused:
            async with open_store("postgresql://127.0.0.1/room"):
                pass
        assert refused.value.code == "no_driver"


def whole_text(error: BaseException | None) -> str:
    """Everything a traceback of it would show."""
    text = ""
    while error is not None:
        text += f"{error!r} {error}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return text


async def test_several_nodes_that_start_at_once_make_the_schema_once(postgres_url: str) -> None:
    async def start() -> None:
        async with opened(postgres_url) as store:
            await store.read(lambda _: None)

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(start)
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM schema_version").fetchone() == (
            len(all_migrations("postgres")),
        )


async def test_an_answer_means_synced_also_where_the_server_would_not_wait(postgres_url: str) -> None:
    database = name_of(postgres_url).rpartition("/")[2]
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {database} SET synchronous_commit = off")
    async with opened(postgres_url) as store:
        assert await store.write(lambda c: c.execute("SHOW synchronous_commit").fetchone()[0]) == "on"


async def test_a_store_is_called_by_its_url_without_the_password(postgres_url: str) -> None:
    async with opened(postgres_url) as store:
        assert isinstance(store, PostgresStore)
        assert store.name == postgres_url
    assert name_of("postgresql://ann:s3cret@db.example:5433/room?sslmode=require") == (
        "postgresql://ann@db.example:5433/room"
    )
