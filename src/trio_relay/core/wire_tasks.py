"""Tasks, the events that make them, and their callbacks, as they travel over HTTP."""

from typing import Annotated, Any

import msgspec

from trio_relay.core.tasks import TaskStatus
from trio_relay.core.wire import AgentId, Name, SessionFields, Wire

Title = Annotated[str, msgspec.Meta(max_length=500)]
LeaseTtl = Annotated[int, msgspec.Meta(ge=1_000, le=3_600_000)]


class IntegrationEvent(Wire, kw_only=True):
    """Body of ``POST /integrations/events``: something happened that may be work for an agent.

    The first event with a `dedupeKey` makes a task; further ones are counted on it while it is active. `target` is an
    agent id, ``tag:NAME``, ``cap:NAME``, ``label:NAME`` or ``broadcast``; an integration with one target may leave it
    out. ``status: resolved`` ends the task as done; any other status means that the thing goes on.
    """

    type: Name = "event"
    severity: Name = "info"
    dedupe_key: Annotated[str, msgspec.Meta(min_length=1, max_length=500)] | None = None
    title: Title = ""
    body: str = ""
    target: AgentId | None = None
    channel: Name | None = None
    external_url: Annotated[str, msgspec.Meta(max_length=2000)] | None = None
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    status: Name | None = None


class Task(Wire, kw_only=True):
    """A task. `source` names the integration, `messageId` the claimable message that carries it.

    `claimedBy` is the agent that holds it, or held it when it ended; `result` and `progress` are that agent's words.
    """

    id: int
    source: str
    type: str
    severity: str
    dedupe_key: str | None
    title: str
    body: str
    target: str
    channel: str | None
    external_url: str | None
    metadata: dict[str, Any]
    status: TaskStatus
    occurrence_count: int
    message_id: int | None
    claimed_by: str | None
    claimed_at: int | None
    claim_expires_at: int | None
    progress: Any
    result: Any
    created_at: int
    updated_at: int
    last_seen_at: int
    ended_at: int | None


class ClaimedTask(Task, kw_only=True):
    """Answer of ``POST /tasks/:id/claim``: the task with its lease, which is the lease of its message."""

    lease_token: str
    lease_epoch: int
    attempt: int


class TaskClaim(SessionFields, kw_only=True):
    """Body of ``POST /tasks/:id/claim``."""

    agent_id: AgentId
    ttl_ms: LeaseTtl | None = None


class TaskStatusChange(SessionFields, kw_only=True):
    """Body of ``PATCH /tasks/:id/status``.

    `agentId` is the holder; without it an operator speaks, who may overrule the holder. `progress` and `result` are any
    JSON. With `leaseToken` a claim that was lost and won again meanwhile is told apart.
    """

    status: TaskStatus
    agent_id: AgentId | None = None
    result: Any = None
    progress: Any = None
    lease_token: str | None = None


class TaskEvent(Wire, kw_only=True):
    """One line of a task's history: created, repeated, claimed, reopened, status.

    `status` is where the task stood then, `agentId` who did it, where it was an agent.
    """

    id: int
    task_id: int
    type: str
    at: int
    status: TaskStatus
    agent_id: str | None
    data: dict[str, Any]


class CallbackAttempt(Wire, kw_only=True):
    """One attempt to deliver a callback: the HTTP status, or the kind of error where there was none."""

    at: int
    status: int | None
    error: str | None
    duration_ms: int


class Callback(Wire, kw_only=True):
    """A callback about a task: waiting, delivered or dead. `id` is the delivery id the receiver sees."""

    id: str
    event: str
    task_id: int
    integration: str
    state: str
    created_at: int
    due_at: int | None
    ended_at: int | None
    attempts: list[CallbackAttempt]


class CallbackBody(Wire, kw_only=True):
    """What a receiver is sent. `id` stays the same however often it is sent."""

    event: str
    id: str
    task: Task
