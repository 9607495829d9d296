"""Housekeeping: silence, leaving, forgetting; in small steps, and never because the relay itself was away."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from support.relay import EPOCH, Room, open_room
from support.talk import join, say, session
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.errors import NotFound, Unavailable
from trio_relay.relay import housekeeping
from trio_relay.relay.operations import upkeep

STALE = 120
DAY = 86_400


async def test_one_missed_heartbeat_is_not_death(room: Room) -> None:
    await trio.sleep(2 * STALE)  # the relay has been there long enough to know
    bob = await join(room, "bob", instance_id="one")
    await room.relay.heartbeat("bob", session(bob))
    for missed in (30, 60, 90, 120):
        await trio.sleep(30)
        await room.service.keep_house()
        shown = await room.relay.agent("bob")
        assert (shown.status, shown.ready, shown.last_seen) == (AgentStatus.ONLINE, True, bob.last_seen), (
            missed
        )
    await trio.sleep(0.001)
    await room.service.keep_house()
    shown = await room.relay.agent("bob")
    assert (shown.status, shown.ready, shown.ready_reason) == (AgentStatus.OFFLINE, False, "not heard from")


async def test_who_is_heard_from_again_is_what_it_was(room: Room) -> None:
    bob = await join(room, "bob", instance_id="one")
    await trio.sleep(STALE + 1)
    await room.service.keep_house()
    sent = await say(room, "ann", "bob")
    back = await room.relay.heartbeat("bob", session(bob))
    assert (back.status, back.ready, back.ready_reason, back.epoch) == (AgentStatus.ONLINE, True, None, 1)
    assert [message.id for message in await room.relay.inbox("bob")] == [sent.id]


async def test_who_said_it_was_not_ready_is_not_ready_when_it_is_back(room: Room) -> None:
    await join(room, "bob")
    await room.relay.set_ready("bob", False, reason="compacting")
    await trio.sleep(STALE + 1)
    await room.service.keep_house()
    back = await room.relay.heartbeat("bob")
    assert (back.ready, back.ready_reason) == (False, "compacting")


async def test_after_a_restart_nobody_is_silent_before_there_was_time_to_speak(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    def now() -> int:
        return EPOCH + round(trio.current_time() * 1000)

    async with open_room(tmp_path, now=now) as room:
        await join(room, "bob", tags=["work"])
        await join(room, "cat", tags=["work"])
        sent = await say(room, "ann", "bob")
    await trio.sleep(3 * DAY)  # the relay is away over a weekend
    async with open_room(tmp_path, now=now) as room:
        await room.service.keep_house()
        assert (await room.relay.agent("bob")).status is AgentStatus.ONLINE
        await trio.sleep(STALE)
        await room.relay.heartbeat("cat")
        await room.service.keep_house()
        assert (await room.relay.agent("bob")).status is AgentStatus.ONLINE
        await trio.sleep(0.001)
        await room.service.keep_house()
        assert (await room.relay.agent("bob")).status is AgentStatus.OFFLINE
        assert (await room.relay.agent("cat")).status is AgentStatus.ONLINE
        # Found offline now, it has its day to come back, and what waits for it is still there.
        await trio.sleep(DAY)
        await room.relay.heartbeat("cat")
        await room.service.keep_house()
        assert [message.id for message in await room.relay.inbox("bob")] == [sent.id]
        await trio.sleep(0.001)
        await room.service.keep_house()
        with pytest.raises(NotFound):
            await room.relay.agent("bob")


async def test_a_machine_that_slept_does_not_take_its_agents_for_dead(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    asleep = 0

    def now() -> int:
        return EPOCH + asleep + round(trio.current_time() * 1000)

    async with open_room(tmp_path, now=now) as room, trio.open_nursery() as nursery:
        nursery.start_soon(housekeeping.expire, room.service)
        nursery.start_soon(housekeeping.keep_house, room.service)
        await join(room, "bob")
        await trio.sleep(59.5)  # a round of both is due in the very moment it wakes
        asleep = 8 * 3600 * 1000  # the lid was closed: the wall clock jumps, ours does not
        await trio.sleep(60)  # rounds of both have passed
        assert (await room.relay.agent("bob")).status is AgentStatus.ONLINE
        await trio.sleep(121)
        assert (await room.relay.agent("bob")).status is AgentStatus.OFFLINE
        nursery.cancel_scope.cancel()


async def test_a_store_that_was_away_does_not_take_the_agents_for_dead(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    await join(room, "bob")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(housekeeping.expire, room.service)
        nursery.start_soon(housekeeping.keep_house, room.service)
        await trio.sleep(5)

        async def away(*_: object, **__: object) -> None:
            raise Unavailable("the database is away")

        with monkeypatch.context() as patch:
            patch.setattr(room.service.store, "write", away)
            await trio.sleep(2 * STALE)
        await trio.sleep(60)  # a round of both, and nobody had time to speak before
        assert (await room.relay.agent("bob")).status is AgentStatus.ONLINE
        await trio.sleep(STALE + 1)
        assert (await room.relay.agent("bob")).status is AgentStatus.OFFLINE
        nursery.cancel_scope.cancel()


async def test_who_takes_over_the_house_does_not_know_who_was_silent_before(room: Room) -> None:
    await join(room, "bob")
    await trio.sleep(2 * STALE)  # perhaps the database was away, and nobody could be heard
    room.service.begin_to_keep_house()
    await room.service.keep_house()
    assert (await room.relay.agent("bob")).status is AgentStatus.ONLINE
    await trio.sleep(STALE + 1)
    await room.service.keep_house()
    assert (await room.relay.agent("bob")).status is AgentStatus.OFFLINE


async def test_an_agent_that_stays_offline_leaves_after_its_day(room: Room) -> None:
    await join(room, "bob")
    sent = await say(room, "ann", "bob")
    await room.relay.set_status("bob", AgentStatus.OFFLINE)
    await trio.sleep(DAY)
    await room.service.keep_house()
    assert (await room.relay.agent("bob")).status is AgentStatus.OFFLINE
    await trio.sleep(0.001)
    await room.service.keep_house()
    assert await room.relay.agents() == []
    (receipt,) = await room.relay.receipts(sent.id)
    assert (receipt.state, receipt.steps[-1].evidence) == (Rung.DEAD, {"reason": "agent removed"})


async def test_messages_nobody_waits_for_are_forgotten_after_the_retention_time(room: Room) -> None:
    await join(room, "bob")
    await join(room, "cat")
    read = await say(room, "ann", "bob")
    await room.relay.mark_read(read.id, "bob")
    unread = await say(room, "ann", "bob")
    half = await say(room, "ann", "broadcast")
    await room.relay.mark_read(half.id, "bob")
    parked = await say(room, "ann", "tag:x")
    open_work = await say(room, "ann", "broadcast", claimable=True)
    for agent in ("bob", "cat"):
        await room.relay.mark_read(open_work.id, agent)
    done_work = await say(room, "ann", "bob", claimable=True)
    held = await room.relay.claim(done_work.id, "bob")
    await room.relay.complete(done_work.id, "bob", held.lease_token)

    for _ in range(30):
        await trio.sleep(DAY)
        for agent in ("bob", "cat"):
            await room.relay.heartbeat(agent)
        await room.service.keep_house()
    assert {message.id for message in await room.relay.browse()} == {
        each.id for each in (read, unread, half, parked, open_work, done_work)
    }
    await trio.sleep(0.001)
    await room.service.keep_house()
    kept = {message.id for message in await room.relay.browse()}
    assert kept == {unread.id, half.id, parked.id, open_work.id}
    leases = await room.service.store.read(
        lambda connection: connection.execute("SELECT key FROM leases").fetchall()
    )
    assert [row["key"] for row in leases] == [f"message:{open_work.id}"]


async def test_a_round_goes_on_until_nothing_is_left_in_small_transactions(
    room: Room,
) -> None:
    count = 2 * upkeep.BATCH + 1
    await join(room, "bob")
    ids = [(await say(room, "ann", "bob", claimable=True)).id for _ in range(count)]
    for message_id in ids:
        await room.relay.claim(message_id, "bob")
    await trio.sleep(90)
    await room.service.expire()
    held = await room.service.store.read(
        lambda connection: connection.execute("SELECT count(*) FROM leases WHERE state = 'held'").fetchone()[
            0
        ]
    )
    assert held == 0


async def test_the_tasks_live_through_a_store_that_cannot_write(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    async def refuse() -> None:
        calls.append("called")
        raise Unavailable("the store cannot write now")

    monkeypatch.setattr(room.service, "expire", refuse)
    monkeypatch.setattr(room.service, "keep_house", refuse)
    with trio.move_on_after(120.5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(housekeeping.expire, room.service)
            nursery.start_soon(housekeeping.keep_house, room.service)
    assert len(calls) == 120 + 2


async def test_a_bug_in_housekeeping_is_not_lived_through(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(room.service, "keep_house", fail)
    with pytest.raises(ZeroDivisionError):
        await housekeeping.keep_house(room.service)


async def test_the_counts_are_what_is_in_the_room(room: Room) -> None:
    await join(room, "bob", status=AgentStatus.BUSY)
    await join(room, "cat")
    sent = await say(room, "ann", "broadcast")
    await room.relay.report(sent.id, "bob", Rung.IN_CONTEXT, {})
    await say(room, "ann", "tag:nobody")
    await trio.sleep(5)
    stats = await room.relay.stats()
    assert stats.agents == {"busy": 1, "online": 1}
    assert (stats.messages, stats.parked, stats.uptime_ms) == (2, 1, 5000)
    assert stats.deliveries == {"in_context": 1, "queued": 1}
