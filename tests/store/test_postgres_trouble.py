"""PostgreSQL fails, is stopped, is cut off, is slow: nothing acknowledged is lost, nothing is done twice, nobody hangs."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import psycopg
import pytest
import trio

from support.check_store import bodies, joining, on, sending
from support.postgres import PostgresDatabases, PostgresServer, private_server
from trio_relay.core.model import AgentStatus
from trio_relay.core.wire import StatusChange
from trio_relay.errors import NotFound, RelayError, Unavailable
from trio_relay.relay.operations import agents
from trio_relay.store import open_store
from trio_relay.store.postgres import PostgresStore, name_of, open_postgres
from trio_relay.store.postgres import connection as postgres_connection
from trio_relay.store.postgres import seat as postgres_seat
from trio_relay.store.postgres import store as postgres_store

threads = trio.to_thread.run_sync


def opened(url: str, connections: int = 4) -> Any:
    return open_postgres(url, run_sync=threads, connections=connections)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server that may be stopped."""
    with private_server() as started:
        yield started


@pytest.fixture
def url(server: PostgresServer) -> Iterator[str]:
    with server.database() as database:
        yield database


def end_sessions(url: str) -> None:
    """Have the server end every session of this database but ours."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


class TestTheConnectionIsLost:
    async def test_between_two_operations_nobody_notices(self, postgres_url: str) -> None:
        async with opened(postgres_url) as store:
            await store.write(joining("bob"))
            await store.read(lambda _: None)
            end_sessions(postgres_url)
            await store.write(sending("one"))
            end_sessions(postgres_url)
            assert await bodies(store) == ["one"]

    async def test_before_the_commit_the_operation_is_run_again(self, postgres_url: str) -> None:
        async with opened(postgres_url) as store:
            await store.write(joining("bob"))
            runs: list[int] = []

            def cut_once(connection: Any) -> Any:
                runs.append(connection.info.backend_pid)
                sent = sending("one")(connection)
                if len(runs) == 1:
                    end_sessions(postgres_url)
                connection.execute("SELECT 1")
                return sent

            await store.write(cut_once)
            assert len(runs) == len(set(runs)) == 2
            assert await bodies(store) == ["one"]

    @pytest.mark.parametrize("reaches", [True, False], ids=["the commit was done", "the commit was not done"])
    async def test_during_the_commit_the_server_is_asked(
        self, postgres_url: str, monkeypatch: pytest.MonkeyPatch, reaches: bool
    ) -> None:
        """The answer to COMMIT is lost; or COMMIT itself."""
        async with opened(postgres_url) as store:
            await store.write(joining("bob"))
            losing = cut_at_commit(postgres_url, reaches=reaches)
            monkeypatch.setattr(postgres_connection.RelayConnection, "execute", losing)
            heard: list[int] = []
            sent = await store.write(sending("one"), after=heard.append)
            assert heard == [sent]
            assert await bodies(store) == ["one"]

    async def test_and_the_server_stays_away_the_caller_hears_that_it_is_not_known(
        self, postgres_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres_store, "PATIENCE", 0.3)
        async with opened(postgres_url) as store:
            await store.write(joining("bob"))
            losing = cut_at_commit(postgres_url, reaches=True)
            monkeypatch.setattr(postgres_connection.RelayConnection, "execute", losing)
            monkeypatch.setattr(postgres_seat.Seat, "fate", lambda *_: postgres_seat.Failed("away"))
            with pytest.raises(Unavailable) as unknown:
                await store.write(sending("one"))
            assert unknown.value.code == "outcome_unknown"
            assert "idempotencyKey" in unknown.value.detail
            assert await bodies(store) == ["one"]


def cut_at_commit(url: str, *, reaches: bool) -> Callable[..., Any]:
    """An ``execute`` that loses the connection at the first COMMIT, after or before the server has got it."""
    real = postgres_connection.RelayConnection.execute
    cut: list[bool] = []

    def execute(connection: postgres_connection.RelayConnection, query: Any, *args: Any, **how: Any) -> Any:
        if query != "COMMIT" or connection.read_only_by_choice or cut:
            return real(connection, query, *args, **how)
        cut.append(True)
        if reaches:
            real(connection, query)
        connection.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    return execute


class TestTheServerIsAway:
    async def test_it_is_restarted_and_everything_goes_on(
        self, server: PostgresServer, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """While it is away writes and reads are refused, soon; what was acknowledged is there afterwards."""
        monkeypatch.setattr(postgres_store, "PATIENCE", 1.0)
        async with opened(url) as store:
            await store.write(joining("bob"))
            await store.write(sending("before"))
            server.stop()
            with trio.fail_after(20):
                with pytest.raises(Unavailable):
                    await store.write(sending("lost"))
                with pytest.raises(Unavailable):
                    await bodies(store)
            server.start()
            await store.write(sending("after"))
            assert await bodies(store) == ["before", "after"]

    async def test_after_a_crash_the_connections_are_made_anew(
        self, server: PostgresServer, url: str
    ) -> None:
        async with opened(url) as store:
            await store.write(joining("bob"))
            server.kill()
            server.start()
            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(partial(store.write, sending(str(number)), alone=number % 2 == 0))
            assert sorted(await bodies(store), key=int) == [str(number) for number in range(20)]

    async def test_a_standby_is_read_and_takes_no_changes_until_it_is_the_primary(
        self, server: PostgresServer, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres_store, "PATIENCE", 1.0)
        async with opened(url) as store:
            await store.write(joining("bob"))
            await store.write(sending("before"))
            server.stop()
            signal = server._data / "standby.signal"
            signal.touch()
            server.start()
            assert await bodies(store) == ["before"]
            with pytest.raises(Unavailable, match="standby"):
                await store.write(sending("lost"))
            server.execute("SELECT pg_promote()")
            await store.write(sending("after"))
            assert await bodies(store) == ["before", "after"]

    async def test_a_short_absence_is_waited_out(
        self, postgres_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        attempts: list[str] = []

        def connect(url: str, **how: Any) -> Any:
            attempts.append(url)
            if len(attempts) <= 3:
                raise psycopg.OperationalError("Connection refused")
            return postgres_connection.connect(url, **how)

        monkeypatch.setattr(postgres_store, "connect", connect)
        async with opened(postgres_url, connections=2) as store:
            await store.write(joining("bob"))
        assert len(attempts) == 4

    async def test_many_who_wait_hear_so_together(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server that takes connections and never answers: nobody waits for all the others' time-outs."""
        monkeypatch.setattr(postgres_store, "PATIENCE", 1.0)
        refused: list[int] = []

        async def ask(number: int) -> None:
            with pytest.raises(Unavailable):
                await (store.write(sending("x")) if number % 2 else store.read(lambda _: None))
            refused.append(number)

        with silent_server() as url:
            store = PostgresStore(url, "silent", threads, 2)
            with trio.fail_after(20):
                async with trio.open_nursery() as working:
                    working.start_soon(store.work)
                    async with trio.open_nursery() as asking:
                        for number in range(40):
                            asking.start_soon(ask, number)
                    store.close()
        assert len(refused) == 40


