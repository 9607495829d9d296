"""The delivery ladder: it only climbs, its ends are final, repeating a report is harmless, and it never overstates."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from support.relay import EPOCH, Room
from support.sync_room import SyncRoom
from support.talk import join, refusal, say, session
from trio_relay.core.ladder import FINAL, REPORTABLE
from trio_relay.core.model import Rung
from trio_relay.core.wire import AgentRegistration, Receipt, ReceiptReport, SendRequest, SessionFields
from trio_relay.errors import Conflict, Invalid, NotFound, StaleInstance
from trio_relay.relay.operations import agents, messages, receipts

CLIMB = [Rung.ACCEPTED, Rung.QUEUED, Rung.HANDED_OFF, Rung.IN_CONTEXT, Rung.ANSWERED, Rung.SETTLED]
HEIGHT = {rung: height for height, rung in enumerate(CLIMB)} | {Rung.DEAD: len(CLIMB)}


def delivered_room() -> tuple[SyncRoom, int]:
    """A room with one message from ann to bob."""
    room = SyncRoom()
    room.do(agents.register, AgentRegistration(id="bob", ready=True))
    sent, _ = room.do(messages.send, SendRequest(sender="ann", to="bob", body="hello"))
    return room, sent.id


def report(room: SyncRoom, message_id: int, rung: Rung) -> Receipt:
    return room.do(receipts.report, message_id, ReceiptReport(agent_id="bob", state=rung))


def standing(room: SyncRoom, message_id: int) -> Receipt:
    (receipt,) = room.do(receipts.receipts, message_id)
    return receipt


@given(st.lists(st.tuples(st.sampled_from(sorted(REPORTABLE)), st.integers(0, 1000)), max_size=12))
def test_no_sequence_of_reports_takes_a_delivery_down(reports: list[tuple[Rung, int]]) -> None:
    room, message_id = delivered_room()
    try:
        for rung, pause in reports:
            room.now += pause
            before = standing(room, message_id)
            try:
                report(room, message_id, rung)
            except Conflict:
                # Too late: it has ended, and not as this report says. Or nobody has withdrawn what was taken back.
                assert before.state in FINAL or rung is Rung.RETRACTED
                assert before.state != rung
            after = standing(room, message_id)
            assert HEIGHT[after.state] >= HEIGHT[before.state]
            assert after.state in {before.state, rung}
            if before.state in FINAL:
                assert after == before
            assert after.steps[: len(before.steps)] == before.steps
            assert after.attempts == sum(step.state is Rung.HANDED_OFF for step in after.steps)
            assert [step.at for step in after.steps] == sorted(step.at for step in after.steps)
    finally:
        room.close()


@given(st.lists(st.sampled_from(sorted(REPORTABLE)), min_size=1, max_size=8))
def test_repeating_a_report_changes_nothing_but_the_count_of_hand_offs(reports: list[Rung]) -> None:
    room, message_id = delivered_room()
    try:
        for rung in reports:
            try:
                once = report(room, message_id, rung)
            except Conflict:
                continue
            if rung is Rung.HANDED_OFF and once.state in {Rung.HANDED_OFF, Rung.DEAD}:
                continue
            stored = room.dump()
            room.now += 1
            assert report(room, message_id, rung) == once
            assert room.dump() == stored
    finally:
        room.close()


@given(st.permutations([Rung.HANDED_OFF, Rung.IN_CONTEXT, Rung.ANSWERED, Rung.SETTLED]))
def test_reports_that_arrive_out_of_order_lead_to_the_same_end(order: list[Rung]) -> None:
    room, message_id = delivered_room()
    try:
        for rung in order:
            report(room, message_id, rung)
        assert standing(room, message_id).state is Rung.SETTLED
    finally:
        room.close()


async def test_every_step_has_its_time_and_its_evidence(room: Room) -> None:
    await join(room, "bob")
    sent = await say(room, "ann", "bob")
    for rung in (Rung.HANDED_OFF, Rung.IN_CONTEXT, Rung.ANSWERED, Rung.SETTLED):
        await trio.sleep(1)
        receipt = await room.relay.report(sent.id, "bob", rung, {"turnId": f"turn-{rung}"})
        assert receipt.state is rung
    (seq,) = [message.inbox_seq for message in await room.relay.inbox("bob", unread=False)]
    (receipt,) = await room.relay.receipts(sent.id)
    assert [(step.state, step.at - EPOCH, step.evidence) for step in receipt.steps] == [
        (Rung.ACCEPTED, 0, {"messageId": sent.id}),
        (Rung.QUEUED, 0, {"inboxSeq": seq}),
        (Rung.HANDED_OFF, 1000, {"turnId": "turn-handed_off"}),
        (Rung.IN_CONTEXT, 2000, {"turnId": "turn-in_context"}),
        (Rung.ANSWERED, 3000, {"turnId": "turn-answered"}),
        (Rung.SETTLED, 4000, {"turnId": "turn-settled"}),
    ]
    assert receipt.attempts == 1


async def test_a_delivery_offered_again_keeps_the_record_of_what_came_before(room: Room) -> None:
    for agent in ("bob", "cat"):
        await join(room, agent, tags=["work"])
    sent = await say(room, "ann", "tag:work", claimable=True)
    await room.relay.claim(sent.id, "bob")
    await trio.sleep(1)
    await room.relay.report(sent.id, "bob", Rung.HANDED_OFF, {})
    await trio.sleep(89)
    await room.service.expire()
    receipt = next(each for each in await room.relay.receipts(sent.id) if each.agent_id == "bob")
    assert receipt.state is Rung.QUEUED
    assert [(step.state, step.at - EPOCH) for step in receipt.steps] == [
        (Rung.ACCEPTED, 0),
        (Rung.QUEUED, 0),
        (Rung.HANDED_OFF, 1_000),
        (Rung.QUEUED, 90_000),
    ]
    assert receipt.steps[1].evidence != receipt.steps[3].evidence


async def test_each_recipient_has_a_ladder_of_its_own(room: Room) -> None:
    for agent in ("bob", "cat"):
        await join(room, agent)
    sent = await say(room, "ann", "broadcast")
    await room.relay.report(sent.id, "bob", Rung.IN_CONTEXT, {})
    assert {each.agent_id: each.state for each in await room.relay.receipts(sent.id)} == {
        "bob": Rung.IN_CONTEXT,
        "cat": Rung.QUEUED,
    }


async def test_reading_an_inbox_proves_nothing(room: Room) -> None:
    await join(room, "bob")
    sent = await say(room, "ann", "bob")
    for _ in range(3):
        await room.relay.inbox("bob")
        await room.relay.message(sent.id)
    (receipt,) = await room.relay.receipts(sent.id)
    assert (receipt.state, receipt.attempts) == (Rung.QUEUED, 0)


@pytest.mark.parametrize("rung", sorted(set(Rung) - REPORTABLE))
async def test_what_only_the_relay_can_know_cannot_be_reported(room: Room, rung: Rung) -> None:
    await join(room, "bob")
    sent = await say(room, "ann", "bob")
    with pytest.raises(Invalid) as refused:
        await room.relay.report(sent.id, "bob", rung, {})
    assert [field.path for field in refused.value.fields] == ["state"]


async def test_only_a_recipient_reports(room: Room) -> None:
    for agent in ("bob", "cat"):
        await join(room, agent)
    sent = await say(room, "ann", "bob")
    with pytest.raises(NotFound) as refused:
        await room.relay.report(sent.id, "cat", Rung.IN_CONTEXT, {})
    assert refused.value.code == "not_a_recipient"


async def test_only_the_registered_instance_of_a_live_agent_reports(room: Room) -> None:
    old = await join(room, "bob", instance_id="one")
    sent = await say(room, "ann", "bob")
    bob = await join(room, "bob", instance_id="two")
    await room.relay.heartbeat("bob", session(bob))
    before = await room.relay.receipts(sent.id)
    with pytest.raises(StaleInstance) as stale:
        await room.relay.report(sent.id, "bob", Rung.SETTLED, {}, session(old))
    assert stale.value.code == "stale_instance"
    with pytest.raises(StaleInstance) as nameless:
        await room.relay.report(sent.id, "bob", Rung.SETTLED, {}, SessionFields())
    assert nameless.value.code == "session_required"
    assert await room.relay.receipts(sent.id) == before
    await room.relay.report(sent.id, "bob", Rung.IN_CONTEXT, {}, session(bob))


async def test_evidence_is_small(room: Room) -> None:
    await join(room, "bob")
    sent = await say(room, "ann", "bob")
    body = {"agentId": "bob", "state": "in_context", "evidence": {"text": "x" * 4096}}
    problem = refusal(await room.http("POST", f"/api/messages/{sent.id}/receipts", json=body))
    assert (problem.status, [each["path"] for each in problem.errors]) == (400, ["evidence"])
    assert "xxx" not in problem.detail


async def test_too_many_hand_offs_end_a_delivery(room: Room) -> None:
    await join(room, "bob")
    sent = await say(room, "ann", "bob")
    for attempt in range(1, 6):
        receipt = await room.relay.report(sent.id, "bob", Rung.HANDED_OFF, {"n": attempt})
        assert (receipt.state, receipt.attempts) == (Rung.HANDED_OFF, attempt)
    receipt = await room.relay.report(sent.id, "bob", Rung.HANDED_OFF, {"n": 6})
    assert (receipt.state, receipt.attempts) == (Rung.DEAD, 5)
    with pytest.raises(Conflict) as ended:
        await room.relay.report(sent.id, "bob", Rung.HANDED_OFF, {"n": 7})
    assert ended.value.code == "delivery_ended"


@pytest.mark.parametrize("rung", [Rung.IN_CONTEXT, Rung.ANSWERED])
async def test_too_many_hand_offs_end_a_delivery_also_of_what_was_seen(room: Room, rung: Rung) -> None:
    await room.relay.register(AgentRegistration(id="bob"))
    sent = await room.relay.send(SendRequest(sender="ann", to="bob", body="x"))
    await room.relay.report(sent.id, "bob", rung, {})
    for attempt in (0, 0, 1, 2, 3, 4):  # the answer to the first was lost
        receipt = await room.relay.report(sent.id, "bob", Rung.HANDED_OFF, {"attemptId": f"one:{attempt}"})
        assert (receipt.state, receipt.attempts) == (rung, attempt + 1)
    late = await room.relay.report(sent.id, "bob", Rung.HANDED_OFF, {})  # no attempt of its own
    assert (late.state, late.attempts) == (rung, 5)
    assert await room.relay.inbox("bob") == []
    receipt = await room.relay.report(
        sent.id, "bob", Rung.HANDED_OFF, {"attemptId": "one:5", "after": "KeyError"}
    )
    assert (receipt.state, receipt.attempts) == (Rung.DEAD, 5)
    assert receipt.steps[-1].evidence["reason"] == "handed off too often"
    assert receipt.steps[-1].evidence["after"] == "KeyError"


async def test_a_hand_off_reported_again_after_a_lost_answer_counts_once(room: Room) -> None:
    await room.relay.register(AgentRegistration(id="bob"))
    sent = await room.relay.send(SendRequest(sender="ann", to="bob", body="x"))
    for attempt, expected in [("one:0", 1), ("one:0", 1), ("one:1", 2), ("one:1", 2)]:
        receipt = await room.relay.report(sent.id, "bob", Rung.HANDED_OFF, {"attemptId": attempt})
        assert receipt.attempts == expected
    assert (await room.relay.report(sent.id, "bob", Rung.HANDED_OFF, {})).attempts == 3


async def test_a_report_that_was_long_on_its_way_ends_nothing_that_is_under_way(room: Room) -> None:
    await join(room, "bob")
    sent = await say(room, "ann", "bob", ttl_ms=1_000)

    async def hand_off(attempt: str) -> Receipt:
        return await room.relay.report(sent.id, "bob", Rung.HANDED_OFF, {"attemptId": attempt})

    for attempt in range(5):
        await hand_off(f"one:{attempt}")
    echo = await hand_off("one:0")
    assert (echo.state, echo.attempts) == (Rung.HANDED_OFF, 5)
    await trio.sleep(2)
    await room.service.expire()
    echo = await hand_off("one:4")
    assert (echo.state, echo.attempts) == (Rung.HANDED_OFF, 5)
    assert (await hand_off("one:5")).state is Rung.EXPIRED
