"""What a person who watches the room asks for beside the API's own lists, each at a bounded cost."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from trio_relay.core.tasks import TaskStatus
from trio_relay.core.wire import Message
from trio_relay.core.wire_tasks import Task
from trio_relay.relay.operations import messages_read, tasks
from trio_relay.relay.operations.tx import Row, Tx, from_json
from trio_relay.store.queries import queries

#: Deliveries that are looked at to tell who talks to whom: about 25 ms.
DELIVERIES = 20_000
#: Pairs that are told of one by one.
PAIRS = 500
#: Recipients of one dead letter that are told of.
RECIPIENTS = 20


@dataclass(frozen=True, slots=True)
class Talk:
    """How much one agent sent to another."""

    sender: str
    recipient: str
    messages: int
    last_at: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """Who talked to whom after `since` (Unix ms), busiest first.

    `pairs` and `messages` are the sums also of what is not among `talks`. `complete` is False where more was said than
    was looked at; then `since` is the time of the oldest that was.
    """

    since: int
    complete: bool
    talks: list[Talk]
    pairs: int
    messages: int


@dataclass(frozen=True, slots=True)
class DeadFor:
    """A recipient for whom a message is dead, since when and why as far as is known."""

    agent_id: str
    attempts: int
    at: int | None
    evidence: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter: the message, and for whom. Nobody: its lease was handed out too often."""

    message: Message
    recipients: list[DeadFor]


@dataclass(frozen=True, slots=True)
class HeldClaim:
    """Who works on a claimable message, since when and until when at least (Unix ms); on which task by it, if any."""

    key: str
    holder: str
    attempts: int
    claimed_at: int
    expires_at: int
    message_id: int
    sender: str
    target: str
    text: str
    task_id: int | None


@dataclass(frozen=True, slots=True)
class WatchedTask:
    """A task, and how many of its callbacks were given up or are being tried again."""

    task: Task
    dead: int
    failing: int


def traffic(tx: Tx, *, since: int, deliveries: int = DELIVERIES, pairs: int = PAIRS) -> Traffic:
    """Who talked to whom after a time, in at most so many of the newest deliveries."""
    rows: list[Row] = list(queries.talk_since(tx.connection, since=since, deliveries=deliveries, pairs=pairs))
    seen = int(rows[0]["all_messages"]) if rows else 0
    complete = seen < deliveries
    return Traffic(
        since=since if complete else rows[0]["first_at"],
        complete=complete,
        talks=[Talk(row["sender"], row["recipient"], row["messages"], row["last_at"]) for row in rows],
        pairs=rows[0]["all_pairs"] if rows else 0,
        messages=seen,
    )


def dead_letters(tx: Tx, *, limit: int, before: int | None = None) -> list[DeadLetter]:
    """Dead letters with whom they were dead for, newest first; `before` is the message id to go on from."""
    return [
        DeadLetter(message, [_dead_for(row) for row in _why_dead(tx, message.id)])
        for message in messages_read.dead_letters(tx, limit=limit, before=before)
    ]


def held_claims(tx: Tx, limit: int) -> list[HeldClaim]:
    """Who works on what they have claimed; what ends first comes first."""
    return [
        HeldClaim(
            key=row["key"],
            holder=row["holder"],
            attempts=row["attempts"],
            claimed_at=row["claimed_at"],
            expires_at=row["expires_at"],
            message_id=row["message_id"],
            sender=row["sender"],
            target=row["target"],
            text=row["title"] or row["subject"] or row["body"],
            task_id=row["task_id"],
        )
        for row in queries.held_claims(tx.connection, now=tx.now, limit=limit)
    ]


def watched_tasks(
    tx: Tx, statuses: Collection[TaskStatus], *, limit: int, before: int | None = None
) -> list[WatchedTask]:
    """Tasks on one of these statuses, newest first, each with how its callbacks fare."""
    some = [
        task
        for status in statuses
        for task in tasks.list_tasks(tx, status=status, limit=limit, before=before)
    ]
    found = []
    for task in sorted(some, key=lambda task: -task.id)[:limit]:
        row: Row = queries.callbacks_in_trouble(tx.connection, task_id=task.id)
        found.append(WatchedTask(task, dead=int(row["dead"]), failing=int(row["failing"])))
    return found


def _why_dead(tx: Tx, message_id: int) -> list[Row]:
    return list(queries.why_dead(tx.connection, message_id=message_id, limit=RECIPIENTS))


def _dead_for(row: Row) -> DeadFor:
    evidence = {} if row["evidence"] is None else from_json(row["evidence"])
    return DeadFor(row["agent_id"], row["attempts"], row["at"], evidence)
