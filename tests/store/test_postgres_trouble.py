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
from support.postgres import PostgresServer, private_server
from trio_relay.core.model import AgentStatus
from trio_relay.core.wire import StatusChange
from trio_relay.errors import NotFound, Unavailable
from trio_relay.relay.operations import agents
from trio_relay.store.postgres import PostgresStore, open_postgres
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
    async def test_between_two_operations_nobody_notices(self, room_url: str) -> None:
        async with opened(room_url) as store:
            await store.write(joining("bob"))
            await store.read(lambda _: None)
            end_sessions(room_url)
            await store.write(sending("one"))
            end_sessions(room_url)
            assert await bodies(store) == ["one"]

    async def test_before_the_commit_the_operation_is_run_again(self, room_url: str) -> None:
        async with opened(room_url) as store:
            await store.write(joining("bob"))
            runs: list[int] = []

            def cut_once(connection: Any) -> Any:
                runs.append(connection.info.backend_pid)
                sent = sending("one")(connection)
                if len(runs) == 1:
                    end_sessions(room_url)
                connection.execute("SELECT 1")
                return sent

            await store.write(cut_once)
            assert len(runs) == len(set(runs)) == 2
            assert await bodies(store) == ["one"]

    @pytest.mark.parametrize("reaches", [True, False], ids=["the commit was done", "the commit was not done"])
    async def test_during_the_commit_the_server_is_asked(
        self, room_url: str, monkeypatch: pytest.MonkeyPatch, reaches: bool
    ) -> None:
        """The answer to COMMIT is lost; or COMMIT itself."""
        async with opened(room_url) as store:
            await store.write(joining("bob"))
            losing = cut_at_commit(room_url, reaches=reaches)
            monkeypatch.setattr(postgres_connection.RelayConnection, "execute", losing)
            heard: list[int] = []
            sent = await store.write(sending("one"), after=heard.append)
            assert heard == [sent]
            assert await bodies(store) == ["one"]

    async def test_and_the_server_stays_away_the_caller_hears_that_it_is_not_known(
        self, room_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres_store, "PATIENCE", 0.3)
        async with opened(room_url) as store:
            await store.write(joining("bob"))
            losing = cut_at_commit(room_url, reaches=True)
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
        async with opened(url) as store:
            await store.write(joining("bob"))
            await store.write(sending("before"))
            server.stop()
            with trio.fail_after(60), monkeypatch.context() as briefly:
                briefly.setattr(postgres_store, "PATIENCE", 0.3)
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
        async with opened(url) as store:
            await store.write(joining("bob"))
            await store.write(sending("before"))
            server.stop()
            signal = server._data / "standby.signal"
            signal.touch()
            server.start()
            assert await bodies(store) == ["before"]
            with monkeypatch.context() as briefly:
                briefly.setattr(postgres_store, "PATIENCE", 1.0)
                with pytest.raises(Unavailable, match="standby"):
                    await store.write(sending("lost"))
            server.execute("SELECT pg_promote()")
            await store.write(sending("after"))
            assert await bodies(store) == ["before", "after"]

    async def test_a_short_absence_is_waited_out(
        self, room_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        attempts: list[str] = []

        def connect(url: str, **how: Any) -> Any:
            attempts.append(url)
            if len(attempts) <= 3:
                raise psycopg.OperationalError("Connection refused")
            return postgres_connection.connect(url, **how)

        monkeypatch.setattr(postgres_store, "connect", connect)
        async with opened(room_url, connections=2) as store:
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
            with trio.fail_after(60):
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
    async def test_a_deadlock_is_tried_again(self, room_url: str) -> None:
        """Not by anything of ours, which locks in one order: by somebody else in the database."""
        async with opened(room_url, connections=4) as store:
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

    async def test_an_operation_that_asks_to_be_alone_is_run_again_alone(self, room_url: str) -> None:
        async with opened(room_url) as store:
            await store.write(joining("bob"))
            runs: list[bool] = []

            def go_offline(connection: Any) -> Any:
                runs.append(connection.alone)
                return on(agents.set_status, "bob", StatusChange(status=AgentStatus.OFFLINE))(connection)

            await store.write(go_offline, alone=False)
            assert runs == [False, True]
            assert (await store.read(on(agents.get_agent, "bob"))).status is AgentStatus.OFFLINE

    async def test_somebody_who_holds_the_room_too_long_is_weather(
        self, room_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres_connection, "_SESSION", "SET lock_timeout = '100ms'")
        monkeypatch.setattr(postgres_store, "PATIENCE", 0.3)
        async with opened(room_url) as store:
            await store.write(joining("bob"))
            with psycopg.connect(room_url) as frozen:
                frozen.execute("SELECT begin_change(false)")
                await store.write(sending("beside"), alone=False)
                with pytest.raises(Unavailable, match="busy"):
                    await store.write(sending("alone"))
            await store.write(sending("again"))
            assert await bodies(store) == ["beside", "again"]

    async def test_a_transaction_in_which_nothing_happens_is_ended_by_the_server(self, room_url: str) -> None:
        """A node that freezes in the middle does not hold the room for ever."""
        async with opened(room_url) as store:

            def settings(connection: Any) -> dict[str, str]:
                names = ("idle_in_transaction_session_timeout", "statement_timeout", "lock_timeout")
                return {name: connection.execute(f"SHOW {name}").fetchone()[0] for name in names}

            assert await store.write(settings) == {
                "idle_in_transaction_session_timeout": "5s",
                "statement_timeout": "30s",
                "lock_timeout": "8s",
            }

    async def test_a_bug_in_one_operation_is_its_callers_and_leaves_the_connection_usable(
        self, room_url: str
    ) -> None:
        async with opened(room_url, connections=2) as store:
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
    async def test_reads_and_writes_take_turns(self, room_url: str) -> None:
        async with opened(room_url, connections=2) as store:
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
        self, room_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres_store, "PATIENCE", 0.2)
        release = threading.Event()
        async with opened(room_url, connections=2) as store, trio.open_nursery() as nursery:
            nursery.start_soon(store.read, lambda _: release.wait(20))
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(Unavailable, match="busy"):
                await store.read(lambda _: None)
            release.set()


async def test_an_error_of_the_operation_is_raised_as_it_is(room_url: str) -> None:
    error = NotFound("nobody")

    def fail(_: Any) -> None:
        raise error

    async with opened(room_url) as store:
        with pytest.raises(NotFound) as raised:
            await store.write(fail, alone=False)
    assert raised.value is error
