"""``/api/approvals``: a program asks whether it may do something, a person answers."""

from typing import Annotated

import msgspec
from quart import Blueprint

from trio_relay.core.access import Scope
from trio_relay.core.wire import AgentId, Wire
from trio_relay.core.wire_approvals import (
    Approval,
    ApprovalDecision,
    ApprovalRequest,
    ApprovalState,
    ApprovalWithdrawal,
)
from trio_relay.relay.credentials import caller
from trio_relay.relay.operations import approvals
from trio_relay.relay.service import RelayService
from trio_relay.relay.web.api import api
from trio_relay.relay.web.messages import Id, known_id
from trio_relay.relay.web.rooms import check_may_decide


class ApprovalQuery(Wire, kw_only=True):
    """Query of ``GET /approvals``: every filter given must match; newest first."""

    agent: AgentId | None = None
    state: ApprovalState | None = None
    before: Id | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100


class AnswerQuery(Wire, kw_only=True):
    """Query of ``GET /approvals/:id``. `wait`: answer the moment it is over, or after so many seconds (at most 60)."""

    wait: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.0


def approvals_blueprint(service: RelayService) -> Blueprint:
    """The routes of ``/api/approvals``."""
    routes = Blueprint("approvals", __name__, url_prefix="/api/approvals")

    @routes.post("")
    @api(
        body=ApprovalRequest,
        responses={201: Approval, 200: Approval},
        scopes=(Scope.SEND,),
        actor="body.agent_id",
    )
    async def ask(body: ApprovalRequest) -> tuple[Approval, int]:
        """Ask a person whether something may be done."""
        approval, new = await service.write(approvals.ask, body)
        return approval, 201 if new else 200

    @routes.get("")
    @api(query=ApprovalQuery, responses={200: list[Approval]}, scopes=(Scope.OBSERVE, Scope.RECEIVE))
    async def list_approvals(query: ApprovalQuery) -> list[Approval]:
        """List what was asked, newest first."""
        principal = caller.get()
        if not principal.allows(Scope.OBSERVE):
            principal.check_actor(query.agent, "agent")
        return await service.read(approvals.list_approvals, **msgspec.structs.asdict(query))

    @routes.get("/<int:approval_id>")
    @api(query=AnswerQuery, responses={200: Approval}, scopes=(Scope.OBSERVE, Scope.RECEIVE))
    async def get_approval(approval_id: int, query: AnswerQuery) -> Approval:
        """Read one question and its answer; with `wait`, once it is over."""
        approval = await service.read(approvals.get_approval, known_id(approval_id))
        principal = caller.get()
        if not principal.allows(Scope.OBSERVE) and principal.agent_id != approval.agent_id:
            principal.check_scope(Scope.OBSERVE)
        return await service.answer(approval.id, wait=query.wait) if query.wait else approval

    @routes.post("/<int:approval_id>/decide")
    @api(body=ApprovalDecision, responses={200: Approval}, scopes=())
    async def decide(approval_id: int, body: ApprovalDecision) -> Approval:
        """Allow or deny what an agent asks; a person does, or whoever administers the relay."""
        check_may_decide()
        return await service.write(approvals.decide, known_id(approval_id), body)

    @routes.post("/<int:approval_id>/withdraw")
    @api(body=ApprovalWithdrawal, responses={200: Approval}, scopes=(Scope.SEND,), actor="body.agent_id")
    async def withdraw(approval_id: int, body: ApprovalWithdrawal) -> Approval:
        """Take a question back, as the agent that asked; an answer that is there already stays."""
        return await service.write(approvals.withdraw, known_id(approval_id), body)

    return routes
