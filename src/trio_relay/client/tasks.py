"""Calls about tasks: what integrations have asked for, who does it, how it goes."""

from typing import Any

from trio_relay.client.http import RelayClient
from trio_relay.core.tasks import TaskStatus
from trio_relay.core.wire_tasks import (
    Callback,
    ClaimedTask,
    IntegrationEvent,
    Task,
    TaskClaim,
    TaskEvent,
    TaskStatusChange,
)


async def post_event(relay: RelayClient, event: IntegrationEvent) -> Task:
    """Say that something happened, with an integration's token; the answer is the task it made or is counted on."""
    return await relay.call("POST", "/api/integrations/events", Task, body=event)


async def list_tasks(
    relay: RelayClient,
    *,
    status: TaskStatus | None = None,
    source: str | None = None,
    target: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[Task]:
    """Every task that matches, newest first; `before` is a task id."""
    query: dict[str, Any] = {
        "status": status,
        "source": source,
        "target": target,
        "before": before,
        "limit": limit,
    }
    return await relay.call("GET", "/api/tasks", list[Task], query=query)


async def get_task(relay: RelayClient, task_id: int) -> Task:
    """One task."""
    return await relay.call("GET", f"/api/tasks/{task_id}", Task)


async def history(
    relay: RelayClient, task_id: int, *, after: int | None = None, limit: int = 1000
) -> list[TaskEvent]:
    """What happened to a task, oldest first; `after` is the id of an entry."""
    query: dict[str, Any] = {"after": after, "limit": limit}
    return await relay.call("GET", f"/api/tasks/{task_id}/events", list[TaskEvent], query=query)


async def callbacks(relay: RelayClient, task_id: int) -> list[Callback]:
    """The callbacks about a task, with every attempt."""
    return await relay.call("GET", f"/api/tasks/{task_id}/callbacks", list[Callback])


async def claim(relay: RelayClient, task_id: int, request: TaskClaim) -> ClaimedTask:
    """Claim a task; the holder that asks again gets its own lease back, renewed."""
    return await relay.call("POST", f"/api/tasks/{task_id}/claim", ClaimedTask, body=request)


async def set_status(relay: RelayClient, task_id: int, change: TaskStatusChange) -> Task:
    """Say how a task goes, as its holder; without an agent, as an operator who may overrule the holder."""
    return await relay.call("PATCH", f"/api/tasks/{task_id}/status", Task, body=change)
