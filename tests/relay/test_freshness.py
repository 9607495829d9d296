"""A message that has lost its point is not delivered, and whoever sent it hears so."""

import pytest
import trio
import trio.testing

from support.relay import Room
from trio_relay.core.model import SYSTEM, Rung
from trio_relay.core.wire import AgentRegistration, SendRequest, SentMessage
from trio_relay.errors import Conflict, NotFound, Refused


@pytest.fixture
async def pair(room: Room) -> Room:
    for agent in ("ann", "bob"):
        await room.relay.register(AgentRegistration(id=agent, ready=True))
    return room


async def send(room: Room, body: str = "x", **more: object) -> SentMessage:
    return await room.relay.send(SendRequest(sender="ann", to="bob", body=body, **more))  # type: ignore[arg-type]


async def rung(room: Room, message_id: int) -> Rung:
    (receipt,) = await room.relay.receipts(message_id)
    return receipt.state


async def test_after_its_time_it_is_not_delivered_and_the_sender_hears_of_it_once(pair: Room) -> None:
    sent = await send(pair, ttl_ms=5_000)
    assert sent.expires_at == sent.created_at + 5_000
    await trio.sleep(4.999)
    assert [each.id for each in await pair.relay.inbox("bob")] == [sent.id]
    await trio.sleep(0.001)
    assert await pair.relay.inbox("bob") == []
    for _ in range(2):
        await pair.service.expire()
    assert await rung(pair, sent.id) is Rung.EXPIRED
    (notice,) = await pair.relay.inbox("ann")
    assert (notice.sender, notice.type, notice.meta["messageId"]) == (SYSTEM, "delivery.expired", sent.id)


async def test_a_hand_off_of_what_has_expired_is_refused_before_housekeeping_comes_round(pair: Room) -> None:
    sent = await send(pair, ttl_ms=5_000)
    await trio.sleep(5)
    with pytest.raises(Conflict) as refused:
        await pair.relay.report(sent.id, "bob", Rung.HANDED_OFF, {})
    assert refused.value.code == "delivery_ended"


async def test_what_was_handed_off_in_time_goes_on(pair: Room) -> None:
    sent = await send(pair, ttl_ms=5_000)
    await pair.relay.report(sent.id, "bob", Rung.HANDED_OFF, {})
    await trio.sleep(6)
    await pair.service.expire()
    receipt = await pair.relay.report(sent.id, "bob", Rung.IN_CONTEXT, {})
    assert receipt.state is Rung.IN_CONTEXT
    assert await pair.relay.inbox("ann") == []


async def test_a_parked_message_that_nobody_took_expires_too(pair: Room) -> None:
    sent = await pair.relay.send(SendRequest(sender="ann", to="tag:none", body="x", ttl_ms=1_000))
    assert sent.parked
    await trio.sleep(1)
    await pair.service.expire()
    await pair.relay.register(AgentRegistration(id="cid", tags=["none"]))
    assert await pair.relay.inbox("cid") == []
    (notice,) = await pair.relay.inbox("ann")
    assert "tag:none" in notice.body


async def test_a_newer_message_supersedes_an_older_one_that_still_waits(pair: Room) -> None:
    older = await send(pair, "deploy 1")
    newer = await send(pair, "deploy 2", supersedes=older.id)
    assert [each.id for each in await pair.relay.inbox("bob")] == [newer.id]
    assert await rung(pair, older.id) is Rung.RETRACTED
    assert (await pair.relay.message(older.id)).withdrawn == f"superseded by {newer.id}"


async def test_nobody_supersedes_or_retracts_what_somebody_else_said(pair: Room) -> None:
    theirs = await pair.relay.send(SendRequest(sender="bob", to="ann", body="x"))
    with pytest.raises(Refused) as refused:
        await send(pair, supersedes=theirs.id)
    assert (refused.value.code, refused.value.fields[0].path) == ("not_the_sender", "supersedes")
    with pytest.raises(NotFound):
        await send(pair, supersedes=999)
    answer = await pair.http("POST", f"/api/messages/{theirs.id}/retract", json={"from": "ann"})
    assert (answer.status_code, answer.json()["code"]) == (403, "not_the_sender")
    assert [each.id for each in await pair.relay.inbox("ann")] == [theirs.id]


