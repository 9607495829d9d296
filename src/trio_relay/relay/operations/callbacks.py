"""The outbox of callbacks: written with the change it tells, emptied by ``relay/callbacks.py``.

A callback is delivered at least once: what was sent but not yet marked when the relay died is sent again, with the
same delivery id. Callbacks of one task go out in order; a dead one lets the next pass.
"""

from dataclasses import dataclass

from trio_relay.core.wire_tasks import Callback, CallbackAttempt, CallbackBody, Task
from trio_relay.relay.operations.tx import Row, Tx, dump
from trio_relay.store.queries import queries

#: The doorbell of whoever sends callbacks.
CALLBACKS = "callbacks:"


@dataclass(frozen=True, slots=True)
class Due:
    """The callback to send next: `wait_ms` from now, at once if that is 0 or less. `attempt` counts from 1."""

    id: int
    task_id: int
    source: str
    delivery: str
    body: str
    attempt: int
    wait_ms: int


@dataclass(frozen=True, slots=True)
class Posted:
    """How an attempt went: the HTTP status, or the kind of error where there was no answer."""

    status: int | None = None
    error: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether the receiver took it."""
        return self.status is not None and 200 <= self.status < 300


def enqueue(tx: Tx, event: str, task: Task) -> None:
    """Put a callback about `task`, as it stands now, into the outbox."""
    delivery = tx.new_token()
    queries.insert_callback(
        tx.connection,
        delivery=delivery,
        task_id=task.id,
        source=task.source,
        event=event,
        body=dump(CallbackBody(event=event, id=delivery, task=task)),
        now=tx.now,
    )
    tx.wake.add(CALLBACKS)


def next_due(tx: Tx, sources: tuple[str, ...]) -> Due | None:
    """The callback of these integrations that is due first, also if that is later."""
    rows = [
        row for source in sources if (row := queries.next_callback(tx.connection, source=source)) is not None
    ]
    if not rows:
        return None
    row = min(rows, key=lambda row: (row["due_at"], row["id"]))
    return Due(
        id=row["id"],
        task_id=row["task_id"],
        source=row["source"],
        delivery=row["delivery"],
        body=row["body"],
        attempt=row["attempts"] + 1,
        wait_ms=row["due_at"] - tx.now,
    )


def record(tx: Tx, callback_id: int, posted: Posted, *, duration_ms: int, pause_ms: int | None) -> str | None:
    """Write down an attempt. One that failed is due again after `pause_ms`; without a pause it is dead.

    Answers the state the callback is in now, or None if its task has left meanwhile.
    """
    row: Row | None = queries.get_callback(tx.connection, id=callback_id)
    if row is None:
        return None
    queries.insert_callback_attempt(
        tx.connection,
        callback_id=callback_id,
        at=tx.now,
        status=posted.status,
        error=posted.error,
        duration_ms=duration_ms,
    )
    if not posted.accepted and pause_ms is not None:
        queries.put_off_callback(tx.connection, id=callback_id, due_at=tx.now + pause_ms)
        return "waiting"
    state = "delivered" if posted.accepted else "dead"
    queries.end_callback(tx.connection, id=callback_id, state=state, now=tx.now)
    queries.free_next_callback(tx.connection, task_id=row["task_id"], now=tx.now)
    tx.wake.add(CALLBACKS)
    return state


def callbacks_of(tx: Tx, task_id: int) -> list[Callback]:
    """Every callback about a task with every attempt, oldest first."""
    attempts: dict[int, list[CallbackAttempt]] = {}
    for row in queries.callback_attempts_of(tx.connection, task_id=task_id):
        attempts.setdefault(row["callback_id"], []).append(
            CallbackAttempt(
                at=row["at"], status=row["status"], error=row["error"], duration_ms=row["duration_ms"]
            )
        )
    return [
        Callback(
            id=row["delivery"],
            event=row["event"],
            task_id=row["task_id"],
            integration=row["source"],
            state=row["state"],
            created_at=row["created_at"],
            due_at=row["due_at"],
            ended_at=row["ended_at"],
            attempts=attempts.get(row["id"], []),
        )
        for row in queries.callbacks_of(tx.connection, task_id=task_id)
    ]
