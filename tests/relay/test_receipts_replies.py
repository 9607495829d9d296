"""Replies and read marks: how a delivery comes to be answered, read, settled without better proof."""

import pytest

from support.relay import Room
from support.talk import join, say, session
from trio_relay.core.model import Rung
from trio_relay.core.wire import Receipt
from trio_relay.errors import NotFound, StaleInstance


async def receipt_of(room: Room, message_id: int, agent_id: str) -> Receipt:
    return next(each for each in await room.relay.receipts(message_id) if each.agent_id == agent_id)


async def test_a_reply_answers_the_delivery_it_replies_to(room: Room) -> None:
    for agent in ("ann", "bob", "cat"):
        await join(room, agent)
    asked = await say(room, "ann", "broadcast")
    reply = await say(room, "bob", "ann", reply_to=asked.id)
    steps = (await receipt_of(room, asked.id, "bob")).steps
    assert {"replyId": reply.id} in [step.evidence for step in steps if step.state is Rung.ANSWERED]
    assert (await receipt_of(room, asked.id, "cat")).state is Rung.QUEUED
    assert await room.relay.inbox("bob") == []


@pytest.mark.parametrize("silent", ["ack", "reaction"])
async def test_that_one_is_at_it_is_no_answer(room: Room, silent: str) -> None:
    for agent in ("ann", "bob"):
        await join(room, agent)
    asked = await say(room, "ann", "bob")
    await say(room, "bob", "ann", body="on it", type=silent, reply_to=asked.id)
    assert (await receipt_of(room, asked.id, "bob")).state is Rung.QUEUED
    answer = await say(room, "bob", "ann", reply_to=asked.id)
    steps = (await receipt_of(room, asked.id, "bob")).steps
    assert {"replyId": answer.id} in [step.evidence for step in steps if step.state is Rung.ANSWERED]


async def test_a_reply_is_the_last_word_of_a_program_that_reports_nothing(room: Room) -> None:
    """Else the delivery would stand on ``answered`` for ever: nobody is there to settle it."""
    for agent in ("ann", "bob"):
        await join(room, agent)
    asked = await say(room, "ann", "bob")
    reply = await say(room, "bob", "ann", reply_to=asked.id)
    receipt = await receipt_of(room, asked.id, "bob")
    assert (receipt.state, receipt.steps[-1].evidence) == (
        Rung.SETTLED,
        {"by": "reply", "replyId": reply.id},
    )
    assert [step.state for step in receipt.steps][-2:] == [Rung.ANSWERED, Rung.SETTLED]


@pytest.mark.parametrize("rung", [Rung.HANDED_OFF, Rung.IN_CONTEXT])
async def test_a_program_that_reports_settles_what_it_has_answered_itself(room: Room, rung: Rung) -> None:
    for agent in ("ann", "bob"):
        await join(room, agent)
    asked = await say(room, "ann", "bob")
    await room.relay.report(asked.id, "bob", rung, {})
    await say(room, "bob", "ann", reply_to=asked.id)
    assert (await receipt_of(room, asked.id, "bob")).state is Rung.ANSWERED
    await room.relay.report(asked.id, "bob", Rung.SETTLED, {})
    assert (await receipt_of(room, asked.id, "bob")).state is Rung.SETTLED


async def test_a_program_that_reported_before_its_work_was_offered_anew_settles_it_itself(room: Room) -> None:
    for agent in ("ann", "bob"):
        await join(room, agent)
    work = await say(room, "ann", "bob", claimable=True)
    claim = await room.relay.claim(work.id, "bob")
    await room.relay.report(work.id, "bob", Rung.HANDED_OFF, {})
    await room.relay.release(work.id, "bob", claim.lease_token)
    assert (await receipt_of(room, work.id, "bob")).state is Rung.QUEUED
    await say(room, "bob", "ann", reply_to=work.id)
    assert (await receipt_of(room, work.id, "bob")).state is Rung.ANSWERED


async def test_a_reply_to_somebody_else_answers_as_well(room: Room) -> None:
    for agent in ("ann", "bob", "cat"):
        await join(room, agent)
    asked = await say(room, "ann", "bob")
    await say(room, "bob", "cat", reply_to=asked.id)
    assert Rung.ANSWERED in [step.state for step in (await receipt_of(room, asked.id, "bob")).steps]


