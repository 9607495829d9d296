"""A room moves from SQLite to PostgreSQL: every row, the same ids, and clients that go on where they were."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

import trio_relay.store.postgres.copy as copying
from support.postgres import PostgresDatabases
from support.relay import Room, open_room
from support.sse import follow
from trio_relay.client import RelayClient, admin, pairs
from trio_relay.core.access import Scope
from trio_relay.core.wire import AgentRegistration, InboxMessage, SendRequest, SessionFields
from trio_relay.core.wire_access import TicketRequest, TokenRequest
from trio_relay.core.wire_pairs import PairAnswer, PairInvite
from trio_relay.errors import Conflict, Invalid, NotFound, RelayError
from trio_relay.store.backup import STEP
from trio_relay.store.migrations import all_migrations, migrate
from trio_relay.store.postgres.copy import copy_room, tables_of
from trio_relay.store.postgres.restored import resume_elsewhere
from trio_relay.store.postgres.state import look

#: What PostgreSQL cannot hold as it is, and what else is easily mangled on the way.
HARD = "NUL \0, our escape \ufdd0 and \ufdd01, \\N, \\. and\ttab\r\nline 😀 '\"{}"


def ignore(_done: int, _of: int) -> None:
    """Nobody watches."""


async def send(relay: RelayClient, body: str, **fields: Any) -> int:
    return (await relay.send(SendRequest(**({"sender": "ann", "to": "bob", "body": body} | fields)))).id


async def fill(room: Room) -> None:
    """Something in every table."""
    relay = room.relay
    for name in ("ann", "bob", "cid"):
        await relay.register(AgentRegistration(id=name, instance_id="one", tags=["dev"], ready=True))
    for number in range(5):
        await send(relay, f"message {number}", idempotency_key=f"key-{number}")
    hard = await send(relay, HARD, subject="ünïcode", meta={"text": HARD})
    await relay.mark_read(hard, "bob")
    work = await send(relay, "work", to="tag:dev", claimable=True)
    await relay.claim(work, "bob", session=SessionFields(instance_id="one", epoch=1))
    await send(relay, "parked", to="tag:night")
    pair = await pairs.invite(relay, PairInvite(sender="ann", target="cid", objective=HARD))
    await pairs.accept(relay, pair.id, PairAnswer(agent_id="cid"))
    await admin.mint_token(relay, TokenRequest(name="ci", scopes=[Scope.SEND]))
    await admin.invite(relay, TicketRequest(ttl_ms=3_600_000))
    await relay.delete(await send(relay, "the newest id is given and gone"))

    def rest(connection: sqlite3.Connection) -> None:
        connection.executescript(
            """
            INSERT INTO threads (id, parked_at, reason) VALUES (2, 5, 'loop');
            INSERT INTO held_messages (message_id, thread_id) VALUES (2, 2);
            INSERT INTO tasks (id, source, type, severity, title, body, target, metadata, status, calls_back, created_at,
                               updated_at, last_seen_at)
            VALUES (7, 'ci', 'build', 'low', 't', 'b', 'tag:dev', '{}', 'open', 1, 1, 1, 1);
            INSERT INTO task_events (task_id, type, at, status, data) VALUES (7, 'created', 1, 'open', '{}');
            INSERT INTO callbacks (delivery, task_id, source, event, body, created_at, due_at)
            VALUES ('d', 7, 'ci', 'task.created', '{}', 1, 1);
            INSERT INTO approvals (agent_id, tool, summary, created_at, expires_at) VALUES ('ann', 'Bash', 'rm', 1, 9);
            INSERT INTO callback_attempts (callback_id, at, status, duration_ms) VALUES (1, 1, 500, 3);
            """
        )

    with closing(sqlite3.connect(room.service.store.name)) as connection:
        rest(connection)


def contents(path: Path, url: str) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """Every row of every table here and there, sorted; a NUL as PostgreSQL holds it."""
    here: dict[str, list[Any]] = {}
    there: dict[str, list[Any]] = {}

    def plain(value: Any) -> Any:
        return (
            value.replace("\ufdd00", "\0").replace("\ufdd01", "\ufdd0") if isinstance(value, str) else value
        )

    with closing(sqlite3.connect(path)) as file, psycopg.connect(url) as database:
        for table in tables_of(file):
            columns = ", ".join(table.columns)
            statement = f"SELECT {columns} FROM {table.name}"
            here[table.name] = sorted(file.execute(statement).fetchall(), key=repr)
            rows = database.execute(statement.encode()).fetchall()
            there[table.name] = sorted((tuple(map(plain, row)) for row in rows), key=repr)
    return here, there


async def test_every_row_of_every_table_is_there(room: Room, tmp_path: Path, postgres_url: str) -> None:
    await fill(room)
    copied = copy_room(tmp_path / "relay.db", postgres_url, ignore)
    here, there = contents(tmp_path / "relay.db", postgres_url)
    assert there == here
    assert copied.rows == {table: len(rows) for table, rows in here.items()}
    assert all(copied.rows.values()), "a table was not tried"
    with psycopg.connect(postgres_url) as database:
        known = {
            row[0]
            for row in database.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            ).fetchall()
        }
    assert known == {*here, "schema_version"}
    assert look(postgres_url).faults == []


async def test_clients_go_on_where_they_were(room: Room, tmp_path: Path, postgres_url: str) -> None:
    await fill(room)
    cursor = await room.relay.cursor()
    work = (await room.relay.browse(to="tag:dev"))[0]
    held = await room.relay.claim(work.id, "bob", session=SessionFields(instance_id="one", epoch=1))
    async with follow(room.app) as stream:
        last = (await stream.block()).id
        assert last is not None
    before: list[InboxMessage] = await room.relay.inbox("bob", unread=False)
    copy_room(tmp_path / "relay.db", postgres_url, ignore)
    async with open_room(tmp_path, database=postgres_url) as moved:
        relay = moved.relay
        assert await relay.inbox("bob", unread=False) == before
        assert await relay.cursor() == cursor
        await relay.heartbeat("bob", SessionFields(instance_id="one", epoch=1))
        renewed = await relay.renew(
            work.id, "bob", held.lease_token, session=SessionFields(instance_id="one", epoch=1)
        )
        assert renewed.claimed_by == "bob"
        with pytest.raises(Conflict):
            await send(relay, "another text", idempotency_key="key-1")
        assert [message.body for message in await relay.browse(q="ünïcode")] == [HARD]
        async with follow(moved.app, last_event_id=last) as stream:
            new = await send(relay, "new")
            event = await stream.event()
        assert (event.kind, event.data["id"]) == ("message.new", new)
        assert new == cursor.latest_id + 1
        assert [one.id for one in await relay.inbox("bob", since_id=cursor.latest_id)] == [new]
        assert [one.id for one in await relay.inbox("bob", after_seq=cursor.latest_seq)] == [new]
        assert await send(relay, "message 1", idempotency_key="key-1") < new


async def test_an_empty_room_moves_too(room: Room, tmp_path: Path, postgres_url: str) -> None:
    assert sum(copy_room(tmp_path / "relay.db", postgres_url, ignore).rows.values()) == 1  # event_log
    async with open_room(tmp_path, database=postgres_url) as moved:
        await moved.relay.register(AgentRegistration(id="bob"))
        assert await send(moved.relay, "first") == 1


async def test_a_room_that_is_not_empty_is_not_written_to(
    room: Room, tmp_path: Path, postgres_url: str
) -> None:
    await fill(room)
    copy_room(tmp_path / "relay.db", postgres_url, ignore)
    with pytest.raises(Conflict, match="is not empty") as refused:
        copy_room(tmp_path / "relay.db", postgres_url, ignore)
    assert refused.value.code == "not_empty"
    here, there = contents(tmp_path / "relay.db", postgres_url)
    assert there == here


async def test_a_database_a_relay_works_with_is_refused(
    room: Room, tmp_path: Path, postgres_url: str
) -> None:
    with psycopg.connect(postgres_url, application_name="trio-relay node-1"):
        assert look(postgres_url).nodes == ["node-1"]
        with pytest.raises(Conflict, match="stop it first") as refused:
            copy_room(tmp_path / "relay.db", postgres_url, ignore)
    assert refused.value.code == "in_use"


async def test_a_postgres_put_back_is_made_ready_for_clients_of_before(
    room: Room, tmp_path: Path, postgres: PostgresDatabases, postgres_url: str
) -> None:
    """A copy of the database made before the end plays the dump."""
    await fill(room)
    copy_room(tmp_path / "relay.db", postgres_url, ignore)
    with postgres.database(template=postgres_url.rpartition("/")[2]) as dump:
        async with open_room(tmp_path, database=postgres_url) as before:
            lost = await send(before.relay, "lost")
            cursor = await before.relay.cursor()
            async with follow(before.app) as stream:
                last = (await stream.block()).id
        resume_elsewhere(dump)
        assert look(dump).faults == []
        async with open_room(tmp_path, database=dump) as again:
            relay = again.relay
            with pytest.raises(NotFound) as forgotten:
                await relay.heartbeat("bob", SessionFields(instance_id="one", epoch=1))
            assert forgotten.value.code == "unknown_agent"
            new = await send(relay, "new")
            assert new > STEP
            assert new > lost
            assert [one.id for one in await relay.inbox("bob", since_id=cursor.latest_id)] == [new]
            assert [one.id for one in await relay.inbox("bob", after_seq=cursor.latest_seq)] == [new]
            async with follow(again.app, last_event_id=last) as stream:
                (_, gap, event) = await stream.block(), await stream.event(), await stream.event()
        assert (gap.kind, gap.data["reason"], event.data["id"]) == ("gap", "trimmed", new)


async def test_a_postgres_in_use_was_not_put_back(room: Room, postgres_url: str) -> None:
    with (
        psycopg.connect(postgres_url, application_name="trio-relay node-1"),
        pytest.raises(Conflict, match="stop it first"),
    ):
        resume_elsewhere(postgres_url)


class _Stopped(Exception):  # noqa: N818
    pass


async def test_what_is_stopped_leaves_an_empty_database(
    room: Room, tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(room)
    monkeypatch.setattr(copying, "_PIECE", 10)

    def stop(done: int, of: int) -> None:
        if done > of // 4:
            raise _Stopped

    with pytest.raises(_Stopped):
        copy_room(tmp_path / "relay.db", postgres_url, stop)
    assert sum(look(postgres_url).rows.values()) == 1
    seen: list[tuple[int, int]] = []
    copy_room(tmp_path / "relay.db", postgres_url, lambda done, of: seen.append((done, of)))
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]


async def test_a_row_that_arrives_otherwise_is_noticed(room: Room, tmp_path: Path, postgres_url: str) -> None:
    await fill(room)
    copy_room(tmp_path / "relay.db", postgres_url, ignore)  # makes the schema
    with psycopg.connect(postgres_url) as database:
        database.execute(
            "TRUNCATE agents, leases, messages, tasks, tokens, tickets, threads, "
            "idempotency_keys, approvals, events CASCADE"
        )
        database.execute(
            "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.body := 'x'; RETURN new; END $$"
        )
        database.execute(
            "CREATE TRIGGER spoil BEFORE INSERT ON messages FOR EACH ROW WHEN (new.id = 3) EXECUTE FUNCTION spoil()"
        )
    with pytest.raises(RelayError, match="of messages is not what was sent") as failed:
        copy_room(tmp_path / "relay.db", postgres_url, ignore)
    assert failed.value.code == "copy_failed"
    assert sum(look(postgres_url).rows.values()) == 1


@pytest.mark.parametrize("kind", ["old", "text"])
def test_a_file_that_will_not_do_is_refused(tmp_path: Path, postgres_url: str, kind: str) -> None:
    path = tmp_path / "old.db"
    if kind == "old":
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            migrate(connection, all_migrations()[:2])
        with pytest.raises(RelayError, match="bring it to"):
            copy_room(path, postgres_url, ignore)
    else:
        path.write_text("text" * 1000)
        with pytest.raises(Invalid, match="no database"):
            copy_room(path, postgres_url, ignore)
    assert look(postgres_url).schema == 0


async def test_a_sequence_that_would_repeat_is_a_fault(room: Room, tmp_path: Path, postgres_url: str) -> None:
    await fill(room)
    copy_room(tmp_path / "relay.db", postgres_url, ignore)
    with psycopg.connect(postgres_url) as database:
        database.execute("SELECT setval('messages_id_seq', 1)")
        database.execute("DELETE FROM event_log")
    assert look(postgres_url).faults == [
        "event_log has 0 rows, not one",
        "the numbers of messages begin again: set its sequence beyond max(id)",
    ]
