"""Sending: recipients are resolved once, when the message is accepted, and the sender is told the truth about them.

A fan-out target reaches every matching agent that is not offline; a direct message waits for an offline agent; a
target nobody matches is parked for the first who does; an open claimable is offered to every match, also later ones.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec

from trio_relay.core.channels import wants
from trio_relay.core.loops import MAX_PATH
from trio_relay.core.model import (
    MAILBOX_RIG,
    SILENT_TYPES,
    SYSTEM,
    AgentStatus,
    Authority,
    Delivery,
    Rung,
    Verdict,
)
from trio_relay.core.targets import Target, check_sender, parse_target
from trio_relay.core.wire import Message, ReadMark, RecipientVerdict, SendRequest, SentMessage
from trio_relay.core.wire_rooms import ParkedThread
from trio_relay.errors import Conflict, FieldError, Invalid, NotFound, Refused
from trio_relay.relay.operations.freshness import collapse, supersede
from trio_relay.relay.operations.messages_read import message_row
from trio_relay.relay.operations.pair_state import paired_meta
from trio_relay.relay.operations.receipts import climb, link_reply
from trio_relay.relay.operations.task_state import message_gone
from trio_relay.relay.operations.threads import take_held, why_parked
from trio_relay.relay.operations.tx import (
    Row,
    Tx,
    check_session,
    concurrent,
    dump,
    from_json,
    message_fields,
    message_of,
)
from trio_relay.store.locks import Kind
from trio_relay.store.queries import queries

#: How long an idempotency key is remembered, ms.
IDEMPOTENCY_WINDOW = 24 * 3600 * 1000


@concurrent
def send(tx: Tx, request: SendRequest, *, by_relay: bool = False) -> tuple[SentMessage, bool]:
    """Accept a message; answer it and whether it is new (False: the idempotency key was known).

    Only the relay itself (`by_relay`) speaks as ``system``. What is said to ``system`` is kept and wakes nobody.

    Raises:
        Invalid: a field cannot be meant.
        NotFound: the recipient or the message answered is unknown (``unknown_recipient``, ``unknown_reply_to``).
        Conflict: the idempotency key was used for other content (``idempotency_conflict``), or for a message that
            has been deleted since (``message_deleted``).
        Refused: the sender is not the caller's to use (``reserved_sender``, ``not_a_member`` of the pair it names).

    """
    if request.sender == SYSTEM and not by_relay:
        raise Refused(
            "only the relay speaks as system",
            code="reserved_sender",
            fields=(FieldError("from", "expected another sender than system"),),
        )
    target = parse_target(request.to)
    check_sender(request.sender)
    _check_meta(request)
    if request.idempotency_key is not None:
        tx.lock(Kind.IDEMPOTENCY_KEY, request.sender, request.idempotency_key)
        known = _known(tx, request)
        if known is not None:
            return known, False
    recipients = _resolve(tx, request, target)
    parent = _parent(tx, request)
    place = _place(tx, request, parent)
    _lock_what_follows(tx, request, parent, place, recipients)
    message_id = _insert(tx, request, target, place, paired_meta(tx, request, parent))
    if request.supersedes is not None:
        supersede(tx, request.supersedes, request.sender, message_id)
    tx.event(
        "message.new",
        messageId=message_id,
        threadId=place.thread_id or message_id,
        sender=request.sender,
        to=target.text,
        channel=request.channel,
    )
    if parent is not None and request.type not in SILENT_TYPES:  # "on it" is no answer
        link_reply(tx, parent, request.sender, message_id)
    held_because = None
    if parent is not None and not place.by_person:
        held_because = why_parked(tx, place.thread_id, place.hop, place.path)
    if held_because is not None:
        queries.hold_message(tx.connection, message_id=message_id, thread_id=place.thread_id)
        tx.tally["send", "held"] += 1
        return _told_again(tx, message_id, held_because), True
    message = message_row(tx, message_id)
    _deliver(tx, message, recipients)
    return _told(message, recipients), True


def _lock_what_follows(
    tx: Tx, request: SendRequest, parent: Row | None, place: "_Place", recipients: list[Row]
) -> None:
    """Before the message has its number: so the numbers of what arrives in one inbox become visible in their order."""
    if request.supersedes is not None:
        tx.alone()
    if parent is not None and not place.by_person:
        tx.lock(Kind.THREAD, place.thread_id)
    answering = [request.sender] if parent is not None else []
    tx.lock_inboxes([*(row["id"] for row in recipients), *answering])


def resume_thread(tx: Tx, thread_id: int) -> ParkedThread:
    """Let a parked thread go on, and deliver what was held in it, in order."""
    shown, held = take_held(tx, thread_id)
    for message_id in held:
        row = message_row(tx, message_id)
        recipients = _matching(tx, parse_target(row["target"]), row["sender"], row["channel"])
        _deliver(tx, row, recipients, late=1)
    return shown


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a message stands in its conversation. `path` ends with its sender; `by_person` matters to a reply only."""

    thread_id: int
    hop: int
    path: list[str]
    by_person: bool


