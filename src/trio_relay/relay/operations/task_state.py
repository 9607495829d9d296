"""What happens to a task when the lease of its message changes hands, and how any change of a task is written down.

There is one lease engine, and it knows nothing of tasks but these calls: claiming the message claims the task, losing
the lease opens it again, completing the lease ends it. Each change writes the task, a line of its history, a line of
the event log and, where its source wants to hear of it, a callback, in the one transaction.
"""

from typing import Any

from trio_relay.core.tasks import ENDED, HELD, TaskStatus
from trio_relay.core.wire_tasks import Task
from trio_relay.errors import Conflict, NotFound
from trio_relay.relay.operations.callbacks import enqueue
from trio_relay.relay.operations.tx import Row, Tx, dump, from_json
from trio_relay.store.queries import queries

#: An answer longer than this many characters is named in a task's result, not repeated.
MAX_ANSWER = 65_536


def claimed(tx: Tx, message_id: int, agent_id: str) -> None:
    """The message was claimed: so is the task it carries, if it carries one."""
    row = _task_of(tx, message_id)
    if row is None:
        return
    if row["status"] != TaskStatus.OPEN:
        # The lease had run out and was taken over in the same instant.
        row = change(tx, row, TaskStatus.OPEN, kind="reopened", holder=None)
    change(tx, row, TaskStatus.CLAIMED, kind="claimed", holder=agent_id, by=agent_id)


def reopened(tx: Tx, message_id: int) -> None:
    """The lease is open again: it was given back, lost, or is a dead letter that is driven again.

    Raises:
        Conflict: another task about the same thing has become active meanwhile (``task_superseded``).

    """
    row = _task_of(tx, message_id)
    if row is None or row["status"] == TaskStatus.OPEN:
        return
    if row["status"] in ENDED and row["dedupe_key"] is not None:
        other: Row | None = queries.active_task(
            tx.connection, source=row["source"], dedupe_key=row["dedupe_key"]
        )
        if other is not None:
            raise Conflict(f"task {other['id']} has taken the place of {row['id']}", code="task_superseded")
    change(tx, row, TaskStatus.OPEN, kind="reopened", holder=None)


def completed(tx: Tx, message_id: int, agent_id: str, result: Any) -> None:
    """The holder has completed the message: the task is done, and its answer to the message is the result."""
    row = _task_of(tx, message_id)
    if row is None or row["status"] in ENDED:
        return
    result = with_answer(tx, message_id, agent_id, result)
    change(tx, row, TaskStatus.DONE, holder=agent_id, by=agent_id, result=result)


def gave_up(tx: Tx, message_id: int, attempts: int) -> None:
    """The message was claimed too often without completion: the task has failed."""
    _end(
        tx,
        message_id,
        TaskStatus.FAILED,
        {"reason": "claimed too often without completion", "attempts": attempts},
    )


def withdrawn(tx: Tx, message_id: int, reason: str) -> None:
    """The message was withdrawn and nobody holds it. A task that is not over cannot be claimed any more and is canceled."""
    if _end(tx, message_id, TaskStatus.CANCELED, {"reason": f"its message was withdrawn: {reason}"}):
        queries.close_lease(tx.connection, key=f"message:{message_id}")


def is_held(tx: Tx, message_id: int) -> bool:
    """Whether a message carries a task that somebody has claimed."""
    row = _task_of(tx, message_id)
    return row is not None and row["status"] in HELD


def message_gone(tx: Tx, message_id: int) -> None:
    """The message leaves the history. A task that is not over cannot be claimed any more and is canceled."""
    _end(tx, message_id, TaskStatus.CANCELED, {"reason": "its message was deleted"})


