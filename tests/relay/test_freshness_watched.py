"""What was withdrawn after it was handed off: its recipient's program hears of it, and may say that it took it back."""

from typing import Any

import pytest
import trio

from support.relay import Room
from trio_relay.core.model import Rung
from trio_relay.core.wire import AgentRegistration, Receipt, SendRequest, SentMessage
from trio_relay.core.wire_rooms import RetractRequest, Withdrawal
from trio_relay.errors import Conflict, Invalid


async def handed_off(room: Room, **fields: Any) -> SentMessage:
    """Send ann's message to bob, who takes it."""
    for name in ("ann", "bob"):
        await room.relay.register(AgentRegistration(id=name))
    sent = await send(room, **fields)
    await room.relay.report(sent.id, "bob", Rung.HANDED_OFF, {"mode": "idle"})
    return sent


async def send(room: Room, **fields: Any) -> SentMessage:
    return await room.relay.send(SendRequest(sender="ann", to="bob", body="deploy", **fields))


async def retract(room: Room, sent: SentMessage) -> Withdrawal:
    body = RetractRequest(sender="ann")
    return await room.relay.call("POST", f"/api/messages/{sent.id}/retract", Withdrawal, body=body)


async def take_back(room: Room, sent: SentMessage) -> Receipt:
    return await room.relay.report(sent.id, "bob", Rung.RETRACTED, {"from": "Codex's queue"})


async def test_a_poll_that_watches_a_message_is_answered_when_it_is_withdrawn(room: Room) -> None:
    sent = await handed_off(room)
    heard: list[tuple[float, int, str | None]] = []

    async def poll() -> None:
        found = await room.relay.inbox("bob", after_seq=10**6, wait=25, watch=[sent.id])
        heard.extend((trio.current_time(), one.id, one.withdrawn) for one in found)

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poll)
        await trio.sleep(5)
        assert (await retract(room, sent)).too_late == ["bob"]
    assert heard == [(start + 5, sent.id, "retracted by its sender")]


async def test_a_poll_that_watches_what_still_has_a_point_waits(room: Room) -> None:
    sent = await handed_off(room)
    start = trio.current_time()
    assert await room.relay.inbox("bob", after_seq=10**6, wait=25, watch=[sent.id]) == []
    assert trio.current_time() == start + 25


async def test_what_has_ended_is_answered_to_who_watches_it(room: Room) -> None:
    sent = await handed_off(room)
    other = await send(room)
    await retract(room, other)
    (found,) = await room.relay.inbox("bob", after_seq=10**6, watch=[sent.id, other.id, 999])
    assert (found.id, found.state) == (other.id, Rung.RETRACTED)


async def test_what_was_taken_back_ends_as_retracted_once(room: Room) -> None:
    sent = await handed_off(room)
    await retract(room, sent)
    for _ in range(2):
        assert (await take_back(room, sent)).state is Rung.RETRACTED
    (receipt,) = await room.relay.receipts(sent.id)
    assert [step.state for step in receipt.steps][-2:] == [Rung.HANDED_OFF, Rung.RETRACTED]
    assert receipt.steps[-1].evidence == {"reason": "retracted by its sender", "from": "Codex's queue"}


async def test_what_ran_out_of_time_and_was_taken_back_has_expired(room: Room) -> None:
    sent = await handed_off(room, ttl_ms=1000)
    await trio.sleep(2)
    await room.service.expire()
    assert (await take_back(room, sent)).state is Rung.EXPIRED


async def test_what_a_newer_message_of_its_key_replaced_can_be_taken_back(room: Room) -> None:
    sent = await handed_off(room, collapse_key="build")
    newer = await send(room, collapse_key="build")
    receipt = await take_back(room, sent)
    assert (receipt.state, receipt.steps[-1].evidence["collapsedInto"]) == (Rung.RETRACTED, newer.id)


async def test_nobody_takes_back_what_still_has_a_point(room: Room) -> None:
    for sent in (await handed_off(room), await handed_off(room, collapse_key="alone")):
        with pytest.raises(Conflict) as refused:
            await take_back(room, sent)
        assert refused.value.code == "not_withdrawn"


async def test_what_the_model_has_is_not_taken_back(room: Room) -> None:
    sent = await handed_off(room)
    await room.relay.report(sent.id, "bob", Rung.IN_CONTEXT, {"itemId": "x"})
    await retract(room, sent)
    with pytest.raises(Conflict) as refused:
        await take_back(room, sent)
    assert refused.value.code == "too_late"
    assert (await room.relay.receipts(sent.id))[0].state is Rung.IN_CONTEXT


@pytest.mark.parametrize("mode", ["fyi", "digest"])
async def test_work_that_would_wake_nobody_is_refused(room: Room, mode: str) -> None:
    await handed_off(room)
    with pytest.raises(Invalid, match="nobody would be woken"):
        await send(room, claimable=True, meta={"delivery": mode})


async def test_an_unknown_way_of_delivery_is_refused_with_those_there_are(room: Room) -> None:
    await handed_off(room)
    with pytest.raises(Invalid) as refused:
        await send(room, meta={"delivery": "teleport"})
    assert refused.value.fields[0].message == "expected one of fyi, digest, idle, steer, interrupt, start"