@contextmanager
def silent_server() -> Iterator[str]:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        yield f"postgresql://ann@127.0.0.1:{listener.getsockname()[1]}/room?connect_timeout=2"


class TestTransactionsInEachOthersWay:
    async def test_a_deadlock_is_tried_again(self, postgres_url: str) -> None:
        """Not by anything of ours, which locks in one order: by somebody else in the database."""
        async with opened(postgres_url, connections=4) as store:
            await store.write(joining("bob"))
            await store.write(joining("cat"))
            both = threading.Barrier(2)
            runs: list[str] = []

            def touch(first: str, second: str) -> Callable[[Any], None]:
                def run(connection: Any) -> None:
                    runs.append(first)
                    connection.execute("UPDATE agents SET name = name WHERE id = %s", (first,))
                    if len(runs) <= 2:
                        both.wait(10)
                    connection.execute("UPDATE agents SET name = name WHERE id = %s", (second,))

                return run

            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(store.write, touch("bob", "cat"), alone=False))
                nursery.start_soon(partial(store.write, touch("cat", "bob"), alone=False))
            assert len(runs) == 3

    async def test_an_operation_that_asks_to_be_alone_is_run_again_alone(self, postgres_url: str) -> None:
        async with opened(postgres_url) as store:
            await store.write(joining("bob"))
            runs: list[bool] = []

            def go_offline(connection: Any) -> Any:
                runs.append(connection.alone)
                return on(agents.set_status, "bob", StatusChange(status=AgentStatus.OFFLINE))(connection)

            await store.write(go_offline, alone=False)
            assert runs == [False, True]
            assert (await store.read(on(agents.get_agent, "bob"))).status is AgentStatus.OFFLINE

    async def test_somebody_who_holds_the_room_too_long_is_weather(
        self, postgres_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres_connection, "_SESSION", "SET lock_timeout = '100ms'")
        monkeypatch.setattr(postgres_store, "PATIENCE", 0.3)
        async with opened(postgres_url) as store:
            await store.write(joining("bob"))
            with psycopg.connect(postgres_url) as frozen:
                frozen.execute("SELECT begin_change(false)")
                await store.write(sending("beside"), alone=False)
                with pytest.raises(Unavailable, match="busy"):
                    await store.write(sending("alone"))
            await store.write(sending("again"))
            assert await bodies(store) == ["beside", "again"]

    async def test_a_transaction_in_which_nothing_happens_is_ended_by_the_server(
        self, postgres_url: str
    ) -> None:
        """A node that freezes in the middle does not hold the room for ever."""
        async with opened(postgres_url) as store:

            def settings(connection: Any) -> dict[str, str]:
                names = ("idle_in_transaction_session_timeout", "statement_timeout", "lock_timeout")
                return {name: connection.execute(f"SHOW {name}").fetchone()[0] for name in names}

            assert await store.write(settings) == {
                "idle_in_transaction_session_timeout": "5s",
                "statement_timeout": "30s",
                "lock_timeout": "8s",
            }

    async def test_a_bug_in_one_operation_is_its_callers_and_leaves_the_connection_usable(
        self, postgres_url: str
    ) -> None:
        async with opened(postgres_url, connections=2) as store:
            await store.write(joining("bob"))
            for verb in (store.write, store.read):
                with pytest.raises(psycopg.errors.UndefinedTable):
                    await verb(lambda connection: connection.execute("SELECT * FROM nowhere"))
                with pytest.raises(ZeroDivisionError):
                    await verb(lambda _: 1 / 0)
            with pytest.raises(RuntimeError, match="went on after"):
                await store.write(swallow)
            await store.write(sending("one"))
            assert await bodies(store) == ["one"]