def change(
    tx: Tx,
    row: Row,
    status: TaskStatus,
    *,
    holder: str | None,
    kind: str = "status",
    by: str | None = None,
    progress: Any = None,
    result: Any = None,
    data: dict[str, Any] | None = None,
) -> Row:
    """Put a task on `status` and tell everyone who follows it; answer its row as it is now.

    `holder` is who holds it (or held it, if it is over), `by` the agent that made the change, None: the relay or an
    operator. `progress` and `result` replace what was there, unless they are None.
    """
    claimed_at = row["claimed_at"] if holder == row["claimed_by"] else tx.now
    queries.change_task(
        tx.connection,
        id=row["id"],
        status=status,
        claimed_by=holder,
        claimed_at=None if holder is None else claimed_at,
        progress=row["progress"] if progress is None else dump(progress),
        result=row["result"] if result is None else dump(result),
        now=tx.now,
        ended_at=tx.now if status in ENDED else None,
    )
    details = dict(data or {})
    if progress is not None:
        details["progress"] = progress
    log(tx, row["id"], kind, status, by=by, data=details)
    event = "task.claimed" if status is TaskStatus.CLAIMED and kind == "claimed" else "task.status"
    tell(tx, row["id"], event)
    return task_row(tx, row["id"])


def log(tx: Tx, task_id: int, kind: str, status: str, *, by: str | None, data: dict[str, Any]) -> None:
    """Add a line to a task's history."""
    queries.insert_task_event(
        tx.connection, task_id=task_id, type=kind, now=tx.now, status=status, agent_id=by, data=dump(data)
    )


def tell(tx: Tx, task_id: int, event: str) -> None:
    """Tell the followers of the event log and, by callback, the task's source."""
    row = task_row(tx, task_id)
    tx.event(event, taskId=task_id, source=row["source"], status=row["status"], agentId=row["claimed_by"])
    if row["calls_back"]:
        enqueue(tx, event, task_of(row))


def with_answer(tx: Tx, message_id: int, agent_id: str, result: Any) -> Any:
    """Add to a result the holder's reply to the task's message, unless it says something else already.

    Agents whose program posts the turn's last words as the reply need not repeat them.
    """
    if result is not None and (not isinstance(result, dict) or "text" in result):
        return result
    reply: Row | None = queries.newest_reply(tx.connection, message_id=message_id, sender=agent_id)
    if reply is None:
        return result
    answer = {"replyId": reply["id"]}
    if len(reply["body"]) <= MAX_ANSWER:
        answer["text"] = reply["body"]
    return {**(result or {}), **answer}


def task_row(tx: Tx, task_id: int) -> Row:
    """The task's row.

    Raises:
        NotFound: there is no such task (code ``unknown_task``).

    """
    row: Row | None = queries.get_task(tx.connection, id=task_id)
    if row is None:
        raise NotFound(f"there is no task {task_id}", code="unknown_task")
    return row


def task_fields(row: Row) -> dict[str, Any]:
    """The fields every form of a task has."""
    return {
        "id": row["id"],
        "source": row["source"],
        "type": row["type"],
        "severity": row["severity"],
        "dedupe_key": row["dedupe_key"],
        "title": row["title"],
        "body": row["body"],
        "target": row["target"],
        "channel": row["channel"],
        "external_url": row["external_url"],
        "metadata": from_json(row["metadata"]),
        "status": TaskStatus(row["status"]),
        "occurrence_count": row["occurrence_count"],
        "message_id": row["message_id"],
        "claimed_by": row["claimed_by"],
        "claimed_at": row["claimed_at"],
        "claim_expires_at": row["claim_expires_at"],
        "progress": from_json(row["progress"]),
        "result": from_json(row["result"]),
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "last_seen_at": row["last_seen_at"],
        "ended_at": row["ended_at"],
    }


def task_of(row: Row) -> Task:
    """The task as the API shows it."""
    return Task(**task_fields(row))


def _task_of(tx: Tx, message_id: int) -> Row | None:
    row: Row | None = queries.task_of_message(tx.connection, message_id=message_id)
    return row


def _end(tx: Tx, message_id: int, status: TaskStatus, result: dict[str, Any]) -> bool:
    """End the task a message carries; answer whether there was one to end."""
    row = _task_of(tx, message_id)
    if row is None or row["status"] in ENDED:
        return False
    change(tx, row, status, holder=row["claimed_by"], result=result)
    return True