async def test_only_the_first_reply_is_the_answer(room: Room) -> None:
    for agent in ("ann", "bob"):
        await join(room, agent)
    asked = await say(room, "ann", "bob")
    first = await say(room, "bob", "ann", reply_to=asked.id)
    await say(room, "bob", "ann", reply_to=asked.id)
    receipt = await receipt_of(room, asked.id, "bob")
    assert [step.evidence for step in receipt.steps if step.state is Rung.ANSWERED] == [{"replyId": first.id}]


async def test_a_reply_of_somebody_who_was_not_asked_answers_nothing(room: Room) -> None:
    for agent in ("ann", "bob", "cat"):
        await join(room, agent)
    asked = await say(room, "ann", "bob")
    await say(room, "cat", "ann", reply_to=asked.id)
    assert (await receipt_of(room, asked.id, "bob")).state is Rung.QUEUED


async def test_a_reply_after_the_end_changes_no_end(room: Room) -> None:
    for agent in ("ann", "bob"):
        await join(room, agent)
    asked = await say(room, "ann", "bob")
    await room.relay.report(asked.id, "bob", Rung.DEAD, {})
    await say(room, "bob", "ann", reply_to=asked.id)
    assert (await receipt_of(room, asked.id, "bob")).state is Rung.DEAD


async def test_a_reply_to_nothing_is_refused_and_nothing_is_stored(room: Room) -> None:
    await join(room, "bob")
    with pytest.raises(NotFound) as refused:
        await say(room, "ann", "bob", reply_to=7)
    assert (refused.value.code, [field.path for field in refused.value.fields]) == (
        "unknown_reply_to",
        ["replyTo"],
    )
    assert await room.relay.inbox("bob") == []


async def test_a_read_mark_without_better_proof_settles_and_says_so(room: Room) -> None:
    await join(room, "bob")
    sent = await say(room, "ann", "bob")
    await room.relay.mark_read(sent.id, "bob")
    receipt = await receipt_of(room, sent.id, "bob")
    assert (receipt.state, receipt.steps[-1].evidence) == (Rung.SETTLED, {"by": "read_mark"})
    assert Rung.IN_CONTEXT not in {step.state for step in receipt.steps}


async def test_a_read_mark_adds_nothing_to_better_proof(room: Room) -> None:
    await join(room, "bob")
    sent = await say(room, "ann", "bob")
    await room.relay.report(sent.id, "bob", Rung.IN_CONTEXT, {"turnId": "t"})
    before = await receipt_of(room, sent.id, "bob")
    await room.relay.mark_read(sent.id, "bob")
    assert await receipt_of(room, sent.id, "bob") == before
    (kept,) = await room.relay.inbox("bob", unread=False, state=Rung.IN_CONTEXT)
    assert kept.id == sent.id


async def test_read_marks_are_each_recipients_own_and_can_be_repeated(room: Room) -> None:
    for agent in ("bob", "cat"):
        await join(room, agent)
    sent = await say(room, "ann", "broadcast")
    for _ in range(2):
        await room.relay.mark_read(sent.id, "bob")
    assert await room.relay.inbox("bob") == []
    assert [message.id for message in await room.relay.inbox("cat")] == [sent.id]
    (read,) = await room.relay.inbox("bob", unread=False)
    assert read.read_at is not None


async def test_only_a_recipient_marks_and_not_a_replaced_instance(room: Room) -> None:
    old = await join(room, "bob", instance_id="one")
    sent = await say(room, "ann", "bob")
    await join(room, "bob", instance_id="two")
    with pytest.raises(NotFound) as stranger:
        await room.relay.mark_read(sent.id, "cat")
    assert stranger.value.code == "not_a_recipient"
    with pytest.raises(NotFound) as missing:
        await room.relay.mark_read(999, "bob")
    assert missing.value.code == "unknown_message"
    with pytest.raises(StaleInstance):
        await room.relay.mark_read(sent.id, "bob", session(old))
    assert [message.id for message in await room.relay.inbox("bob")] == [sent.id]


@pytest.mark.parametrize(
    ("rung", "unread"),
    [(Rung.HANDED_OFF, True), (Rung.IN_CONTEXT, False), (Rung.ANSWERED, False), (Rung.DEAD, False)],
)
async def test_a_message_counts_as_read_once_it_is_in_the_context(
    room: Room, rung: Rung, unread: bool
) -> None:
    await join(room, "bob")
    sent = await say(room, "ann", "bob")
    await room.relay.report(sent.id, "bob", rung, {})
    assert [message.id for message in await room.relay.inbox("bob")] == ([sent.id] if unread else [])
    assert [message.state for message in await room.relay.inbox("bob", unread=False)] == [rung]
