from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from support.messages import inbox_message
from trio_relay.core import batching
from trio_relay.core.batching import (
    Standing,
    choose_mode,
    client_id,
    keeps_order,
    message_ids,
    next_batch,
    travels_alone,
)
from trio_relay.core.model import Delivery
from trio_relay.core.wire import InboxMessage


def ids(batch: tuple[InboxMessage, ...]) -> list[int]:
    return [message.id for message in batch]


@st.composite
def inboxes(draw: st.DrawFn) -> list[InboxMessage]:
    messages = []
    for number in range(1, draw(st.integers(0, 12)) + 1):
        kind = draw(st.sampled_from(["plain", "plain", "plain", "plain", "claimable", "urgent", *Delivery]))
        fields: dict[str, Any] = {}
        if kind == "urgent":
            fields["priority"] = "urgent"
        elif kind in set(Delivery):
            fields["delivery"] = kind
        messages.append(
            inbox_message(
                number,
                thread=draw(st.integers(1, 4)),
                claimable=kind == "claimable",
                body="x" * draw(st.sampled_from([1, 40_000, 99_999, 200_000])),
                **fields,
            )
        )
    return messages


def drained(inbox: list[InboxMessage], *, active: bool) -> list[tuple[InboxMessage, ...]]:
    waiting, batches = list(inbox), []
    while batch := next_batch(waiting, Standing(active=active, digests_due=True)):
        batches.append(batch)
        waiting = [message for message in waiting if message not in batch]
    return batches


@given(inboxes())
def test_every_message_travels_once_and_conversations_keep_their_order(inbox: list[InboxMessage]) -> None:
    batches = drained(inbox, active=False)
    travelled = [message for batch in batches for message in batch]
    assert sorted(ids(tuple(travelled))) == [message.id for message in inbox]
    for conversation in {message.thread_id for message in inbox}:
        mine = [message for message in travelled if message.thread_id == conversation]
        order = [message.id for message in mine if keeps_order(message)]
        assert order == sorted(order)


@given(inboxes(), st.booleans())
def test_a_batch_is_one_lone_message_or_ordinary_ones_oldest_first_within_bounds(
    inbox: list[InboxMessage], active: bool
) -> None:
    for batch in drained(inbox, active=active):
        assert ids(batch) == sorted(ids(batch))
        if len(batch) > 1:
            assert not any(map(travels_alone, batch))
            longest = max(len(message.body) for message in batch)
            assert sum(len(message.body) for message in batch) <= batching.MAX_BATCH_CHARS + longest
            assert len(batch) <= batching.MAX_BATCH_MESSAGES


@given(inboxes())
def test_against_a_running_turn_start_and_what_follows_it_wait_and_so_does_what_wakes_nobody(
    inbox: list[InboxMessage],
) -> None:
    travelled = {message.id for batch in drained(inbox, active=True) for message in batch}
    starts: set[int] = set()
    for message in inbox:
        if not keeps_order(message):
            assert message.id not in travelled
            continue
        if message.meta.get("delivery") == "start":
            starts.add(message.thread_id)
        assert (message.id in travelled) == (message.thread_id not in starts)


@given(inboxes(), st.booleans())
def test_behind_what_waits_in_codex_s_queue_only_what_goes_there_as_well_goes(
    inbox: list[InboxMessage], active: bool
) -> None:
    waiting, standing = list(inbox), Standing(active=active, queued={1}, digests_due=True)
    while batch := next_batch(waiting, standing):
        for message in batch:
            assert message.thread_id != 1 or not keeps_order(message) or message.meta["delivery"] == "idle"
        waiting = [message for message in waiting if message not in batch]


@given(inboxes())
def test_digests_begin_a_turn_only_when_they_are_due(inbox: list[InboxMessage]) -> None:
    waiting = list(inbox)
    while batch := next_batch(waiting, Standing(active=False, digests_due=False)):
        assert any(message.meta.get("delivery") != "digest" for message in batch)
        waiting = [message for message in waiting if message not in batch]
    assert all(message.meta.get("delivery") == "digest" for message in waiting)


def test_ordinary_messages_form_one_batch_around_a_claimable_one() -> None:
    inbox = [inbox_message(1), inbox_message(2, claimable=True), inbox_message(3)]
    assert [ids(batch) for batch in drained(inbox, active=False)] == [[1, 3], [2]]


def test_urgent_goes_before_other_conversations_but_not_before_its_own() -> None:
    inbox = [
        inbox_message(1, thread=1),
        inbox_message(2, thread=2),
        inbox_message(3, thread=2, priority="urgent"),
    ]
    assert [ids(batch) for batch in drained(inbox, active=False)] == [[1, 2], [3]]
    inbox[2].thread_id = 3
    assert [ids(batch) for batch in drained(inbox, active=False)] == [[3], [1, 2]]


def test_a_held_conversation_waits_as_a_whole() -> None:
    inbox = [
        inbox_message(1, thread=1),
        inbox_message(2, thread=2),
        inbox_message(3, thread=1, priority="urgent"),
    ]
    assert ids(next_batch(inbox, Standing(active=False, held={1}))) == [2]
    assert next_batch(inbox, Standing(active=False, held={1, 2})) == ()


def test_a_long_burst_is_cut_into_batches_codex_can_take() -> None:
    inbox = [inbox_message(number) for number in range(1, 121)]
    assert [len(batch) for batch in drained(inbox, active=False)] == [50, 50, 20]


def test_modes() -> None:
    plain = inbox_message()
    assert choose_mode([plain], active=False) is Delivery.START
    assert choose_mode([plain], active=True) is Delivery.STEER
    assert (
        choose_mode([inbox_message(priority="urgent", authority="human")], active=True) is Delivery.INTERRUPT
    )
    assert choose_mode([inbox_message(priority="urgent", delivery="steer")], active=True) is Delivery.STEER
    assert choose_mode([inbox_message(delivery="interrupt")], active=False) is Delivery.START
    assert choose_mode([inbox_message(delivery="teleport")], active=True) is Delivery.STEER
    assert not travels_alone(inbox_message(delivery="teleport"))
    assert not travels_alone(inbox_message(delivery=["start"]))


@given(st.lists(st.integers(1, 10**12), min_size=1))
def test_a_client_id_names_its_messages(numbers: list[int]) -> None:
    assert message_ids(client_id(numbers)) == tuple(numbers)


@given(st.none() | st.text() | st.text().map("relay:".__add__))
def test_foreign_client_ids_are_not_ours(text: str | None) -> None:
    found = message_ids(text)
    assert not found or client_id(found).replace("0", "") == (text or "").replace("0", "")
    assert message_ids("relay:") == message_ids("relay:1,") == message_ids("relay:\u0661") == ()