async def test_retracting_says_who_will_not_get_it_and_who_already_has_it(pair: Room) -> None:
    await pair.relay.register(AgentRegistration(id="cid", ready=True))
    sent = await pair.relay.send(SendRequest(sender="ann", to="broadcast", body="x"))
    await pair.relay.report(sent.id, "bob", Rung.HANDED_OFF, {})
    answer = await pair.http("POST", f"/api/messages/{sent.id}/retract", json={"from": "ann"})
    assert answer.json() == {"messageId": sent.id, "retracted": ["cid"], "tooLate": ["bob"]}
    assert await pair.relay.inbox("cid") == []
    await pair.relay.report(sent.id, "bob", Rung.IN_CONTEXT, {})
    again = await pair.http("POST", f"/api/messages/{sent.id}/retract", json={"from": "ann"})
    assert again.json()["retracted"] == []


async def test_of_one_collapse_key_only_the_newest_waits_in_each_inbox(pair: Room) -> None:
    first = await send(pair, "10 %", collapse_key="progress")
    await pair.relay.report(first.id, "bob", Rung.HANDED_OFF, {})
    second = await send(pair, "20 %", collapse_key="progress")
    third = await send(pair, "30 %", collapse_key="progress")
    other = await send(pair, "hello", collapse_key="greeting")
    waiting = [each.id for each in await pair.relay.inbox("bob") if each.state is Rung.QUEUED]
    assert waiting == [third.id, other.id]
    assert await rung(pair, first.id) is Rung.HANDED_OFF
    assert await rung(pair, second.id) is Rung.RETRACTED


async def test_a_dead_letter_is_listed_and_can_be_driven_again(pair: Room) -> None:
    sent = await send(pair)
    for _ in range(pair.settings.max_attempts):
        await pair.relay.report(sent.id, "bob", Rung.HANDED_OFF, {})
    receipt = await pair.relay.report(sent.id, "bob", Rung.HANDED_OFF, {})
    assert (receipt.state, receipt.attempts) == (Rung.DEAD, pair.settings.max_attempts)
    dead = await pair.http("GET", "/api/messages?state=dead")
    assert [each["id"] for each in dead.json()] == [sent.id]
    redriven = await pair.http("POST", f"/api/messages/{sent.id}/redrive")
    assert redriven.status_code == 200
    (again,) = await pair.relay.inbox("bob")
    assert (again.id, again.attempts) == (sent.id, 0)
    refused = await pair.http("POST", f"/api/messages/{sent.id}/redrive")
    assert (refused.status_code, refused.json()["code"]) == (409, "not_dead")


async def test_what_was_withdrawn_is_not_driven_again(pair: Room) -> None:
    sent = await send(pair)
    for _ in range(pair.settings.max_attempts + 1):
        await pair.relay.report(sent.id, "bob", Rung.HANDED_OFF, {})
    await pair.http("POST", f"/api/messages/{sent.id}/retract", json={"from": "ann"})
    refused = await pair.http("POST", f"/api/messages/{sent.id}/redrive")
    assert (refused.status_code, refused.json()["code"]) == (409, "withdrawn")
    assert await rung(pair, sent.id) is Rung.DEAD


async def test_what_is_only_an_acknowledgement_waits_without_waking_anybody(pair: Room) -> None:
    woken = trio.Event()

    async def poll() -> None:
        await pair.relay.inbox("bob", wait=30)
        woken.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(poll)
        await trio.testing.wait_all_tasks_blocked()
        silent = await send(pair, "ok", type="ack")
        await trio.testing.wait_all_tasks_blocked()
        assert not woken.is_set()
        await send(pair, "and now?")
        await woken.wait()
    assert silent.id in {each.id for each in await pair.relay.inbox("bob")}