def _place(tx: Tx, request: SendRequest, parent: Row | None) -> _Place:
    if parent is None:
        return _Place(0, 0, [request.sender], by_person=False)
    if _is_person(tx, request.sender):
        return _Place(parent["thread_id"], 0, [request.sender], by_person=True)
    path = [*from_json(parent["path"]), request.sender][-MAX_PATH:]
    return _Place(parent["thread_id"], parent["hop"] + 1, path, by_person=False)


def _is_person(tx: Tx, sender: str) -> bool:
    """Whether a person speaks, whose word starts the count of hops afresh.

    A credential that says so is proof. Where everybody shares one credential, whoever is no agent, or has only a
    mailbox of the command line, is taken for a person; a token bound to an agent never is.
    """
    if tx.principal.authority is Authority.HUMAN:
        return True
    if tx.principal.agent_id is not None:
        return False
    row: Row | None = queries.get_agent(tx.connection, id=sender)
    return row is None or row["rig"] == MAILBOX_RIG


def _insert(tx: Tx, request: SendRequest, target: Target, place: _Place, meta: dict[str, Any]) -> int:
    message_id: int = queries.insert_message(
        tx.connection,
        sender=request.sender,
        target=target.text,
        channel=request.channel,
        subject=request.subject,
        body=request.body,
        reply_to=request.reply_to,
        thread_id=place.thread_id,
        hop=place.hop,
        path=dump(place.path),
        claimable=int(request.claimable),
        type=request.type or "message",
        meta=dump(meta),
        authority=tx.principal.authority,
        expires_at=None if request.ttl_ms is None else tx.now + request.ttl_ms,
        supersedes=request.supersedes,
        collapse_key=request.collapse_key,
        now=tx.now,
    )
    if request.claimable:
        key = f"message:{message_id}"
        queries.open_lease(tx.connection, key=key)
        queries.lease_message(tx.connection, id=message_id, lease_key=key)
    if request.idempotency_key is not None:
        queries.put_idempotency_key(
            tx.connection,
            sender=request.sender,
            key=request.idempotency_key,
            content_hash=_content_hash(request),
            message_id=message_id,
            now=tx.now,
        )
    return message_id


def _deliver(tx: Tx, message: Row, recipients: list[Row], *, late: int = 0) -> None:
    """Queue a message for its recipients; let it go on looking if it needs takers.

    `late`: 1 when newer messages may have been delivered before, so that a cursor of message ids stands beyond it.
    """
    for row in recipients:
        queries.insert_inbox(
            tx.connection, agent_id=row["id"], message_id=message["id"], late=late, now=tx.now
        )
        tx.tally["send", verdict_of(row["status"], row["ready"])] += 1
        tx.tally["rung", Rung.QUEUED] += 1
        if message["collapse_key"] is not None:
            collapse(tx, row["id"], message["sender"], message["collapse_key"], message["id"])
        if message["type"] not in SILENT_TYPES:
            tx.wake.add(row["id"])
    unmatched = not recipients and message["target"] != SYSTEM
    if unmatched:
        tx.tally["send", "parked"] += 1
    if message["claimable"] or unmatched:
        kind = "claimable" if message["claimable"] else "parked"
        queries.insert_open_target(
            tx.connection, target=message["target"], message_id=message["id"], kind=kind
        )


@concurrent
def mark_read(tx: Tx, message_id: int, mark: ReadMark) -> Message:
    """The recipient's program says it is done with a message; without better proof that settles the delivery.

    Raises:
        NotFound: no such message, or it was never in this agent's inbox (``not_a_recipient``).

    """
    tx.lock_inboxes([mark.read_by])
    row = message_row(tx, message_id)
    agent: Row | None = queries.get_agent(tx.connection, id=mark.read_by)
    if agent is not None:
        check_session(agent, mark)
    delivery: Row | None = queries.get_inbox(tx.connection, agent_id=mark.read_by, message_id=message_id)
    if delivery is None:
        raise NotFound(
            f"message {message_id} is not in the inbox of {mark.read_by!r}", code="not_a_recipient"
        )
    if Rung(delivery["state"]) in (Rung.QUEUED, Rung.HANDED_OFF):
        climb(tx, message_id, mark.read_by, Rung.SETTLED, {"by": "read_mark"})
    else:
        queries.mark_read(tx.connection, agent_id=mark.read_by, message_id=message_id, now=tx.now)
    return message_of(row)


def delete(tx: Tx, message_id: int) -> None:
    """Remove a message from history, with its deliveries."""
    row = message_row(tx, message_id)
    forget(tx, row)
    tx.event("message.deleted", messageId=message_id, sender=row["sender"], to=row["target"])


def forget(tx: Tx, row: Row) -> None:
    """Drop a message's row, its lease and everything that hangs on it."""
    message_gone(tx, row["id"])
    queries.delete_message(tx.connection, id=row["id"])
    if row["lease_key"] is not None:
        queries.delete_lease(tx.connection, key=row["lease_key"])


