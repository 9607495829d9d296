"""Reading an inbox piece by piece: nothing is skipped, whatever the cursor and however late a message arrives."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from support.relay import Room, open_room
from support.sync_room import SyncRoom
from support.talk import join, paths, refusal, say
from trio_relay.core.model import Rung
from trio_relay.core.wire import AgentRegistration, ReadMark, SendRequest
from trio_relay.relay.operations import agents, messages, messages_read
from trio_relay.settings import ServerSettings


async def ids(
    room: Room, agent_id: str = "bob", *, unread: bool = True, since_id: int | None = None, limit: int = 100
) -> list[int]:
    found = await room.relay.inbox(agent_id, unread=unread, since_id=since_id, limit=limit)
    return [message.id for message in found]


async def test_an_inbox_is_read_oldest_first(room: Room) -> None:
    await join(room, "bob")
    sent = [(await say(room, "ann", "bob")).id for _ in range(5)]
    assert await ids(room) == sent
    assert await ids(room, unread=False) == sent


async def test_pages_follow_one_another_by_arrival_number(room: Room) -> None:
    await join(room, "bob")
    sent = [(await say(room, "ann", "bob")).id for _ in range(7)]
    seen: list[int] = []
    after_seq = 0
    while page := await room.relay.inbox("bob", after_seq=after_seq, limit=3):
        seen += [message.id for message in page]
        after_seq = page[-1].inbox_seq
    assert seen == sent


async def test_pages_follow_one_another_by_message_id(room: Room) -> None:
    await join(room, "bob")
    sent = [(await say(room, "ann", "bob")).id for _ in range(7)]
    seen: list[int] = []
    while page := await ids(room, since_id=seen[-1] if seen else 0, limit=3):
        seen += page
    assert seen == sent


async def test_a_cursor_stays_good_when_read_messages_lie_behind_it(room: Room) -> None:
    await join(room, "bob")
    sent = [await say(room, "ann", "bob") for _ in range(3)]
    for message in sent:
        await room.relay.mark_read(message.id, "bob")
    assert await ids(room) == []
    assert await ids(room, unread=False) == [message.id for message in sent]
    assert await ids(room, unread=False, since_id=sent[0].id) == [message.id for message in sent[1:]]


async def test_a_message_that_arrives_late_is_not_skipped_by_either_cursor(room: Room) -> None:
    """A parked message reaches an inbox after newer ones: a cursor of message ids stands beyond it already."""
    await join(room, "bob")
    parked = await say(room, "ann", "tag:x")
    newer = await say(room, "ann", "bob")
    (seen,) = await room.relay.inbox("bob")
    assert seen.id == newer.id
    await room.relay.set_tags("bob", ["x"])
    assert await ids(room, since_id=newer.id) == [parked.id]
    assert [message.id for message in await room.relay.inbox("bob", after_seq=seen.inbox_seq)] == [parked.id]


async def test_a_late_message_comes_until_it_is_read_and_then_no_more(room: Room) -> None:
    await join(room, "bob")
    parked = await say(room, "ann", "tag:x")
    newer = await say(room, "ann", "bob")
    await room.relay.set_tags("bob", ["x"])
    for unread in (True, False):
        assert await ids(room, unread=unread, since_id=newer.id) == [parked.id]
    await room.relay.mark_read(parked.id, "bob")
    for unread in (True, False):
        assert await ids(room, unread=unread, since_id=newer.id) == []


async def test_late_and_new_messages_come_in_one_answer_once_each(room: Room) -> None:
    await join(room, "bob")
    parked = await say(room, "ann", "tag:x")
    first = await say(room, "ann", "bob")
    await room.relay.set_tags("bob", ["x"])
    second = await say(room, "ann", "bob")
    assert await ids(room, since_id=first.id) == [parked.id, second.id]
    assert await ids(room, since_id=0) == [parked.id, first.id, second.id]


async def test_what_was_held_in_a_parked_thread_arrives_late(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_room(tmp_path, ServerSettings(max_hops=1)) as room:
        for agent in ("ann", "bob"):
            await join(room, agent)
        one = await say(room, "ann", "bob")
        two = await say(room, "bob", "ann", reply_to=one.id)
        held = await say(room, "ann", "bob", reply_to=two.id)
        newer = await say(room, "cat", "bob")
        assert held.parked
        assert (await room.http("POST", f"/api/threads/{one.id}/resume")).status_code == 200
        assert await ids(room, since_id=newer.id) == [held.id]


async def test_deliveries_on_one_rung_can_be_listed(room: Room) -> None:
    await join(room, "bob")
    sent = [await say(room, "ann", "bob") for _ in range(4)]
    for message in sent[1:3]:
        await room.relay.report(message.id, "bob", Rung.IN_CONTEXT, {})
    await room.relay.report(sent[3].id, "bob", Rung.SETTLED, {})
    found = await room.relay.inbox("bob", unread=False, state=Rung.IN_CONTEXT)
    assert [message.id for message in found] == [sent[1].id, sent[2].id]
    rest = await room.relay.inbox(
        "bob", unread=False, state=Rung.IN_CONTEXT, after_seq=found[0].inbox_seq, limit=1
    )
    assert [message.id for message in rest] == [sent[2].id]


async def test_an_inbox_shows_the_rung_and_the_hand_offs(room: Room) -> None:
    await join(room, "bob")
    sent = await say(room, "ann", "bob")
    for _ in range(2):
        await room.relay.report(sent.id, "bob", Rung.HANDED_OFF, {})
    (message,) = await room.relay.inbox("bob")
    assert (message.state, message.attempts, message.read_at) == (Rung.HANDED_OFF, 2, None)


async def test_an_inbox_of_nobody_is_empty(room: Room) -> None:
    assert await ids(room, "ghost") == []


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("sinceId=-1", "sinceId"),
        ("sinceId=x", "sinceId"),
        ("afterSeq=1.5", "afterSeq"),
        (f"afterSeq={2**63}", "afterSeq"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("wait=61", "wait"),
        ("wait=-1", "wait"),
        ("wait=nan", "wait"),
        ("unread=perhaps", "unread"),
        ("state=delivered", "state"),
    ],
)
async def test_a_query_that_cannot_be_meant_is_named(room: Room, query: str, path: str) -> None:
    problem = refusal(await room.http("GET", f"/api/messages?for=bob&{query}"))
    assert (problem.status, problem.code, paths(problem)) == (400, "invalid", [path])


steps = st.lists(
    st.one_of(
        st.tuples(st.just("direct"), st.just(0)),
        st.tuples(st.just("park"), st.integers(0, 3)),
        st.tuples(st.just("match"), st.integers(0, 3)),
        st.tuples(st.just("poll"), st.integers(1, 4)),
    ),
    max_size=30,
)


@given(steps, st.booleans())
def test_a_client_that_follows_a_cursor_sees_every_message_once(
    plan: list[tuple[str, int]], by_seq: bool
) -> None:
    """Whatever arrives in whatever order; one that marks what it has seen read, as older clients do."""
    room = SyncRoom()
    try:
        tags: list[str] = []
        seen: list[int] = []
        cursor = 0

        def poll(limit: int) -> bool:
            nonlocal cursor
            page = room.do(
                messages_read.inbox,
                "bob",
                unread=True,
                since_id=None if by_seq else cursor,
                after_seq=cursor if by_seq else None,
                state=None,
                limit=limit,
            )
            for message in page:
                seen.append(message.id)
                cursor = max(cursor, message.inbox_seq if by_seq else message.id)
                room.do(messages.mark_read, message.id, ReadMark(read_by="bob"))
            return bool(page)

        room.do(agents.register, AgentRegistration(id="bob"))
        for what, number in plan:
            if what == "direct":
                room.do(messages.send, SendRequest(sender="ann", to="bob", body=""))
            elif what == "park":
                room.do(messages.send, SendRequest(sender="ann", to=f"tag:{number}", body=""))
            elif what == "match":
                tags.append(str(number))
                room.do(agents.register, AgentRegistration(id="bob", tags=tags))
            else:
                poll(number)
        while poll(2):
            pass
        arrived = [row["message_id"] for row in room.rows("SELECT message_id FROM inbox ORDER BY seq")]
        assert sorted(seen) == sorted(arrived)
        if by_seq:
            assert seen == arrived
    finally:
        room.close()
