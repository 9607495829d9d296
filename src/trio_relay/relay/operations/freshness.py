"""Freshness: a message that has lost its point is not delivered.

Withdrawing (retract, supersede, collapse, expiry) ends the deliveries that still wait in an inbox. One that was
already handed off goes on: the relay does not claim to have stopped what it cannot see. A recipient's program reports
the hand-off before it acts, and hears there that a delivery has ended; that is the last check. A program that has handed
something off to a place where it waits (Codex's queue) names it in its polls (`watch`), hears that it was withdrawn,
takes it back if it still can, and says so (``retracted``).

A task nobody has claimed is canceled with its message. One that somebody holds goes on; given back, it is canceled then.
"""

from trio_relay.core.model import Rung
from trio_relay.core.wire_rooms import RetractRequest, Withdrawal
from trio_relay.errors import FieldError, Invalid, NotFound, Refused
from trio_relay.relay.operations import task_state
from trio_relay.relay.operations.messages_read import message_row
from trio_relay.relay.operations.notices import notify
from trio_relay.relay.operations.receipts import climb
from trio_relay.relay.operations.tx import Row, Tx
from trio_relay.store.queries import queries


def retract(tx: Tx, message_id: int, request: RetractRequest) -> Withdrawal:
    """Withdraw a message at its sender's wish.

    Raises:
        Refused: somebody else's message (code ``not_the_sender``).

    """
    row = message_row(tx, message_id)
    if request.sender is not None and request.sender != row["sender"]:
        raise Refused(
            f"message {message_id} was not sent by {request.sender!r}",
            code="not_the_sender",
            fields=(FieldError("from", "expected the message's own sender"),),
        )
    withdrawal = withdraw(tx, row, Rung.RETRACTED, request.reason or "retracted by its sender")
    tx.event("message.retracted", messageId=message_id)
    return withdrawal


def supersede(tx: Tx, older_id: int, sender: str, newer_id: int) -> None:
    """A newer message takes the place of an older one of the same sender.

    Raises:
        NotFound: there is no such message (``unknown_message``).
        Refused: it is somebody else's (``not_the_sender``).

    """
    row: Row | None = queries.get_message(tx.connection, id=older_id)
    field = FieldError("supersedes", "expected the id of an own message")
    if row is None:
        raise NotFound(
            f"there is no message {older_id} to supersede", code="unknown_message", fields=(field,)
        )
    if row["sender"] != sender:
        raise Refused(
            f"message {older_id} was not sent by {sender!r}", code="not_the_sender", fields=(field,)
        )
    if older_id >= newer_id:
        raise Invalid("a message supersedes older ones only", fields=(field,))
    withdraw(tx, row, Rung.RETRACTED, f"superseded by {newer_id}")


def collapse(tx: Tx, agent_id: str, sender: str, collapse_key: str, newer_id: int) -> None:
    """In one inbox, older waiting messages of the same key make way for a newer one."""
    rows = queries.collapsible(
        tx.connection, agent_id=agent_id, sender=sender, collapse_key=collapse_key, before=newer_id
    )
    for row in list(rows):
        climb(tx, row["id"], agent_id, Rung.RETRACTED, {"collapsedInto": newer_id})


def expire(tx: Tx, row: Row) -> None:
    """A message's time is over: those who wait for it will not get it, and its sender hears of it."""
    withdrawal = withdraw(tx, row, Rung.EXPIRED, "expired")
    unclaimed = not withdrawal.retracted and not withdrawal.too_late
    if withdrawal.retracted or unclaimed:
        whom = ", ".join(withdrawal.retracted) or f"anybody ({row['target']})"
        notify(
            tx,
            row["sender"],
            "delivery.expired",
            f"Message {row['id']} expired before it reached {whom}.",
            meta={"messageId": row["id"], "recipients": withdrawal.retracted},
        )
    tx.event("message.expired", messageId=row["id"])


def withdraw(tx: Tx, row: Row, ending: Rung, reason: str) -> Withdrawal:
    """End the deliveries that still wait; what looks for takers stops looking."""
    message_id = row["id"]
    queries.withdraw_message(tx.connection, id=message_id, reason=reason)
    queries.close_open_target(tx.connection, message_id=message_id)
    queries.let_go(tx.connection, message_id=message_id)
    if not task_state.is_held(tx, message_id):
        task_state.withdrawn(tx, message_id, reason)
    retracted, too_late = [], []
    for delivery in list(queries.recipients(tx.connection, message_id=message_id)):
        if delivery["state"] == Rung.QUEUED:
            climb(tx, message_id, delivery["agent_id"], ending, {"reason": reason})
            retracted.append(delivery["agent_id"])
            tx.wake.add(delivery["agent_id"])
        elif delivery["state"] not in (ending, Rung.DEAD, Rung.EXPIRED, Rung.RETRACTED):
            too_late.append(delivery["agent_id"])
            tx.wake.add(delivery["agent_id"])  # its program may still be able to take it back
    return Withdrawal(message_id=message_id, retracted=retracted, too_late=too_late)
