"""Approvals, as they travel over HTTP: a program asks whether it may do something, a person answers, once."""

from enum import StrEnum
from typing import Annotated

import msgspec

from trio_relay.core.wire import AgentId, Name, SessionFields, Wire

ApprovalMs = Annotated[int, msgspec.Meta(ge=1_000, le=86_400_000)]
Reason = Annotated[str, msgspec.Meta(max_length=2_000)]


class ApprovalState(StrEnum):
    """Where a question stands. All but pending are final."""

    PENDING = "pending"
    ALLOWED = "allowed"
    DENIED = "denied"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


class Decision(StrEnum):
    """What a person answers."""

    ALLOW = "allow"
    DENY = "deny"

    @property
    def state(self) -> ApprovalState:
        """Where it leaves the question."""
        return ApprovalState.ALLOWED if self is Decision.ALLOW else ApprovalState.DENIED


class ApprovalRequest(SessionFields, kw_only=True):
    """Body of ``POST /approvals``: `agentId` wants to use `tool`; `summary` is one line, `detail` all a person needs.

    Nobody answers within `ttlMs`: it expires. `key` makes a repeat safe: the same question again is the same approval.
    """

    agent_id: AgentId
    tool: Name
    summary: Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]
    detail: Annotated[str, msgspec.Meta(max_length=100_000)] | None = None
    ttl_ms: ApprovalMs = 600_000
    key: Name | None = None


class ApprovalDecision(Wire, kw_only=True):
    """Body of ``POST /approvals/:id/decide``. The asker is shown the `reason`."""

    decision: Decision
    reason: Reason | None = None


class ApprovalWithdrawal(SessionFields, kw_only=True):
    """Body of ``POST /approvals/:id/withdraw``: the asker has its answer elsewhere, or does not need one any more."""

    agent_id: AgentId
    reason: Reason | None = None


class Approval(Wire, kw_only=True):
    """A question and its answer. `decidedBy` names the caller who answered; `decidedAt` is when it was over, however."""

    id: int
    agent_id: str
    tool: str
    summary: str
    detail: str | None
    state: ApprovalState
    decided_by: str | None
    reason: str | None
    created_at: int
    expires_at: int
    decided_at: int | None
