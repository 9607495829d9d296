"""What a person who watches the room asks for: who talks to whom, what is dead and why, whose callbacks fail."""

from support.relay import EPOCH
from support.sync_room import SyncRoom
from trio_relay.core.integrations import Integration
from trio_relay.core.model import Rung
from trio_relay.core.tasks import TaskStatus
from trio_relay.core.wire import AgentRegistration, ClaimRequest, ReceiptReport, SendRequest
from trio_relay.core.wire_rooms import RetractRequest
from trio_relay.core.wire_tasks import IntegrationEvent
from trio_relay.relay.operations import (
    agents,
    callbacks,
    explain,
    freshness,
    integrations,
    leases,
    messages,
    receipts,
    watching,
)

HOUR = 3_600_000


def enter(room: SyncRoom, *names: str) -> None:
    for name in names:
        room.do(agents.register, AgentRegistration(id=name, ready=True, tags=["all"]))


def say(room: SyncRoom, sender: str, to: str, *, claimable: bool = False) -> int:
    sent, _ = room.do(messages.send, SendRequest(sender=sender, to=to, body="x", claimable=claimable))
    return sent.id


def test_pairs_are_counted_busiest_first(sync_room: SyncRoom) -> None:
    enter(sync_room, "a", "b", "c")
    say(sync_room, "a", "b")
    sync_room.now += 2 * HOUR
    for _ in range(3):
        say(sync_room, "a", "b")
    say(sync_room, "b", "a")
    sync_room.now += 5
    say(sync_room, "c", "tag:all")
    told = sync_room.do(watching.traffic, since=EPOCH + HOUR)
    assert [(talk.sender, talk.recipient, talk.messages) for talk in told.talks] == [
        ("a", "b", 3),
        ("c", "a", 1),
        ("c", "b", 1),
        ("b", "a", 1),
    ]
    assert told.talks[1].last_at == EPOCH + 2 * HOUR + 5
    assert (told.since, told.complete, told.pairs, told.messages) == (EPOCH + HOUR, True, 4, 6)


def test_in_a_busy_hour_the_newest_are_told_and_since_when(sync_room: SyncRoom) -> None:
    enter(sync_room, "a", "b", "c")
    say(sync_room, "a", "b")
    sync_room.now += 1000
    say(sync_room, "b", "c")
    sync_room.now += 1000
    say(sync_room, "a", "c")
    told = sync_room.do(watching.traffic, since=EPOCH - 1, deliveries=2, pairs=1)
    assert [(talk.sender, talk.recipient) for talk in told.talks] == [("a", "c")]
    assert (told.since, told.complete, told.pairs, told.messages) == (EPOCH + 1000, False, 2, 2)


def test_a_quiet_hour_is_empty(sync_room: SyncRoom) -> None:
    assert sync_room.do(watching.traffic, since=EPOCH) == watching.Traffic(EPOCH, True, [], 0, 0)


def test_a_dead_letter_says_for_whom_and_why(sync_room: SyncRoom) -> None:
    enter(sync_room, "b", "c")
    direct = say(sync_room, "a", "b")
    for attempt in ("first", "second"):
        report = ReceiptReport(agent_id="b", state=Rung.HANDED_OFF, evidence={"attemptId": attempt})
        sync_room.do(receipts.report, direct, report)
    work = say(sync_room, "a", "tag:all", claimable=True)
    held = sync_room.do(leases.claim, work, ClaimRequest(agent_id="c"))
    sync_room.do(leases.release, work, ClaimRequest(agent_id="c", lease_token=held.lease_token))
    newest, older = sync_room.do(watching.dead_letters, limit=10)
    assert (newest.message.id, [each.agent_id for each in newest.recipients]) == (work, ["b", "c"])
    assert newest.recipients[0].evidence["reason"] == "claimed too often without completion"
    assert (older.message.id, older.recipients[0].agent_id, older.recipients[0].attempts) == (direct, "b", 1)
    assert older.recipients[0].evidence["reason"] == "handed off too often"
    assert older.recipients[0].at == EPOCH
    assert sync_room.do(explain.explain, direct).summary == "Ended: dead for b."
    assert sync_room.do(explain.explain, work).summary == "Ended: dead for b, dead for c."
    (page,) = sync_room.do(watching.dead_letters, limit=10, before=work)
    assert page.message.id == direct


