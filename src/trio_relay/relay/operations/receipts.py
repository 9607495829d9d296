"""Receipts: the ladder of each delivery, reported by the recipient's program and written down as it was seen."""

from typing import Any

from trio_relay.core.ladder import FINAL, REPORTABLE, Step, step
from trio_relay.core.model import Rung
from trio_relay.core.wire import Receipt, ReceiptReport, ReceiptStep
from trio_relay.errors import Conflict, FieldError, Invalid, NotFound, StaleInstance
from trio_relay.relay.operations.messages_read import message_row, readable_row
from trio_relay.relay.operations.notices import notify
from trio_relay.relay.operations.tx import Row, Tx, check_session, concurrent, dump, from_json, is_live
from trio_relay.store.queries import queries

#: Evidence holds ids and modes, never text: bytes of JSON, at most.
MAX_EVIDENCE = 4096


@concurrent
def report(tx: Tx, message_id: int, request: ReceiptReport) -> Receipt:
    """Write down a rung that was seen. Repeating a report, or reporting a rung already passed, changes nothing.

    A hand-off is reported before it is made: the answer is the last word on whether the message still has a point, and
    the bound on how often it may be tried. With the same ``evidence.attemptId`` it is the same hand-off; with another
    it counts also where the message was seen or answered before, and the delivery stays on its rung.

    Raises:
        Invalid: a rung only the relay itself can know, or evidence that is too large.
        NotFound: the agent is no recipient of this message (``not_a_recipient``).
        StaleInstance: the report comes from an instance that has been replaced.
        Conflict: the delivery has already ended another way (``delivery_ended``), or is said to be taken back and
            cannot be (``not_withdrawn``, ``too_late``).

    """
    _check(request)
    tx.lock_inboxes([request.agent_id])
    message = message_row(tx, message_id)
    agent: Row | None = queries.get_agent(tx.connection, id=request.agent_id)
    if agent is not None and not check_session(agent, request) and is_live(tx, agent):
        raise StaleInstance(
            f"agent {request.agent_id!r} is live: a receipt must name its instance", code="session_required"
        )
    delivery: Row | None = queries.get_inbox(tx.connection, agent_id=request.agent_id, message_id=message_id)
    if delivery is None:
        raise NotFound(f"message {message_id} was not sent to {request.agent_id!r}", code="not_a_recipient")
    current = Rung(delivery["state"])
    if request.state is Rung.HANDED_OFF and current not in FINAL and _decided(tx, message, delivery, request):
        return _receipt_of(tx, message_id, request.agent_id)
    if request.state is Rung.RETRACTED:
        _taken_back(tx, message, request, current)
        return _receipt_of(tx, message_id, request.agent_id)
    match step(current, request.state):
        case Step.ENDED:
            raise Conflict(f"this delivery has ended: {current}", code="delivery_ended")
        case Step.CLIMB | Step.AGAIN:
            climb(tx, message_id, request.agent_id, request.state, request.evidence)
            _time(tx, message, request.state)
        case Step.NOTHING:
            pass
    return _receipt_of(tx, message_id, request.agent_id)


def _decided(tx: Tx, message: Row, delivery: Row, request: ReceiptReport) -> bool:
    """Whether a hand-off is no climb: it was reported before, it must not be made, or the message was seen already."""
    current = Rung(delivery["state"])
    was_seen = current not in (Rung.QUEUED, Rung.HANDED_OFF)
    if _is_known_attempt(tx, message["id"], request):
        return True
    if was_seen and "attemptId" not in request.evidence:
        return True  # it may be one of before, that comes late
    if not was_seen and _pointless(tx, message):
        _not_again(tx, message, request, current)
        return True
    if delivery["attempts"] >= tx.policy.max_attempts:
        why = {"reason": "handed off too often", **request.evidence}
        climb(tx, message["id"], request.agent_id, Rung.DEAD, why)
        return True
    if was_seen:
        climb(tx, message["id"], request.agent_id, Rung.HANDED_OFF, request.evidence, stays_on=current)
    return was_seen


def _is_known_attempt(tx: Tx, message_id: int, request: ReceiptReport) -> bool:
    """Whether this hand-off was reported before: its answer was lost, or this report has been long on its way.

    Then it changes nothing: it neither counts again nor ends what is under way.
    """
    attempt = request.evidence.get("attemptId")
    return isinstance(attempt, str) and any(
        from_json(row["evidence"]).get("attemptId") == attempt
        for row in queries.hand_offs(tx.connection, message_id=message_id, agent_id=request.agent_id)
    )


def _check(request: ReceiptReport) -> None:
    if request.state not in REPORTABLE:
        allowed = ", ".join(rung for rung in Rung if rung in REPORTABLE)
        raise Invalid(
            f"{request.state} is not for a recipient to report",
            fields=(FieldError("state", f"expected one of {allowed}"),),
        )
    if len(dump(request.evidence)) > MAX_EVIDENCE:
        raise Invalid(
            "the evidence is too large",
            fields=(FieldError("evidence", f"expected at most {MAX_EVIDENCE} bytes of JSON"),),
        )


def _pointless(tx: Tx, message: Row) -> bool:
    """Check once more, at the moment of delivery, whether a message has lost its point."""
    expired: bool = message["expires_at"] is not None and message["expires_at"] <= tx.now
    return expired or message["withdrawn"] is not None


def _not_again(tx: Tx, message: Row, request: ReceiptReport, current: Rung) -> None:
    """Refuse to have a pointless message handed off.

    One that still waits in the inbox is ended by whoever withdrew it. One that was handed off before was spared then,
    because it might have arrived; that it is to be handed off again says that it has not, so it ends here.

    Raises:
        Conflict: it still waits (``delivery_ended``).

    """
    if current is Rung.QUEUED:
        raise Conflict(f"this delivery has ended: {message['withdrawn'] or 'expired'}", code="delivery_ended")
    end_too_late(tx, message, request.agent_id, request.evidence)


