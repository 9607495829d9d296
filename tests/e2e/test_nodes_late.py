"""What commits late, on another node, is skipped by nobody who goes on from a cursor. The interleaving is forced."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
import trio

from support.nodes import LocalNode, Waiting, events, local_nodes, message_events
from trio_relay.core.wire import AgentRegistration, Cursor, InboxMessage, SendRequest
from trio_relay.relay import housekeeping
from trio_relay.settings import ServerSettings

#: Seconds in which everything here happens, many times over.
SOON = 60.0
STALL = 4711


@pytest.fixture
async def nodes(postgres_url: str) -> AsyncIterator[list[LocalNode]]:
    async with local_nodes(ServerSettings(port=0, database_url=postgres_url)) as running:
        for name in ("bob", "cat", "x", "y"):
            await running[0].relay.register(AgentRegistration(id=name))
        yield running


@contextmanager
def stalled(url: str, table: str, column: str) -> Iterator[None]:
    """While the block runs, the message "late" stays in the middle of its transaction, where it enters `table`."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            f"""
            CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF EXISTS (SELECT 1 FROM messages WHERE id = NEW.{column} AND body = 'late') THEN
                    PERFORM pg_advisory_xact_lock({STALL});
                END IF;
                RETURN NEW;
            END $$;
            CREATE TRIGGER stall AFTER INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION stall();
            """.encode()
        )
        connection.execute("SELECT pg_advisory_lock(%s)", (STALL,))
        yield


async def until_locked(url: str, condition: str) -> None:
    """Return once somebody waits for such a lock."""
    waiting = (
        f"SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'advisory' AND {condition})"
    )
    with psycopg.connect(url, autocommit=True) as connection:
        while connection.execute(waiting.encode()).fetchone() != (True,):
            await trio.sleep(0.01)


@pytest.fixture
def nobody_keeps_house(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends leases wants to be alone, and everybody would wait behind it until what is stalled goes on."""
    monkeypatch.setattr(housekeeping, "EXPIRY_INTERVAL", 3600.0)


async def test_an_event_that_commits_late_is_skipped_by_no_stream_and_no_cursor(
    nobody_keeps_house: None, nodes: list[LocalNode], postgres_url: str
) -> None:
    a, b = nodes
    with trio.fail_after(SOON):
        async with events(a.url) as from_a, events(b.url) as from_b, trio.open_nursery() as nursery:
            cursors: list[Cursor] = []

            async def take_cursor() -> None:
                cursors.append(await b.relay.cursor())

            with stalled(postgres_url, "inbox", "message_id"):
                waiting = Waiting(nursery, b, "bob")
                nursery.start_soon(a.relay.send, SendRequest(sender="x", to="bob", body="late"))
                await until_locked(postgres_url, f"objid = {STALL}")
                # On the other node, to somebody else and after it by every number, but committed before it.
                later = await b.relay.send(SendRequest(sender="y", to="cat", body="later"))
                assert [message.body for message in await b.relay.inbox("cat", wait=SOON)] == ["later"]
                nursery.start_soon(take_cursor)
                await until_locked(postgres_url, f"objid <> {STALL}")
                assert not waiting.found
                told = from_a.statistics().current_buffer_used, from_b.statistics().current_buffer_used
                assert told == (0, 0), "nothing may be told before what came before it can be told"
            assert await message_events(from_a, 2) == ["late", "later"]
            assert await message_events(from_b, 2) == ["late", "later"]
            await waiting.done.wait()
            (late,) = waiting.found
            assert late.body == "late"
            assert late.id < later.id, "it was the first to get its number"
            while not cursors:
                await trio.sleep(0.01)
            # Given while a lower number was still to come, it would have been skipped.
            assert (cursors[0].latest_id, cursors[0].latest_seq) == (later.id, late.inbox_seq + 1)


@pytest.mark.parametrize("cursor", ["since_id", "after_seq"])
async def test_a_message_that_commits_late_is_skipped_by_no_poll(
    nobody_keeps_house: None, nodes: list[LocalNode], postgres_url: str, cursor: str
) -> None:
    a, b = nodes
    found: list[InboxMessage] = []

    async def follow(node: LocalNode) -> None:
        while len(found) < 3:
            place = 0 if not found else found[-1].inbox_seq if cursor == "after_seq" else found[-1].id
            waiting: dict[str, Any] = {cursor: place}
            found.extend(await node.relay.inbox("bob", unread=False, wait=SOON, **waiting))

    with trio.fail_after(SOON):
        async with trio.open_nursery() as nursery:
            await a.relay.send(SendRequest(sender="x", to="bob", body="first"))
            nursery.start_soon(follow, b)
            with stalled(postgres_url, "messages", "id"):
                nursery.start_soon(a.relay.send, SendRequest(sender="x", to="bob", body="late"))
                await until_locked(postgres_url, f"objid = {STALL}")
                # It has its number and the later one must wait for it, for it is to the same recipient.
                nursery.start_soon(b.relay.send, SendRequest(sender="y", to="bob", body="later"))
                await until_locked(postgres_url, f"objid <> {STALL}")
                assert len(found) == 1
    assert [message.body for message in found] == ["first", "late", "later"]
