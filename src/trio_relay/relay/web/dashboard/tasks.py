"""Tasks: what integrations have asked for, who does it, how it goes, and what their programs were told."""

from quart import Blueprint, Response

from trio_relay.core.access import Scope
from trio_relay.core.tasks import ACTIVE, ENDED, HELD, TaskStatus
from trio_relay.core.wire_tasks import TaskStatusChange
from trio_relay.relay.operations import tasks, watching
from trio_relay.relay.web.dashboard.asking import as_request, choice_asked, known, number_asked
from trio_relay.relay.web.dashboard.frame import Frame, form, go, page, wants
from trio_relay.relay.web.dashboard.session import person

ROWS = 50
#: What the list can show: the word in the query, what it is called, the statuses.
SHOWN = {
    "active": ("Active", ACTIVE),
    "ended": ("Ended", ENDED),
    "all": ("All", frozenset(TaskStatus)),
}
#: Status → what it is called.
STATUSES = {
    TaskStatus.OPEN: "open",
    TaskStatus.CLAIMED: "claimed",
    TaskStatus.IN_PROGRESS: "in progress",
    TaskStatus.BLOCKED: "blocked",
    TaskStatus.DONE: "done",
    TaskStatus.FAILED: "failed",
    TaskStatus.CANCELED: "canceled",
}
#: What is said after a person has put a task on a status.
_SAID = {
    TaskStatus.OPEN: "was taken back and is offered again",
    TaskStatus.DONE: "is done",
    TaskStatus.FAILED: "has failed",
    TaskStatus.CANCELED: "is canceled",
}


def tasks_pages(pages: Blueprint, frame: Frame) -> None:
    """The routes of tasks."""
    service = frame.service
    frame.templates.globals["task_statuses"] = STATUSES

    @pages.get("/tasks")
    @page(Scope.OBSERVE)
    async def all_tasks() -> Response:
        """Show what is to be done, or was."""
        shown = choice_asked("show", SHOWN, "active")
        found = []
        if wants("tasks"):
            found = await service.read(
                watching.watched_tasks, SHOWN[shown][1], limit=ROWS + 1, before=number_asked("before")
            )
        return await frame.show(
            "tasks.html",
            title="Tasks",
            here="tasks",
            choices=SHOWN,
            shown=shown,
            tasks=found[:ROWS],
            more=found[ROWS - 1].task.id if len(found) > ROWS else None,
        )

    @pages.get("/tasks/<int:task_id>")
    @page(Scope.OBSERVE)
    async def one_task(task_id: int) -> Response:
        """Show one task with its history and its callbacks."""
        task = await service.read(tasks.get_task, known(task_id))
        return await frame.show(
            "task.html",
            title=f"Task {task_id}",
            here="tasks",
            task=task,
            ended=task.status in ENDED,
            held=task.status in HELD,
            history=await service.read(tasks.events, task_id),
            callbacks=await service.read(tasks.callback_log, task_id),
        )

    @pages.post("/tasks/<int:task_id>/status")
    @page(Scope.ADMIN)
    async def set_status(task_id: int) -> Response:
        """Overrule whoever holds a task, or end one nobody holds."""
        fields = await form()
        note = fields.get("note", "").strip()
        by = person.get().name
        change = as_request({"status": fields.get("status", "")}, TaskStatusChange)
        if change.status in ENDED:
            change.result = {"by": by, "note": note} if note else {"by": by}
        await service.write(tasks.set_status, known(task_id), change)
        said = _SAID.get(change.status, f"is {STATUSES[change.status]}")
        return go(f"/tasks/{task_id}", said=f"Task {task_id} {said}.")
