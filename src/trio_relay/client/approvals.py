"""Calls about approvals: a program asks whether it may do something, a person answers, the first answer wins."""

from typing import Any

from trio_relay.client.http import RelayClient
from trio_relay.core.wire_approvals import (
    Approval,
    ApprovalDecision,
    ApprovalRequest,
    ApprovalState,
    ApprovalWithdrawal,
    Decision,
)


async def ask(relay: RelayClient, request: ApprovalRequest) -> Approval:
    """Ask; with the same `key` again, the same approval."""
    return await relay.call("POST", "/api/approvals", Approval, body=request)


async def list_approvals(
    relay: RelayClient, *, agent: str | None = None, state: ApprovalState | None = None, limit: int = 100
) -> list[Approval]:
    """What was asked and what became of it, newest first."""
    query: dict[str, Any] = {"agent": agent, "state": state, "limit": limit}
    return await relay.call("GET", "/api/approvals", list[Approval], query=query)


async def get_approval(relay: RelayClient, approval_id: int, wait: float | None = None) -> Approval:
    """One approval; with `wait` seconds (at most 60), once it is no longer pending."""
    path, query = f"/api/approvals/{approval_id}", {"wait": wait}
    return await relay.call("GET", path, Approval, query=query, patience=wait or 0.0)


async def decide(
    relay: RelayClient, approval_id: int, decision: Decision, reason: str | None = None
) -> Approval:
    """Answer, as a person; repeating one's answer is safe.

    Raises:
        Conflict: it was answered otherwise, or is over (``approval_over``).

    """
    body = ApprovalDecision(decision=decision, reason=reason)
    return await relay.call("POST", f"/api/approvals/{approval_id}/decide", Approval, body=body)


async def withdraw(relay: RelayClient, approval_id: int, request: ApprovalWithdrawal) -> Approval:
    """Take the question back: the asker has its answer elsewhere."""
    return await relay.call("POST", f"/api/approvals/{approval_id}/withdraw", Approval, body=request)
