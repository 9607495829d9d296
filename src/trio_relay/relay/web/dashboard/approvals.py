"""Approvals: what agents want to do and may not without a person's word."""

from quart import Blueprint, Response

from trio_relay.core.access import Scope
from trio_relay.core.wire_approvals import ApprovalDecision, ApprovalState, Decision
from trio_relay.relay.operations import approvals
from trio_relay.relay.web.dashboard.asking import as_request, known
from trio_relay.relay.web.dashboard.frame import Frame, form, go, page, wants

ROWS = 100
_OVER = 30


def approvals_pages(pages: Blueprint, frame: Frame) -> None:
    """The routes of approvals."""
    service = frame.service

    @pages.get("/approvals")
    @page(Scope.OBSERVE)
    async def all_approvals() -> Response:
        """Show what waits for a person, and what was answered lately."""
        pending = (
            await service.read(approvals.list_approvals, state=ApprovalState.PENDING, limit=ROWS)
            if wants("pending")
            else []
        )
        recent = await service.read(approvals.list_approvals, limit=_OVER) if wants("over") else []
        return await frame.show(
            "approvals.html",
            title="Approvals",
            here="approvals",
            # Longest waiting first: it expires first. A lapsed one counts as over before housekeeping has come by.
            pending=[each for each in reversed(pending) if each.state is ApprovalState.PENDING],
            over=[each for each in recent if each.state is not ApprovalState.PENDING],
        )

    @pages.post("/approvals/<int:approval_id>/decide")
    @page(decides=True)
    async def decide(approval_id: int) -> Response:
        """Allow or deny; the first answer stands."""
        fields = await form()
        reason = fields.get("reason", "").strip()
        answer = as_request(
            {"decision": fields.get("decision", ""), **({"reason": reason} if reason else {})},
            ApprovalDecision,
        )
        approval = await service.write(approvals.decide, known(approval_id), answer)
        word = "allowed" if answer.decision is Decision.ALLOW else "denied"
        return go("/approvals", said=f"You have {word} it: {approval.agent_id}, {approval.tool}.")