def test_parked_work_that_was_claimed_all_the_same_says_so(sync_room: SyncRoom) -> None:
    def told(message: int) -> str:
        return sync_room.do(explain.explain, message).summary

    def claimed(message: int) -> ClaimRequest:
        held = sync_room.do(leases.claim, message, ClaimRequest(agent_id="c", ttl_ms=5000))
        return ClaimRequest(agent_id="c", lease_token=held.lease_token)

    parked = "Parked: nobody answers to 'tag:none' yet."
    enter(sync_room, "c")
    done, lapsed, spent, gone, late = (say(sync_room, "a", "tag:none", claimable=True) for _ in range(5))
    assert told(done) == parked
    lease = claimed(done)
    assert told(done) == "Claimed by c, though nobody answers to 'tag:none'."
    sync_room.do(leases.complete, done, lease)
    assert told(done) == "Completed by c."
    claimed(lapsed)
    sync_room.now += 5000
    assert told(lapsed) == parked
    lease = claimed(spent)
    sync_room.do(leases.release, spent, lease)
    assert told(spent) == "Ended: claimed too often without completion."
    sync_room.do(freshness.retract, gone, RetractRequest(sender="a", reason="no need"))
    assert told(gone) == "Withdrawn before anybody had it: no need."
    lease = claimed(late)
    sync_room.do(freshness.retract, late, RetractRequest(sender="a", reason="no need"))
    assert told(late) == "Claimed by c, though nobody answers to 'tag:none'. Withdrawn meanwhile: no need."
    sync_room.do(leases.release, late, lease)
    assert told(late) == "Withdrawn before anybody had done it: no need."


def test_a_task_says_how_its_callbacks_fare(sync_room: SyncRoom) -> None:
    event = IntegrationEvent(title="red", target="tag:all")
    source = Integration(name="ci", token="-", callback_url="https://ci.example/hook")
    task, _ = sync_room.do(integrations.take_event, source, event)
    (watched,) = sync_room.do(watching.watched_tasks, TaskStatus, limit=5)
    assert (watched.task.id, watched.dead, watched.failing) == (task.id, 0, 0)
    due = sync_room.do(callbacks.next_due, ("ci",))
    assert due is not None
    sync_room.do(callbacks.record, due.id, callbacks.Posted(status=500), duration_ms=3, pause_ms=10_000)
    (watched,) = sync_room.do(watching.watched_tasks, TaskStatus, limit=5)
    assert (watched.dead, watched.failing) == (0, 1)
    sync_room.do(callbacks.record, due.id, callbacks.Posted(error="timeout"), duration_ms=3, pause_ms=None)
    (watched,) = sync_room.do(watching.watched_tasks, [TaskStatus.OPEN], limit=5)
    assert (watched.dead, watched.failing) == (1, 0)


def test_who_works_on_what(sync_room: SyncRoom) -> None:
    enter(sync_room, "b", "c")
    work = say(sync_room, "a", "tag:all", claimable=True)
    assert sync_room.do(watching.held_claims, 10) == []
    sync_room.do(leases.claim, work, ClaimRequest(agent_id="c", ttl_ms=5000))
    (held,) = sync_room.do(watching.held_claims, 10)
    assert (held.message_id, held.holder, held.expires_at - sync_room.now, held.task_id) == (
        work,
        "c",
        5000,
        None,
    )
    sync_room.now += 5000
    assert sync_room.do(watching.held_claims, 10) == []
