"""Leases: at most one valid holder of a claimable at any instant, and a stale token changes nothing.

Taking is a compare-and-swap in one statement, and the row count is the verdict. The lease's epoch only grows, its
token is new at every grant. A lease that lapses, is released, or whose holder leaves is open again, and the message
it guards is offered again to everyone it was offered to.
"""

from dataclasses import dataclass
from typing import Any

from trio_relay.core.model import Rung
from trio_relay.core.wire import ClaimedMessage, ClaimRequest, Message
from trio_relay.errors import Conflict, Invalid, LeaseLost
from trio_relay.relay.operations import task_state
from trio_relay.relay.operations.messages_read import message_row
from trio_relay.relay.operations.receipts import climb, end_too_late
from trio_relay.relay.operations.tx import (
    Row,
    Tx,
    agent_row,
    check_session,
    concurrent,
    dump,
    is_live,
    message_fields,
    message_of,
)
from trio_relay.store.locks import Kind
from trio_relay.store.queries import queries


@concurrent
def claim(tx: Tx, message_id: int, request: ClaimRequest) -> ClaimedMessage:
    """Claim a message. The present holder that asks again gets its own lease back, renewed.

    Raises:
        Invalid: the message is not claimable (code ``not_claimable``).
        Conflict: another agent holds it, it is done, or it was withdrawn (``claimed``, ``completed``, ``withdrawn``).

    """
    tx.lock(Kind.CLAIM, message_id)
    claimant = _claimant(tx, message_id, request)
    key = claimant.key
    expires_at = tx.now + (request.ttl_ms or tx.policy.claim_ttl)
    lease = _lease(tx, key)
    if _is_holder(tx, lease, request, claimant):
        queries.renew_lease(
            tx.connection,
            key=key,
            holder=lease["holder"],
            token=lease["token"],
            now=tx.now,
            expires_at=expires_at,
        )
        return _claimed(tx, message_id, key)
    if claimant.withdrawn is not None:
        raise Conflict(f"message {message_id} was withdrawn: {claimant.withdrawn}", code="withdrawn")
    if _is_spent(tx, lease):
        raise Conflict(f"message {message_id} has been handed out too often", code="completed")
    won = queries.claim_lease(
        tx.connection,
        key=key,
        holder=request.agent_id,
        holder_epoch=claimant.epoch,
        token=tx.new_token(),
        now=tx.now,
        expires_at=expires_at,
        max_attempts=tx.policy.max_attempts,
    )
    if not won:
        if lease["state"] in ("done", "dead"):
            raise Conflict(f"message {message_id} is {lease['state']}", code="completed")
        # Held; or lapsed for the last time, which housekeeping turns into a dead letter within a second.
        raise Conflict(f"message {message_id} is claimed by {lease['holder']!r}", code="claimed")
    tx.event("message.claimed", messageId=message_id, agentId=request.agent_id)
    task_state.claimed(tx, message_id, request.agent_id)
    return _claimed(tx, message_id, key)


@concurrent
def renew(tx: Tx, message_id: int, request: ClaimRequest) -> ClaimedMessage:
    """Keep a claim. Without a token (older clients) the holder's name and session decide.

    Raises:
        LeaseLost: the lease is no longer the caller's.

    """
    tx.lock(Kind.CLAIM, message_id)
    key, token = _held(tx, message_id, request)
    renewed = queries.renew_lease(
        tx.connection,
        key=key,
        holder=request.agent_id,
        token=token,
        now=tx.now,
        expires_at=tx.now + (request.ttl_ms or tx.policy.claim_ttl),
    )
    if not renewed:
        raise _lost(message_id)
    return _claimed(tx, message_id, key)


@concurrent
def release(tx: Tx, message_id: int, request: ClaimRequest) -> Message:
    """Give a claim back; the others hear of the message again.

    Raises:
        LeaseLost: the lease is no longer the caller's.

    """
    _lock_with_inboxes(tx, message_id)
    key, token = _held(tx, message_id, request)
    if not queries.release_lease(tx.connection, key=key, holder=request.agent_id, token=token, now=tx.now):
        raise _lost(message_id)
    _open_again(tx, message_id, without=request.agent_id)
    return message_of(message_row(tx, message_id))