def swallow(connection: Any) -> None:
    """Go on after an error, as no operation may: the server has undone everything before."""
    with pytest.raises(psycopg.Error):
        connection.execute("SELECT * FROM nowhere")


class TestMoreCallersThanConnections:
    async def test_reads_and_writes_take_turns(self, postgres_url: str) -> None:
        async with opened(postgres_url, connections=2) as store:
            await store.write(joining("bob"))

            async def ask(number: int) -> None:
                await store.write(sending(str(number)), alone=number % 3 == 0)
                assert str(number) in await bodies(store)

            async with trio.open_nursery() as nursery:
                for number in range(60):
                    nursery.start_soon(ask, number)
            held = await store.read(
                lambda c: c.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                ).fetchone()[0]
            )
            assert held == 2

    async def test_readers_that_are_all_taken_are_weather_after_a_while(
        self, postgres_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres_store, "PATIENCE", 0.2)
        release = threading.Event()
        async with opened(postgres_url, connections=2) as store, trio.open_nursery() as nursery:
            nursery.start_soon(store.read, lambda _: release.wait(20))
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(Unavailable, match="busy"):
                await store.read(lambda _: None)
            release.set()


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

    async def test_a_wrong_password(self, server: PostgresServer) -> None:
        server.execute("CREATE ROLE ann LOGIN PASSWORD 'right'")
        rules = server._data / "pg_hba.conf"
        before = rules.read_text()
        rules.write_text(f"host all ann 127.0.0.1/32 scram-sha-256\n{before}")
        server.execute("SELECT pg_reload_conf()")
        wrong = f"postgresql://ann:s3cret@127.0.0.1:{server.port}/postgres"
        with pytest.raises(RelayError, match="user or password") as refused:
            async with open_store(wrong):
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
        monkeypatch.setitem(__import__("sys").modules, "trio_relay.store.postgres", None)
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
        async with opened(postgres_url, connections=2) as store:
            await store.read(lambda _: None)

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(start)
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM schema_version").fetchone() == (1,)


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


async def test_an_error_of_the_operation_is_raised_as_it_is(postgres_url: str) -> None:
    error = NotFound("nobody")

    def fail(_: Any) -> None:
        raise error

    async with opened(postgres_url) as store:
        with pytest.raises(NotFound) as raised:
            await store.write(fail, alone=False)
    assert raised.value is error
