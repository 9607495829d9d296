"""To whom a claimable is offered, and to whom again when a claim comes to nothing."""

import pytest
import trio

from support.relay import Room, open_room
from support.talk import join, say, session
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.errors import Conflict
from trio_relay.settings import ServerSettings

TTL = 90


async def arrivals(room: Room, agent_id: str, after_seq: int = 0) -> list[tuple[int, int]]:
    """What a poll with this cursor answers: arrival numbers and message ids."""
    found = await room.relay.inbox(agent_id, after_seq=after_seq)
    return [(message.inbox_seq, message.id) for message in found]


async def seq(room: Room) -> int:
    return (await room.relay.cursor()).latest_seq


async def offer(room: Room, *agents: str) -> int:
    for agent in agents:
        await join(room, agent, tags=["work"])
    return (await say(room, "ann", "tag:work", claimable=True)).id


async def test_a_released_claim_is_offered_again_to_the_others(room: Room) -> None:
    message_id = await offer(room, "bob", "cat")
    held = await room.relay.claim(message_id, "bob")
    cursor = await seq(room)
    await room.relay.release(message_id, "bob", held.lease_token)
    assert await arrivals(room, "cat", cursor) == [(cursor + 1, message_id)]
    assert await arrivals(room, "bob", cursor) == []
    assert (await room.relay.message(message_id)).claimed_by is None
    assert (await room.relay.claim(message_id, "cat")).attempt == 2


async def test_a_released_claim_comes_back_to_the_only_one_there_is(room: Room) -> None:
    message_id = await offer(room, "bob")
    held = await room.relay.claim(message_id, "bob")
    cursor = await seq(room)
    await room.relay.release(message_id, "bob", held.lease_token)
    assert await arrivals(room, "bob", cursor) == [(cursor + 1, message_id)]


async def test_a_lapsed_claim_is_offered_again_to_everyone(room: Room) -> None:
    message_id = await offer(room, "bob", "cat")
    await room.relay.claim(message_id, "bob")
    await room.relay.report(message_id, "bob", Rung.HANDED_OFF, {})
    cursor = await seq(room)
    await trio.sleep(TTL - 0.001)
    await room.service.expire()
    assert await seq(room) == cursor
    await trio.sleep(0.001)
    await room.service.expire()
    assert [found for _, found in await arrivals(room, "bob", cursor)] == [message_id]
    assert [found for _, found in await arrivals(room, "cat", cursor)] == [message_id]
    (again,) = await room.relay.inbox("bob", after_seq=cursor)
    assert (again.state, again.attempts) == (Rung.QUEUED, 1)


async def test_what_a_dead_holder_had_is_taken_up_by_another_who_waits(room: Room) -> None:
    """A dead instance's work is claimable again within its lease and one round of expiry (G9)."""
    message_id = await offer(room, "bob", "cat")
    await room.relay.claim(message_id, "bob")
    cursor = await seq(room)
    began = trio.current_time()

    async def expire_every_second() -> None:
        while True:
            await trio.sleep(1)
            await room.service.expire()

    with trio.fail_after(TTL + 60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expire_every_second)
            while not (found := await room.relay.inbox("cat", after_seq=cursor, wait=60)):
                pass
            assert trio.current_time() - began <= TTL + 1
            assert (await room.relay.claim(found[0].id, "cat")).claimed_by == "cat"
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("end", ["offline", "replaced", "removed", "silent"])
async def test_when_the_holder_goes_its_claim_is_offered_again(room: Room, end: str) -> None:
    message_id = await offer(room, "cat")
    bob = await join(room, "bob", tags=["work"], instance_id="one")
    await room.relay.claim(message_id, "bob", session(bob))
    cursor = await seq(room)
    if end == "offline":
        await room.relay.set_status("bob", AgentStatus.OFFLINE, session(bob))
    elif end == "replaced":
        await join(room, "bob", tags=["work"], instance_id="two")
    elif end == "removed":
        await room.relay.remove_agent("bob")
    else:
        await trio.sleep(120)
        await room.relay.heartbeat("cat")
        await trio.sleep(0.001)
        await room.service.keep_house()
    assert [found for _, found in await arrivals(room, "cat", cursor)] == [message_id]
    assert (await room.relay.claim(message_id, "cat")).claimed_by == "cat"