def _taken_back(tx: Tx, message: Row, request: ReceiptReport, current: Rung) -> None:
    """End the delivery of a withdrawn message that its recipient's program has taken back in time, as it says.

    Raises:
        Conflict: nobody has withdrawn it (``not_withdrawn``), or it has already got further (``too_late``).

    """
    if current in (Rung.RETRACTED, Rung.EXPIRED):
        return
    if current not in (Rung.QUEUED, Rung.HANDED_OFF):
        raise Conflict(f"this delivery is {current} already", code="too_late")
    if _pointless(tx, message):
        end_too_late(tx, message, request.agent_id, request.evidence)
        return
    newer: Row | None = None
    if message["collapse_key"] is not None:
        newer = queries.newer_of_key(
            tx.connection,
            agent_id=request.agent_id,
            sender=message["sender"],
            collapse_key=message["collapse_key"],
            after=message["id"],
        )
    if newer is None:
        raise Conflict(f"nobody has withdrawn message {message['id']}", code="not_withdrawn")
    evidence = {"collapsedInto": newer["id"], **request.evidence}
    climb(tx, message["id"], request.agent_id, Rung.RETRACTED, evidence)


def end_too_late(tx: Tx, message: Row, agent_id: str, evidence: dict[str, Any]) -> None:
    """End the delivery of a message that has expired or was withdrawn while this recipient had it in hand."""
    expired = message["expires_at"] is not None and message["expires_at"] <= tx.now
    reason = {"reason": message["withdrawn"] or "expired"}
    climb(tx, message["id"], agent_id, Rung.EXPIRED if expired else Rung.RETRACTED, {**reason, **evidence})
    others_were_told_of = message["withdrawn"] is not None
    if expired and others_were_told_of:
        notify(
            tx,
            message["sender"],
            "delivery.expired",
            f"Message {message['id']} expired before it reached {agent_id}.",
            meta={"messageId": message["id"], "recipients": [agent_id]},
        )


def climb(
    tx: Tx,
    message_id: int,
    agent_id: str,
    rung: Rung,
    evidence: dict[str, Any],
    *,
    stays_on: Rung | None = None,
) -> None:
    """Put a delivery on a rung. From ``in_context`` on the message counts as read.

    What was higher already `stays_on` its rung: only the step is written down, and the attempt counted.
    """
    seen = rung is not Rung.HANDED_OFF
    queries.climb(
        tx.connection,
        agent_id=agent_id,
        message_id=message_id,
        state=stays_on or rung,
        attempt=int(rung is Rung.HANDED_OFF),
        read_at=tx.now if seen else None,
    )
    queries.insert_receipt(
        tx.connection,
        message_id=message_id,
        agent_id=agent_id,
        state=rung,
        now=tx.now,
        evidence=dump(evidence),
    )
    tx.event("message.receipt", messageId=message_id, agentId=agent_id, state=rung)


def link_reply(tx: Tx, message: Row, agent_id: str, reply_id: int) -> None:
    """A recipient has answered: the relay saw the reply itself.

    A program that reports rungs will say when it is done. One that does not has said with its reply all it ever will.
    """
    message_id = message["id"]
    delivery: Row | None = queries.get_inbox(tx.connection, agent_id=agent_id, message_id=message_id)
    if delivery is None or step(Rung(delivery["state"]), Rung.ANSWERED) is not Step.CLIMB:
        return
    reports = any(
        row["state"] != Rung.QUEUED
        for row in queries.receipts_of(tx.connection, message_id=message_id, agent_id=agent_id)
    )
    climb(tx, message_id, agent_id, Rung.ANSWERED, {"replyId": reply_id})
    _time(tx, message, Rung.ANSWERED)
    if not reports:
        climb(tx, message_id, agent_id, Rung.SETTLED, {"by": "reply", "replyId": reply_id})


def _time(tx: Tx, message: Row, rung: Rung) -> None:
    if rung in (Rung.IN_CONTEXT, Rung.ANSWERED):
        tx.took.append((rung, max(0, tx.now - message["created_at"])))


def receipts(tx: Tx, message_id: int) -> list[Receipt]:
    """The ladder of every recipient of a message."""
    readable_row(tx, message_id)
    return [
        _receipt_of(tx, message_id, row["agent_id"])
        for row in list(queries.recipients(tx.connection, message_id=message_id))
    ]


def _receipt_of(tx: Tx, message_id: int, agent_id: str) -> Receipt:
    delivery: Row = queries.get_inbox(tx.connection, agent_id=agent_id, message_id=message_id)
    accepted_at = message_row(tx, message_id)["created_at"]
    steps = [
        ReceiptStep(state=Rung.ACCEPTED, at=accepted_at, evidence={"messageId": message_id}),
        ReceiptStep(state=Rung.QUEUED, at=delivery["queued_at"], evidence={"inboxSeq": delivery["seq"]}),
    ]
    steps += [
        ReceiptStep(state=Rung(row["state"]), at=row["at"], evidence=from_json(row["evidence"]))
        for row in queries.receipts_of(tx.connection, message_id=message_id, agent_id=agent_id)
    ]
    # A delivery that was offered again is queued later than rungs it reached before.
    steps.sort(key=lambda each: each.at)
    return Receipt(
        agent_id=agent_id, state=Rung(delivery["state"]), attempts=delivery["attempts"], steps=steps
    )