def verdict_of(status: str | None, ready: object) -> Verdict:
    """What a sender may expect of a recipient in this condition."""
    if status is None or status == AgentStatus.OFFLINE:
        return Verdict.OFFLINE_QUEUED
    if not ready:
        return Verdict.DEAF
    return Verdict.LIVE_BUSY if status == AgentStatus.BUSY else Verdict.LIVE_IDLE


def _told(message: Row, recipients: list[Row]) -> SentMessage:
    """What the sender hears of a message that is delivered: who has it, in what condition they are."""
    return SentMessage(
        **message_fields(message),
        recipients=[_verdict(row["id"], row) for row in recipients],
        parked=not recipients and message["target"] != SYSTEM,
    )


def _told_again(tx: Tx, message_id: int, held_because: str | None) -> SentMessage:
    """What the sender of a message hears that was accepted before, or is held."""
    rows = queries.recipients(tx.connection, message_id=message_id)
    return SentMessage(
        **message_fields(message_row(tx, message_id)),
        recipients=[_verdict(row["agent_id"], row) for row in rows],
        parked=held_because is not None or bool(queries.is_parked(tx.connection, message_id=message_id)[0]),
        parked_reason=held_because,
    )


def _verdict(agent_id: str, row: Row) -> RecipientVerdict:
    return RecipientVerdict(agent_id=agent_id, verdict=verdict_of(row["status"], row["ready"]))


def _resolve(tx: Tx, request: SendRequest, target: Target) -> list[Row]:
    """Who gets it now. An empty answer means it will be parked."""
    if not target.fan_out:
        if target.text == request.sender:
            raise Invalid(
                "a sender never receives its own message",
                code="own_message",
                fields=(FieldError("to", "expected somebody other than the sender"),),
            )
        found = _matching(tx, target, request.sender, request.channel)
        if found or request.allow_unknown or target.text == SYSTEM:
            return found
        raise NotFound(
            f"no agent {target.text!r} is registered",
            code="unknown_recipient",
            fields=(
                FieldError(
                    "to",
                    "expected a registered agent id or a target; allowUnknown keeps it for who comes later",
                ),
            ),
        )
    return _matching(tx, target, request.sender, request.channel)


def _matching(tx: Tx, target: Target, sender: str, channel: str | None) -> list[Row]:
    """Who answers to a target now. A direct message waits for an offline agent, a fan-out passes it by."""
    if not target.fan_out:
        row: Row | None = queries.get_agent(tx.connection, id=target.text)
        return [] if row is None else [row]
    return [
        row
        for row in queries.list_agents_matching(tx.connection, selector=target.text)
        if row["id"] != sender
        and row["status"] != AgentStatus.OFFLINE
        and wants(from_json(row["channels"]), channel)
    ]


def _parent(tx: Tx, request: SendRequest) -> Row | None:
    if request.reply_to is None:
        return None
    row: Row | None = queries.get_message(tx.connection, id=request.reply_to)
    if row is None:
        raise NotFound(
            f"there is no message {request.reply_to} to reply to",
            code="unknown_reply_to",
            fields=(FieldError("replyTo", "expected the id of a message that exists"),),
        )
    return row


def _check_meta(request: SendRequest) -> None:
    delivery = request.meta.get("delivery")
    if delivery is not None and delivery not in list(Delivery):
        allowed = ", ".join(Delivery)
        raise Invalid(
            "meta.delivery names no delivery mode",
            fields=(FieldError("meta.delivery", f"expected one of {allowed}"),),
        )
    if request.claimable and delivery in (Delivery.FYI, Delivery.DIGEST):
        raise Invalid(
            f"work to be claimed cannot come as {delivery}: nobody would be woken for it",
            fields=(FieldError("meta.delivery", "expected idle, steer, interrupt or start"),),
        )


def _known(tx: Tx, request: SendRequest) -> SentMessage | None:
    row: Row | None = queries.get_idempotency_key(
        tx.connection, sender=request.sender, key=request.idempotency_key
    )
    if row is None or row["created_at"] <= tx.now - IDEMPOTENCY_WINDOW:
        return None
    if row["content_hash"] != _content_hash(request):
        raise Conflict(
            "this idempotency key was used for another message",
            code="idempotency_conflict",
            fields=(FieldError("idempotencyKey", "expected a new key for new content"),),
        )
    if queries.get_message(tx.connection, id=row["message_id"]) is None:
        raise Conflict(
            "the message this idempotency key stands for has been deleted",
            code="message_deleted",
            fields=(FieldError("idempotencyKey", "expected a new key to send it again"),),
        )
    return _told_again(tx, row["message_id"], _held_because(tx, row["message_id"]))


def _held_because(tx: Tx, message_id: int) -> str | None:
    if queries.is_held(tx.connection, message_id=message_id) is None:
        return None
    thread: Row = queries.get_thread(tx.connection, id=message_row(tx, message_id)["thread_id"])
    reason: str = thread["reason"]
    return reason


def _content_hash(request: SendRequest) -> str:
    # Sorted: metadata is the same content in whatever order its keys are written.
    return hashlib.sha256(msgspec.json.encode(request, order="sorted")).hexdigest()