async def test_one_who_has_it_in_context_is_not_offered_it_again(room: Room) -> None:
    message_id = await offer(room, "bob", "cat")
    await room.relay.claim(message_id, "bob")
    await room.relay.report(message_id, "bob", Rung.IN_CONTEXT, {})
    await trio.sleep(TTL)
    cursor = await seq(room)
    await room.service.expire()
    assert await arrivals(room, "bob", cursor) == []
    (kept,) = await room.relay.inbox("bob", unread=False, state=Rung.IN_CONTEXT)
    assert kept.id == message_id
    assert [found for _, found in await arrivals(room, "cat", cursor)] == [message_id]


async def test_an_open_claimable_is_offered_to_every_match_also_later_ones(room: Room) -> None:
    message_id = await offer(room, "bob")
    await join(room, "cat", tags=["work"])
    await join(room, "dan", tags=["other"])
    await room.relay.set_tags("dan", add=["work"])
    await join(room, "eve", tags=["work"], status=AgentStatus.OFFLINE)
    await room.relay.set_status("eve", AgentStatus.IDLE)
    await join(room, "fox", tags=["other"])
    for agent in ("bob", "cat", "dan", "eve"):
        assert [found for _, found in await arrivals(room, agent)] == [message_id]
    assert await arrivals(room, "fox") == []


async def test_the_sender_is_never_offered_its_own_claimable(room: Room) -> None:
    await offer(room, "bob")
    await join(room, "ann", tags=["work"])
    assert await arrivals(room, "ann") == []


async def test_a_claimable_is_offered_once_however_often_somebody_registers(room: Room) -> None:
    message_id = await offer(room, "bob")
    await room.relay.mark_read(message_id, "bob")
    for _ in range(3):
        await join(room, "bob", tags=["work"])
    assert await arrivals(room, "bob") == []


async def test_a_claimable_for_one_agent_can_be_claimed_by_it(room: Room) -> None:
    await join(room, "bob")
    sent = await say(room, "ann", "bob", claimable=True)
    assert (await room.relay.claim(sent.id, "bob")).claimed_by == "bob"


async def test_a_claimable_nobody_matches_waits_for_the_first(room: Room) -> None:
    sent = await say(room, "ann", "cap:sql", claimable=True)
    assert sent.parked
    await join(room, "bob", capabilities=["sql"])
    await join(room, "cat", capabilities=["sql"])
    assert [found for _, found in await arrivals(room, "bob")] == [sent.id]
    assert [found for _, found in await arrivals(room, "cat")] == [sent.id]


@pytest.mark.parametrize("reaped", [True, False])
async def test_handed_out_too_often_it_ends_as_a_dead_letter(
    tmp_path_factory: pytest.TempPathFactory, autojump_clock: trio.testing.MockClock, reaped: bool
) -> None:
    settings = ServerSettings(max_attempts=3)
    async with open_room(tmp_path_factory.mktemp("room"), settings) as room:
        message_id = await offer(room, "bob")
        for _ in range(3):
            await room.relay.claim(message_id, "bob")
            await trio.sleep(TTL)
            if reaped:
                await room.service.expire()
        with pytest.raises(Conflict) as spent:
            await room.relay.claim(message_id, "bob")
        assert spent.value.code == "completed"
        await room.service.expire()
        (receipt,) = await room.relay.receipts(message_id)
        assert receipt.state is Rung.DEAD
        assert receipt.steps[-1].evidence["attempts"] == 3