@concurrent
def complete(tx: Tx, message_id: int, request: ClaimRequest) -> Message:
    """The work is done: nobody can claim it any more, and the other recipients are settled. Repeating it is safe.

    Raises:
        LeaseLost: the lease is no longer the caller's.

    """
    _lock_with_inboxes(tx, message_id)
    key, token = _held(tx, message_id, request)
    done = queries.complete_lease(
        tx.connection, key=key, holder=request.agent_id, token=token, result=dump(request.result), now=tx.now
    )
    if not done:
        if _has_completed(_lease(tx, key), request.agent_id, token):
            return message_of(message_row(tx, message_id))
        raise _lost(message_id)
    task_state.completed(tx, message_id, request.agent_id, request.result)
    queries.close_open_target(tx.connection, message_id=message_id)
    for row in list(queries.open_deliveries_to(tx.connection, message_id=message_id)):
        # The holder's own delivery is its program's to settle, unless it never reported on it at all.
        if row["agent_id"] != request.agent_id or row["state"] == Rung.QUEUED:
            _end(tx, message_id, row["agent_id"], Rung.SETTLED, {"completedBy": request.agent_id})
    tx.event("message.completed", messageId=message_id, agentId=request.agent_id)
    return message_of(message_row(tx, message_id))


def close(tx: Tx, message_id: int) -> None:
    """Nobody need do it any more, whoever holds it: the work was ended from outside. Every delivery is settled."""
    queries.close_lease(tx.connection, key=f"message:{message_id}")
    queries.close_open_target(tx.connection, message_id=message_id)
    for row in list(queries.open_deliveries_to(tx.connection, message_id=message_id)):
        _end(tx, message_id, row["agent_id"], Rung.SETTLED, {"reason": "closed"})
    tx.event("message.completed", messageId=message_id, agentId=None)


def take_back_message(tx: Tx, message_id: int) -> None:
    """Take a message from whoever holds it, and offer it again."""
    take_back(tx, _lease(tx, f"message:{message_id}"))


def take_back_leases(tx: Tx, agent_id: str) -> None:
    """Release everything an agent holds: it left or was replaced."""
    for row in list(queries.leases_held_by(tx.connection, holder=agent_id)):
        take_back(tx, row)


def take_back(tx: Tx, row: Row) -> None:
    """Release one lease whose holder lapsed, left or was replaced, and offer the message again."""
    if not queries.take_back_lease(tx.connection, key=row["key"], epoch=row["epoch"]):
        return
    message: Row | None = queries.message_of_lease(tx.connection, lease_key=row["key"])
    if message is not None:
        _open_again(tx, message["id"], without=None)
    else:
        tx.event("lease.expired", key=row["key"], agentId=row["holder"])


def redrive(tx: Tx, message_id: int) -> Message:
    """Give a dead letter another life: its attempts count afresh and it is queued again for whom it was dead.

    Raises:
        Conflict: the message is no dead letter (``not_dead``), or it was withdrawn (``withdrawn``).

    """
    row = message_row(tx, message_id)
    if row["withdrawn"] is not None:
        raise Conflict(f"message {message_id} was withdrawn: {row['withdrawn']}", code="withdrawn")
    dead = [each["agent_id"] for each in queries.dead_deliveries(tx.connection, message_id=message_id)]
    revived = row["lease_key"] is not None and queries.revive_lease(tx.connection, key=row["lease_key"])
    if not dead and not revived:
        raise Conflict(f"message {message_id} is no dead letter", code="not_dead")
    if revived:
        task_state.reopened(tx, message_id)
        queries.insert_open_target(
            tx.connection, target=row["target"], message_id=message_id, kind="claimable"
        )
    for agent_id in dead:
        _queue_again(tx, message_id, agent_id, attempts=0)
    tx.event("message.redriven", messageId=message_id)
    return message_of(message_row(tx, message_id))


def _lock_with_inboxes(tx: Tx, message_id: int) -> None:
    """Keep others from a message's lease, and from where it lies: who hears of it changes with the lease."""
    tx.lock(Kind.CLAIM, message_id)
    tx.lock_inboxes([row["agent_id"] for row in queries.recipients(tx.connection, message_id=message_id)])


def _open_again(tx: Tx, message_id: int, *, without: str | None) -> None:
    """The message can be claimed again, unless it has been handed out too often."""
    tx.event("message.claim_released", messageId=message_id)
    lease = _lease(tx, f"message:{message_id}")
    if lease["attempts"] >= tx.policy.max_attempts and queries.kill_lease(tx.connection, key=lease["key"]):
        queries.close_open_target(tx.connection, message_id=message_id)
        for row in list(queries.open_deliveries_to(tx.connection, message_id=message_id)):
            evidence = {"reason": "claimed too often without completion", "attempts": lease["attempts"]}
            _end(tx, message_id, row["agent_id"], Rung.DEAD, evidence)
        tx.event("message.dead", messageId=message_id)
        task_state.gave_up(tx, message_id, lease["attempts"])
        return
    message = message_row(tx, message_id)
    if message["withdrawn"] is None:
        task_state.reopened(tx, message_id)
        _reoffer(tx, message_id, without=without)
        return
    task_state.withdrawn(tx, message_id, message["withdrawn"])
    if without is not None:
        _end_if_in_hand(tx, message, without)


