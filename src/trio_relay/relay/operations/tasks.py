"""Tasks: exactly one agent claims each, says how it goes, and ends it; an operator may overrule the holder.

A task's claim is the lease of its message: see ``task_state`` for what follows from it. How tasks come to be stands in
``integrations``.
"""

from typing import Any

from trio_relay.core.tasks import ENDED, TaskStatus, may_follow
from trio_relay.core.wire import ClaimRequest
from trio_relay.core.wire_tasks import (
    Callback,
    ClaimedTask,
    Task,
    TaskClaim,
    TaskEvent,
    TaskStatusChange,
)
from trio_relay.errors import Conflict, FieldError, Invalid
from trio_relay.relay.operations import callbacks, leases
from trio_relay.relay.operations.task_state import change, task_fields, task_of, task_row, with_answer
from trio_relay.relay.operations.tx import Row, Tx, agent_row, check_session, dump, from_json
from trio_relay.store.queries import queries, select

#: Metadata, progress and results are bounded: bytes of JSON.
MAX_JSON = 65_536


def claim(tx: Tx, task_id: int, request: TaskClaim) -> ClaimedTask:
    """Claim a task by claiming its message. The present holder that asks again keeps it, renewed.

    Raises:
        Conflict: somebody else holds it (``claimed``), or it is over (``task_ended``).

    """
    message_id = message_to_claim(task_row(tx, task_id))
    lease = leases.claim(
        tx,
        message_id,
        ClaimRequest(
            agent_id=request.agent_id,
            instance_id=request.instance_id,
            epoch=request.epoch,
            ttl_ms=request.ttl_ms,
        ),
    )
    return ClaimedTask(
        **task_fields(task_row(tx, task_id)),
        lease_token=lease.lease_token,
        lease_epoch=lease.lease_epoch,
        attempt=lease.attempt,
    )


def set_status(tx: Tx, task_id: int, request: TaskStatusChange) -> Task:
    """Put a task on a status. The holder's reports also renew its claim; an operator (no agent) overrules the holder.

    Raises:
        LeaseLost: the caller does not hold the task (any more).
        StaleInstance: a newer instance of the holder has registered.
        Conflict: the status cannot follow the present one (``bad_transition``), or the task is over (``task_ended``).

    """
    row = task_row(tx, task_id)
    check_json(request.progress, "progress")
    check_json(request.result, "result")
    if request.agent_id is not None:
        check_session(agent_row(tx, request.agent_id), request)
    if row["status"] in ENDED and row["status"] == request.status and _was_ended_by(row, request.agent_id):
        return task_of(row)
    message_id = message_to_claim(row)
    if request.agent_id is None:
        _overrule(tx, row, message_id, request)
    elif request.status is TaskStatus.CLAIMED and row["status"] == TaskStatus.OPEN:
        claim(
            tx,
            task_id,
            TaskClaim(agent_id=request.agent_id, instance_id=request.instance_id, epoch=request.epoch),
        )
    else:
        _report(tx, row, message_id, request)
    return task_of(task_row(tx, task_id))


def get_task(tx: Tx, task_id: int) -> Task:
    """One task."""
    return task_of(task_row(tx, task_id))


def list_tasks(
    tx: Tx,
    *,
    status: TaskStatus | None = None,
    source: str | None = None,
    target: str | None = None,
    limit: int = 100,
    before: int | None = None,
) -> list[Task]:
    """Tasks that match every filter given, newest first; `before` is the id to go on from."""
    given = {
        "t.status = :status": ("status", status),
        "t.source = :source": ("source", source),
        "t.target = :target": ("target", target),
        "t.id < :before": ("before", before),
    }
    conditions = [condition for condition, (_, value) in given.items() if value is not None] or ["TRUE"]
    parameters = {name: value for name, value in given.values() if value is not None}
    # The conditions are the literals above; every value is a bound parameter.
    statement = (
        "SELECT t.*, l.expires_at AS claim_expires_at FROM tasks AS t "  # noqa: S608
        "LEFT JOIN messages AS m ON m.id = t.message_id LEFT JOIN leases AS l ON l.key = m.lease_key "
        f"WHERE {' AND '.join(conditions)} ORDER BY t.id DESC LIMIT :limit"
    )
    return [task_of(row) for row in select(tx.connection, statement, **parameters, limit=limit)]


