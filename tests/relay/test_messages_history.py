"""One message, its thread, the history, deleting."""

from typing import Any

import pytest

from support.relay import Room
from support.talk import join, say
from trio_relay.errors import NotFound


async def test_a_thread_is_the_whole_reply_chain_oldest_first(room: Room) -> None:
    for agent in ("ann", "bob", "cat"):
        await join(room, agent)
    root = await say(room, "ann", "bob")
    one = await say(room, "bob", "ann", reply_to=root.id)
    await say(room, "ann", "bob")
    two = await say(room, "cat", "bob", reply_to=one.id)
    three = await say(room, "ann", "bob", reply_to=root.id)
    thread = [root.id, one.id, two.id, three.id]
    for message_id in thread:
        assert [message.id for message in await room.relay.thread(message_id)] == thread
        assert (await room.relay.message(message_id)).thread_id == root.id
    assert [message.hop for message in await room.relay.thread(root.id)] == [0, 1, 2, 1]
    assert (one.reply_to, two.reply_to, root.reply_to) == (root.id, one.id, None)


async def test_history_is_browsed_newest_first_page_by_page(room: Room) -> None:
    await join(room, "bob")
    sent = [(await say(room, "ann", "bob")).id for _ in range(7)]
    seen: list[int] = []
    before = None
    while page := await room.relay.browse(limit=3, before=before):
        seen += [message.id for message in page]
        before = seen[-1]
    assert seen == sent[::-1]


async def test_history_is_filtered(room: Room) -> None:
    for agent in ("ann", "bob"):
        await join(room, agent)
    one = await say(room, "ann", "bob", channel="ops")
    two = await say(room, "bob", "ann", reply_to=one.id)
    three = await say(room, "cat", "broadcast")

    async def ids(**filters: Any) -> list[int]:
        return [message.id for message in await room.relay.browse(**filters)]

    assert await ids() == [three.id, two.id, one.id]
    assert await ids(**{"from": "bob"}) == [two.id]
    assert await ids(to="broadcast") == [three.id]
    assert await ids(channel="ops") == [one.id]
    assert await ids(thread=one.id) == [two.id, one.id]
    assert await ids(**{"from": "ann", "to": "ann"}) == []


async def test_the_cursor_is_where_the_room_stands(room: Room) -> None:
    cursor = await room.relay.cursor()
    assert (cursor.latest_id, cursor.latest_seq) == (0, 0)
    await join(room, "bob")
    await join(room, "cat")
    sent = await say(room, "ann", "broadcast")
    cursor = await room.relay.cursor()
    assert (cursor.latest_id, cursor.latest_seq) == (sent.id, 2)


async def test_a_deleted_message_is_gone_everywhere(room: Room) -> None:
    for agent in ("ann", "bob"):
        await join(room, agent)
    sent = await say(room, "ann", "bob", claimable=True)
    reply = await say(room, "bob", "ann", reply_to=sent.id)
    await room.relay.delete(sent.id)
    assert await room.relay.inbox("bob", unread=False) == []
    assert [message.id for message in await room.relay.browse()] == [reply.id]
    assert [message.id for message in await room.relay.thread(reply.id)] == [reply.id]
    for ask in (room.relay.message, room.relay.thread, room.relay.receipts, room.relay.delete):
        with pytest.raises(NotFound):
            await ask(sent.id)
    left = await room.service.store.read(
        lambda connection: [
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("leases", "open_targets", "receipts")
        ]
    )
    assert left == [0, 0, 0]


async def test_the_number_of_a_deleted_message_is_not_given_again(room: Room) -> None:
    await join(room, "bob")
    sent = await say(room, "ann", "bob")
    await room.relay.delete(sent.id)
    assert (await room.relay.cursor()).latest_id == sent.id
    assert (await say(room, "ann", "bob")).id == sent.id + 1
