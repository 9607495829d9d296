"""A message that was handed off, is lost on the way, and has lost its point meanwhile: it ends, and is not sent late."""

import trio

from support.relay import Room
from support.talk import join, say, session
from trio_relay.core.model import Rung
from trio_relay.core.wire import Receipt
from trio_relay.core.wire_rooms import RetractRequest, Withdrawal


async def hand_off(room: Room, message_id: int) -> Receipt:
    who = session(await room.relay.agent("bob"))
    return await room.relay.report(message_id, "bob", Rung.HANDED_OFF, {"clientId": "relay:1"}, session=who)


async def test_a_successor_still_finds_what_expired_after_its_hand_off(room: Room) -> None:
    for name in ("ann", "bob"):
        await join(room, name)
    sent = await say(room, "ann", "bob", ttl_ms=1000)
    await hand_off(room, sent.id)
    await trio.sleep(2)
    await room.service.expire()
    (found,) = await room.relay.inbox("bob")
    assert (found.id, found.state) == (sent.id, Rung.HANDED_OFF)


async def test_handed_off_again_after_its_time_it_ends_as_expired_and_its_sender_hears_of_it(
    room: Room,
) -> None:
    for name in ("ann", "bob"):
        await join(room, name)
    sent = await say(room, "ann", "bob", ttl_ms=1000)
    await hand_off(room, sent.id)
    await trio.sleep(2)
    await room.service.expire()
    assert await room.relay.inbox("ann") == []  # it may have arrived
    receipt = await hand_off(room, sent.id)
    assert (receipt.state, receipt.attempts) == (Rung.EXPIRED, 1)
    assert receipt.steps[-1].evidence == {"reason": "expired", "clientId": "relay:1"}
    (notice,) = await room.relay.inbox("ann")
    assert (notice.type, notice.meta) == ("delivery.expired", {"messageId": sent.id, "recipients": ["bob"]})
    assert await room.relay.inbox("bob") == []


async def test_handed_off_again_before_housekeeping_looks_its_sender_hears_of_it_once(room: Room) -> None:
    for name in ("ann", "bob"):
        await join(room, name)
    sent = await say(room, "ann", "bob", ttl_ms=1000)
    await hand_off(room, sent.id)
    await trio.sleep(2)
    assert (await hand_off(room, sent.id)).state is Rung.EXPIRED
    await room.service.expire()
    assert [message.type for message in await room.relay.inbox("ann")] == ["delivery.expired"]


async def test_handed_off_again_after_it_was_retracted_it_ends_as_retracted(room: Room) -> None:
    for name in ("ann", "bob"):
        await join(room, name)
    sent = await say(room, "ann", "bob")
    await hand_off(room, sent.id)
    path = f"/api/messages/{sent.id}/retract"
    told = await room.relay.call("POST", path, Withdrawal, body=RetractRequest(reason="never mind"))
    assert told.too_late == ["bob"]
    receipt = await hand_off(room, sent.id)
    assert (receipt.state, receipt.steps[-1].evidence["reason"]) == (Rung.RETRACTED, "never mind")


async def test_claimed_work_that_expires_and_is_given_back_has_ended(room: Room) -> None:
    for name in ("ann", "bob"):
        await join(room, name)
    sent = await say(room, "ann", "bob", claimable=True, ttl_ms=1000)
    who = session(await room.relay.agent("bob"))
    claimed = await room.relay.claim(sent.id, "bob", session=who)
    await hand_off(room, sent.id)
    await trio.sleep(2)
    await room.service.expire()
    await room.relay.release(sent.id, "bob", claimed.lease_token, session=who)
    (receipt,) = await room.relay.receipts(sent.id)
    assert receipt.state is Rung.EXPIRED
    assert await room.relay.inbox("bob") == []
