"""Events of integrations: something happened outside, and it becomes work for exactly one agent.

The same source and dedupe key make one task while it is active; the store's unique index says so too. Everything an
integration says is data of the lowest authority, and goes only where the operator lets this integration reach.
"""

from urllib.parse import urlsplit

from trio_relay.core.integrations import INTEGRATE, Integration, allows
from trio_relay.core.model import SYSTEM
from trio_relay.core.targets import parse_target
from trio_relay.core.tasks import ENDED, TaskStatus
from trio_relay.core.wire import SendRequest
from trio_relay.core.wire_tasks import IntegrationEvent, Task
from trio_relay.errors import FieldError, Invalid, Refused
from trio_relay.relay.operations import messages
from trio_relay.relay.operations.task_state import log, task_row, tell
from trio_relay.relay.operations.tasks import check_json, finish, get_task, message_to_claim
from trio_relay.relay.operations.tx import Row, Tx, dump
from trio_relay.store.queries import queries

#: How many repetitions a task's history holds; the count knows them all.
KEPT_REPEATS = 1_000
RESOLVED = "resolved"


def take_event(tx: Tx, integration: Integration, event: IntegrationEvent) -> tuple[Task, bool]:
    """An integration says that something happened; answer the task and whether it is new.

    Raises:
        Refused: outside what this integration may reach (``scope_missing``, ``target_refused``, ``channel_refused``).
        Invalid: a field is missing or cannot be meant.

    """
    if integration.scopes is not None and INTEGRATE not in integration.scopes:
        raise Refused(f"the integration {integration.name!r} lacks the scope integrate", code="scope_missing")
    check_json(event.metadata, "metadata")
    _check_url(event.external_url)
    if event.channel is not None and not allows(integration.channels, event.channel):
        raise _outside(integration, "channel")
    if event.status == RESOLVED:
        return _resolve(tx, integration, event)
    target = _target(integration, event.target)
    if not event.title:
        raise Invalid("the title is missing", fields=(FieldError("title", "expected a title"),))
    if event.dedupe_key is not None:
        active: Row | None = queries.active_task(
            tx.connection, source=integration.name, dedupe_key=event.dedupe_key
        )
        if active is not None:
            return _again(tx, active["id"], event), False
    return _create(tx, integration, event, target), True


def _create(tx: Tx, integration: Integration, event: IntegrationEvent, target: str) -> Task:
    task_id = _insert(tx, integration, event, target, TaskStatus.OPEN)
    meta = {
        "taskId": task_id,
        "source": integration.name,
        "severity": event.severity,
        "eventType": event.type,
        "externalUrl": event.external_url,
    }
    message, _ = messages.send(
        tx,
        SendRequest(
            sender=SYSTEM,
            to=target,
            subject=event.title,
            body=event.body or event.title,
            channel=event.channel,
            claimable=True,
            type="task",
            meta={name: value for name, value in meta.items() if value is not None},
            allow_unknown=True,
        ),
        by_relay=True,
    )
    queries.set_task_message(tx.connection, id=task_id, message_id=message.id)
    log(tx, task_id, "created", TaskStatus.OPEN, by=None, data={"severity": event.severity})
    tell(tx, task_id, "task.created")
    return get_task(tx, task_id)


def _again(tx: Tx, task_id: int, event: IntegrationEvent) -> Task:
    queries.count_occurrence(tx.connection, id=task_id, now=tx.now)
    task = get_task(tx, task_id)
    log(tx, task_id, "repeated", task.status, by=None, data={"severity": event.severity})
    if task.occurrence_count - 1 > KEPT_REPEATS:
        queries.drop_oldest_repeat(tx.connection, task_id=task_id)
    tx.event("task.repeated", taskId=task_id, source=task.source, occurrenceCount=task.occurrence_count)
    return task


def _resolve(tx: Tx, integration: Integration, event: IntegrationEvent) -> tuple[Task, bool]:
    """The thing is over. Hearing so twice changes nothing; hearing only so is written down as a task that is done."""
    if event.dedupe_key is None:
        raise Invalid(
            "which thing is resolved is missing",
            fields=(FieldError("dedupeKey", "expected the key of the event"),),
        )
    latest: Row | None = queries.latest_task(
        tx.connection, source=integration.name, dedupe_key=event.dedupe_key
    )
    if latest is None:
        task_id = _insert(tx, integration, event, _target(integration, event.target), TaskStatus.DONE)
        log(tx, task_id, "created", TaskStatus.DONE, by=None, data={"severity": event.severity})
        tell(tx, task_id, "task.created")
        return get_task(tx, task_id), True
    row = task_row(tx, latest["id"])
    if row["status"] not in ENDED:
        finish(tx, row, message_to_claim(row), TaskStatus.DONE, result={"resolvedBy": integration.name})
    return get_task(tx, row["id"]), False


def _insert(
    tx: Tx, integration: Integration, event: IntegrationEvent, target: str, status: TaskStatus
) -> int:
    task_id: int = queries.insert_task(
        tx.connection,
        source=integration.name,
        type=event.type,
        severity=event.severity,
        dedupe_key=event.dedupe_key,
        title=event.title,
        body=event.body,
        target=target,
        channel=event.channel,
        external_url=event.external_url,
        metadata=dump(event.metadata),
        status=status,
        calls_back=int(integration.callback_url is not None),
        now=tx.now,
        ended_at=tx.now if status in ENDED else None,
    )
    return task_id


def _target(integration: Integration, given: str | None) -> str:
    if given is None:
        given = integration.only_target
    if given is None:
        raise Invalid("the target is missing", fields=(FieldError("target", "expected whom this is for"),))
    target = parse_target(given, path="target").text
    if not allows(integration.targets, target):
        raise _outside(integration, "target")
    return target


def _outside(integration: Integration, field: str) -> Refused:
    return Refused(
        f"the integration {integration.name!r} may not reach this {field}",
        code=f"{field}_refused",
        fields=(FieldError(field, f"expected a {field} on the integration's list"),),
    )


def _check_url(url: str | None) -> None:
    if url is not None:
        try:
            usable = urlsplit(url).scheme in ("http", "https")
        except ValueError:
            usable = False
        if not usable:
            raise Invalid(
                "the external URL is not usable",
                fields=(FieldError("externalUrl", "expected an http:// or https:// URL"),),
            )
