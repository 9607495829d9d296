"""``/api/tasks``: what integrations have asked for, who does it, how it goes."""

from typing import Annotated

import msgspec
from quart import Blueprint

from trio_relay.core.access import Scope
from trio_relay.core.tasks import TaskStatus
from trio_relay.core.wire import AgentId, Name, Wire
from trio_relay.core.wire_tasks import Callback, ClaimedTask, Task, TaskClaim, TaskEvent, TaskStatusChange
from trio_relay.relay.credentials import caller
from trio_relay.relay.operations import tasks
from trio_relay.relay.service import RelayService
from trio_relay.relay.web.api import api
from trio_relay.relay.web.messages import Id, known_id


class TaskQuery(Wire, kw_only=True):
    """Query of ``GET /tasks``: every filter given must match; newest first."""

    status: TaskStatus | None = None
    source: Name | None = None
    target: AgentId | None = None
    before: Id | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100


class TaskEventQuery(Wire, kw_only=True):
    """Query of ``GET /tasks/:id/events``: oldest first, `after` an event id."""

    after: Id = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1000


def tasks_blueprint(service: RelayService) -> Blueprint:
    """The routes of ``/api/tasks``."""
    routes = Blueprint("tasks", __name__, url_prefix="/api/tasks")

    @routes.get("")
    @api(query=TaskQuery, responses={200: list[Task]}, scopes=(Scope.OBSERVE, Scope.CLAIM))
    async def list_tasks(query: TaskQuery) -> list[Task]:
        """List tasks, newest first."""
        return await service.read(tasks.list_tasks, **msgspec.structs.asdict(query))

    @routes.get("/<int:task_id>")
    @api(responses={200: Task}, scopes=(Scope.OBSERVE, Scope.CLAIM))
    async def get_task(task_id: int) -> Task:
        """Read one task."""
        return await service.read(tasks.get_task, known_id(task_id))

    @routes.get("/<int:task_id>/events")
    @api(query=TaskEventQuery, responses={200: list[TaskEvent]}, scopes=(Scope.OBSERVE, Scope.CLAIM))
    async def events(task_id: int, query: TaskEventQuery) -> list[TaskEvent]:
        """Read a task's history, oldest first."""
        return await service.read(tasks.events, known_id(task_id), after=query.after, limit=query.limit)

    @routes.get("/<int:task_id>/callbacks")
    @api(responses={200: list[Callback]}, scopes=(Scope.OBSERVE,))
    async def callbacks(task_id: int) -> list[Callback]:
        """Read the callbacks about a task, with every attempt."""
        return await service.read(tasks.callback_log, known_id(task_id))

    @routes.post("/<int:task_id>/claim")
    @api(body=TaskClaim, responses={200: ClaimedTask}, scopes=(Scope.CLAIM,), actor="body.agent_id")
    async def claim(task_id: int, body: TaskClaim) -> ClaimedTask:
        """Claim a task under the lease of its message."""
        return await service.write(tasks.claim, known_id(task_id), body)

    @routes.patch("/<int:task_id>/status")
    @api(body=TaskStatusChange, responses={200: Task}, scopes=(Scope.CLAIM,), actor="body.agent_id")
    async def set_status(task_id: int, body: TaskStatusChange) -> Task:
        """Say how a task goes, as its holder; without an agent, as an operator."""
        if body.agent_id is None:
            caller.get().check_scope(Scope.ADMIN)
        return await service.write(tasks.set_status, known_id(task_id), body)

    return routes
