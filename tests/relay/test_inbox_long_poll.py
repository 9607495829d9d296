"""The long poll: answered the moment something arrives, at exactly its time, or when the relay stops."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from support.relay import Room, inline, open_room
from support.talk import join, say
from trio_relay.core.model import Rung
from trio_relay.core.wire import InboxMessage

T = TypeVar("T")


class Poll:
    """A long poll in the background: what it answered, and when."""

    def __init__(self, room: Room, agent_id: str, wait: float = 30, **query: Any) -> None:
        self._ask = (room, agent_id, wait, query)
        self.answered = trio.Event()
        self.found: list[InboxMessage] = []
        self.at = -1.0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        room, agent_id, wait, query = self._ask
        task_status.started()
        self.found = await room.relay.inbox(agent_id, wait=wait, **query)
        self.at = trio.current_time()
        self.answered.set()


async def waiting(nursery: trio.Nursery, room: Room, agent_id: str, wait: float = 30, **query: Any) -> Poll:
    poll = Poll(room, agent_id, wait, **query)
    await nursery.start(poll.run)
    await wait_all_tasks_blocked()
    return poll


async def test_it_answers_the_moment_something_arrives(room: Room, nursery: trio.Nursery) -> None:
    await join(room, "bob")
    began = trio.current_time()
    poll = await waiting(nursery, room, "bob")
    await trio.sleep(7.25)
    sent = await say(room, "ann", "bob")
    await poll.answered.wait()
    assert [message.id for message in poll.found] == [sent.id]
    assert poll.at - began == 7.25


async def test_it_answers_at_once_what_is_there_already(room: Room) -> None:
    await join(room, "bob")
    sent = await say(room, "ann", "bob")
    began = trio.current_time()
    assert [message.id for message in await room.relay.inbox("bob", wait=60)] == [sent.id]
    assert trio.current_time() == began


@pytest.mark.parametrize("wait", [0.5, 30, 60])
async def test_it_answers_empty_after_exactly_its_time(room: Room, wait: float) -> None:
    began = trio.current_time()
    assert await room.relay.inbox("bob", wait=wait) == []
    assert trio.current_time() - began == wait


async def test_without_a_wait_it_does_not_wait(room: Room) -> None:
    began = trio.current_time()
    assert await room.relay.inbox("bob") == []
    assert trio.current_time() == began


async def test_what_does_not_concern_it_neither_answers_nor_prolongs_it(
    room: Room, nursery: trio.Nursery
) -> None:
    for agent in ("bob", "cat"):
        await join(room, agent)
    first = await say(room, "ann", "bob")
    cursor = (await room.relay.cursor()).latest_seq
    began = trio.current_time()
    poll = await waiting(nursery, room, "bob", after_seq=cursor)
    await trio.sleep(10)
    await say(room, "ann", "cat")
    await room.relay.mark_read(first.id, "bob")
    await room.relay.remove_agent("bob")  # rings bob's bell; the poll looks, finds nothing, waits on
    await poll.answered.wait()
    assert (poll.found, poll.at - began) == ([], 30)


async def test_every_poll_of_an_agent_is_answered_and_no_other(room: Room, nursery: trio.Nursery) -> None:
    for agent in ("bob", "cat"):
        await join(room, agent)
    polls = [await waiting(nursery, room, "bob") for _ in range(3)]
    other = await waiting(nursery, room, "cat")
    await say(room, "ann", "bob")
    for poll in polls:
        await poll.answered.wait()
    assert not other.answered.is_set()
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("way", ["parked", "claimable", "released", "broadcast"])
async def test_however_a_message_arrives(room: Room, nursery: trio.Nursery, way: str) -> None:
    await join(room, "bob", tags=["work"] if way == "released" else [])
    await join(room, "cat", tags=["work"])
    sent_id = 0
    token = ""
    if way == "parked":
        sent_id = (await say(room, "ann", "tag:x")).id
    elif way == "claimable":
        sent_id = (await say(room, "ann", "tag:work", claimable=True)).id
    elif way == "released":
        sent_id = (await say(room, "ann", "tag:work", claimable=True)).id
        token = (await room.relay.claim(sent_id, "cat")).lease_token
    cursor = (await room.relay.cursor()).latest_seq
    poll = await waiting(nursery, room, "bob", after_seq=cursor)
    if way == "released":
        await room.relay.release(sent_id, "cat", token)
    elif way == "broadcast":
        sent_id = (await say(room, "ann", "broadcast")).id
    else:
        await room.relay.set_tags("bob", ["x", "work"])
    await poll.answered.wait()
    assert [message.id for message in poll.found] == [sent_id]


async def test_a_poll_for_a_rung_waits_for_that_rung(room: Room) -> None:
    await join(room, "bob")
    sent = await say(room, "ann", "bob")
    await room.relay.report(sent.id, "bob", Rung.IN_CONTEXT, {})
    found = await room.relay.inbox("bob", unread=False, state=Rung.IN_CONTEXT, wait=60)
    assert [message.id for message in found] == [sent.id]


async def test_it_is_answered_when_the_relay_stops(room: Room, nursery: trio.Nursery) -> None:
    polls = [await waiting(nursery, room, agent) for agent in ("bob", "cat")]
    began = trio.current_time()
    await trio.sleep(3)
    room.service.hub.close()
    for poll in polls:
        await poll.answered.wait()
        assert (poll.found, poll.at - began) == ([], 3)


async def test_one_that_comes_while_the_relay_stops_does_not_wait(room: Room) -> None:
    await join(room, "bob")
    room.service.hub.close()
    began = trio.current_time()
    assert await room.relay.inbox("bob", wait=60) == []
    sent = await say(room, "ann", "bob")
    assert [message.id for message in await room.relay.inbox("bob", wait=60)] == [sent.id]
    assert trio.current_time() == began


async def test_a_client_that_hangs_up_leaves_no_bell_behind(room: Room) -> None:
    with trio.move_on_after(5):
        await room.relay.inbox("bob", wait=60)
    assert room.service.hub.waiting_for_messages == 0


async def test_nothing_is_lost_between_the_look_and_the_wait(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A message that commits after a poll has looked, and before it waits, still answers it."""
    looked, go_on = trio.Event(), trio.Event()
    paused = False

    async def pausing(function: Callable[..., T], *args: Any) -> T:
        result = await inline(function, *args)
        if paused and not looked.is_set():
            looked.set()
            await go_on.wait()  # the look is over, its answer is still on the way
        return result

    async with open_room(tmp_path, run_sync=pausing) as room, trio.open_nursery() as nursery:
        await join(room, "bob")
        await wait_all_tasks_blocked()
        paused = True
        began = trio.current_time()
        poll = Poll(room, "bob")
        nursery.start_soon(poll.run)
        await looked.wait()
        sent = await say(room, "ann", "bob")
        go_on.set()
        await poll.answered.wait()
        assert [message.id for message in poll.found] == [sent.id]
        assert poll.at == began
