"""What travels about leases by name, parked threads, retraction and explanation."""

from typing import Annotated, Any

import msgspec

from trio_relay.core.model import Rung, Verdict
from trio_relay.core.wire import AgentId, SessionFields, Wire

LeaseKey = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
LeaseMs = Annotated[int, msgspec.Meta(ge=1_000, le=86_400_000)]


class LeaseRequest(SessionFields, kw_only=True):
    """Body of ``POST /leases``: take what `key` names (``file:src/api/**``, ``port:5432``) for `ttlMs`."""

    key: LeaseKey
    holder: AgentId
    ttl_ms: LeaseMs = 60_000


class LeaseChange(SessionFields, kw_only=True):
    """Body of ``POST /leases/renew``, ``/release`` and ``/complete``; a stale `leaseToken` changes nothing."""

    key: LeaseKey
    holder: AgentId
    lease_token: str
    ttl_ms: LeaseMs = 60_000
    result: Any = None


class Lease(Wire, kw_only=True):
    """A lease. `leaseToken` is shown to its holder only; `leaseEpoch` is the fencing number: it only grows."""

    key: str
    state: str
    holder: str | None
    lease_epoch: int
    attempts: int
    claimed_at: int | None
    expires_at: int | None
    lease_token: str | None = None


class Withdrawal(Wire, kw_only=True):
    """Answer of a retraction: who will not get the message any more, and who already has it."""

    message_id: int
    retracted: list[str]
    too_late: list[str]


class RetractRequest(SessionFields, kw_only=True):
    """Body of ``POST /messages/:id/retract``; `from` is its sender."""

    sender: AgentId | None = msgspec.field(default=None, name="from")
    reason: Annotated[str, msgspec.Meta(max_length=200)] | None = None


class ParkedThread(Wire, kw_only=True):
    """A thread that waits for a person."""

    thread_id: int
    parked_at: int | None
    reason: str | None
    participants: list[str]
    held: list[int]


class ExplainedStep(Wire, kw_only=True):
    """One thing that happened to a message."""

    at: int
    what: str
    agent_id: str | None = None
    evidence: dict[str, Any] = msgspec.field(default_factory=dict)


class ExplainedRecipient(Wire, kw_only=True):
    """Where one recipient stands, and what it is waiting for."""

    agent_id: str
    state: Rung
    verdict: Verdict
    attempts: int
    last_seen: int | None
    waiting_for: str | None


class Explanation(Wire, kw_only=True):
    """Answer of ``GET /messages/:id/explain``: what happened, where it stands, and why it is not there yet."""

    message_id: int
    summary: str
    recipients: list[ExplainedRecipient]
    timeline: list[ExplainedStep]