def _end_if_in_hand(tx: Tx, message: Row, agent_id: str) -> None:
    """A message that was withdrawn meanwhile is given back: nobody needs it any more, so this delivery ends too."""
    delivery: Row | None = queries.get_inbox(tx.connection, agent_id=agent_id, message_id=message["id"])
    if delivery is not None and delivery["state"] == Rung.HANDED_OFF:
        end_too_late(tx, message, agent_id, {})


def _reoffer(tx: Tx, message_id: int, *, without: str | None) -> None:
    """Offer it again to whoever has not taken it up; to the one who gave it back only if there is nobody else."""
    rows = [
        row
        for row in list(queries.recipients(tx.connection, message_id=message_id))
        if row["state"] in (Rung.QUEUED, Rung.HANDED_OFF)
    ]
    for row in [row for row in rows if row["agent_id"] != without] or rows:
        _queue_again(tx, message_id, row["agent_id"], attempts=row["attempts"])


def _queue_again(tx: Tx, message_id: int, agent_id: str, *, attempts: int) -> None:
    """Let a delivery arrive once more, with a new arrival number; that it was queued before stays on record."""
    before: Row = queries.get_inbox(tx.connection, agent_id=agent_id, message_id=message_id)
    queries.insert_receipt(
        tx.connection,
        message_id=message_id,
        agent_id=agent_id,
        state=Rung.QUEUED,
        now=before["queued_at"],
        evidence=dump({"inboxSeq": before["seq"]}),
    )
    queries.drop_inbox(tx.connection, agent_id=agent_id, message_id=message_id)
    queries.reoffer_inbox(
        tx.connection, agent_id=agent_id, message_id=message_id, attempts=attempts, now=tx.now
    )
    tx.wake.add(agent_id)


def _end(tx: Tx, message_id: int, agent_id: str, ending: Rung, evidence: dict[str, Any]) -> None:
    """End the delivery to somebody who may wait for it."""
    climb(tx, message_id, agent_id, ending, evidence)
    tx.wake.add(agent_id)


def _lease(tx: Tx, key: str) -> Row:
    row: Row = queries.get_lease(tx.connection, key=key)
    return row


@dataclass(frozen=True, slots=True)
class _Claimant:
    """Who asks, and for what. `speaks`: the call may use what the agent already holds."""

    key: str
    epoch: int
    speaks: bool
    withdrawn: str | None


def _claimant(tx: Tx, message_id: int, request: ClaimRequest) -> _Claimant:
    message = message_row(tx, message_id)
    if message["lease_key"] is None:
        raise Invalid(f"message {message_id} is not claimable", code="not_claimable")
    agent = agent_row(tx, request.agent_id)
    speaks = check_session(agent, request) or not is_live(tx, agent)
    return _Claimant(message["lease_key"], agent["epoch"], speaks, message["withdrawn"])


def _is_holder(tx: Tx, lease: Row, request: ClaimRequest, claimant: _Claimant) -> bool:
    return bool(
        claimant.speaks
        and lease["state"] == "held"
        and lease["holder"] == request.agent_id
        and lease["holder_epoch"] == claimant.epoch
        and lease["expires_at"] > tx.now
    )


def _held(tx: Tx, message_id: int, request: ClaimRequest) -> tuple[str, str]:
    claimant = _claimant(tx, message_id, request)
    if request.lease_token is not None:
        return claimant.key, request.lease_token
    lease = _lease(tx, claimant.key)
    if not _is_holder(tx, lease, request, claimant):
        raise _lost(message_id)
    return claimant.key, lease["token"]


def _is_spent(tx: Tx, lease: Row) -> bool:
    """Whether a lease has run out for the last time; housekeeping will make it a dead letter in a moment."""
    lapsed: bool = lease["state"] == "held" and lease["expires_at"] <= tx.now
    return lapsed and lease["attempts"] >= tx.policy.max_attempts


def _has_completed(lease: Row, agent_id: str, token: str) -> bool:
    return bool(lease["state"] == "done" and lease["holder"] == agent_id and lease["token"] == token)


def _lost(message_id: int) -> LeaseLost:
    return LeaseLost(f"the claim on message {message_id} is no longer yours")


def _claimed(tx: Tx, message_id: int, key: str) -> ClaimedMessage:
    lease = _lease(tx, key)
    return ClaimedMessage(
        **message_fields(message_row(tx, message_id)),
        lease_token=lease["token"],
        lease_epoch=lease["epoch"],
        attempt=lease["attempts"],
    )