def events(tx: Tx, task_id: int, *, after: int = 0, limit: int = 1000) -> list[TaskEvent]:
    """A task's history, oldest first; `after` is the event id to go on from."""
    task_row(tx, task_id)
    return [
        TaskEvent(
            id=row["id"],
            task_id=row["task_id"],
            type=row["type"],
            at=row["at"],
            status=TaskStatus(row["status"]),
            agent_id=row["agent_id"],
            data=from_json(row["data"]),
        )
        for row in queries.task_events_of(tx.connection, task_id=task_id, after=after, limit=limit)
    ]


def callback_log(tx: Tx, task_id: int) -> list[Callback]:
    """Every callback about a task, with every attempt."""
    task_row(tx, task_id)
    return callbacks.callbacks_of(tx, task_id)


def forget_ended(tx: Tx, *, older_than: int, limit: int) -> int:
    """Tasks that ended more than `older_than` ms ago leave, with their history and callbacks."""
    gone: int = queries.forget_tasks(tx.connection, before=tx.now - older_than, limit=limit)
    return gone


def _report(tx: Tx, row: Row, message_id: int, request: TaskStatusChange) -> None:
    """What the holder says. Its lease decides whether it may."""
    agent_id = request.agent_id
    lease = ClaimRequest(
        agent_id=agent_id or "",
        instance_id=request.instance_id,
        epoch=request.epoch,
        lease_token=request.lease_token,
        result=request.result,
    )
    if row["status"] == TaskStatus.OPEN:
        raise Conflict(f"task {row['id']} is open: claim it first", code="not_claimed")
    leases.renew(tx, message_id, lease)
    _check_transition(row, request.status)
    if request.status is TaskStatus.OPEN:
        leases.release(tx, message_id, lease)
    elif request.status in ENDED:
        if request.status is TaskStatus.DONE:
            request.result = with_answer(tx, message_id, lease.agent_id, request.result)
        _write(tx, row, request)
        leases.complete(tx, message_id, lease)
    elif _says_something_new(row, request):
        _write(tx, row, request)


def _overrule(tx: Tx, row: Row, message_id: int, request: TaskStatusChange) -> None:
    """What an operator says. Ending the task ends its lease, opening it takes the lease back."""
    if request.status is TaskStatus.CLAIMED and row["status"] != TaskStatus.CLAIMED:
        raise Invalid("who claims it is missing", fields=(FieldError("agentId", "expected an agent id"),))
    _check_transition(row, request.status)
    if request.status is TaskStatus.OPEN:
        leases.take_back_message(tx, message_id)
    elif request.status in ENDED:
        finish(tx, row, message_id, request.status, progress=request.progress, result=request.result)
    elif _says_something_new(row, request):
        _write(tx, row, request)


def _write(tx: Tx, row: Row, request: TaskStatusChange) -> None:
    change(
        tx,
        row,
        request.status,
        holder=row["claimed_by"],
        by=request.agent_id,
        progress=request.progress,
        result=request.result,
    )


def finish(
    tx: Tx, row: Row, message_id: int, status: TaskStatus, *, progress: Any = None, result: Any = None
) -> None:
    """End a task over its holder's head: what the holder still says about it is refused."""
    change(tx, row, status, holder=row["claimed_by"], progress=progress, result=result)
    leases.close(tx, message_id)


def _check_transition(row: Row, wanted: TaskStatus) -> None:
    if not may_follow(TaskStatus(row["status"]), wanted):
        raise Conflict(
            f"task {row['id']} is {row['status']}; {wanted} cannot follow",
            code="bad_transition",
            fields=(FieldError("status", "expected a status that may follow the present one"),),
        )


def _says_something_new(row: Row, request: TaskStatusChange) -> bool:
    return (
        row["status"] != request.status
        or (request.progress is not None and row["progress"] != dump(request.progress))
        or (request.result is not None and row["result"] != dump(request.result))
    )


def _was_ended_by(row: Row, agent_id: str | None) -> bool:
    return agent_id is None or agent_id == row["claimed_by"]


def message_to_claim(row: Row) -> int:
    """The message whose lease guards a task.

    Raises:
        Conflict: the task is over (``task_ended``).

    """
    if row["status"] in ENDED:
        raise Conflict(f"task {row['id']} is {row['status']}", code="task_ended")
    message_id: int = row["message_id"]
    return message_id


def check_json(value: Any, field: str) -> None:
    """Refuse JSON that is too large to keep.

    Raises:
        Invalid: more than `MAX_JSON` bytes.

    """
    if len(dump(value)) > MAX_JSON:
        raise Invalid(
            f"the {field} is too large",
            fields=(FieldError(field, f"expected at most {MAX_JSON} bytes of JSON"),),
        )
