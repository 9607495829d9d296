"""``/api/agents``: who is in the room."""

from typing import Annotated

import msgspec
from quart import Blueprint

from trio_relay.core.access import Scope
from trio_relay.core.model import AgentStatus
from trio_relay.core.wire import (
    Agent,
    AgentRegistration,
    Heartbeat,
    LabelChange,
    Name,
    ReadyChange,
    StatusChange,
    TagsChange,
    Wire,
)
from trio_relay.relay.operations import agents
from trio_relay.relay.service import RelayService
from trio_relay.relay.web.api import api


class AgentFilter(Wire, kw_only=True):
    """Query of ``GET /agents``: every filter given must match. `thread`: the session it has registered."""

    status: AgentStatus | None = None
    tag: Name | None = None
    cap: Name | None = None
    label: Name | None = None
    machine: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    ready: bool | None = None
    thread: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None


def agents_blueprint(service: RelayService) -> Blueprint:
    """The routes of ``/api/agents``."""
    routes = Blueprint("agents", __name__, url_prefix="/api/agents")

    @routes.post("")
    @api(body=AgentRegistration, responses={201: Agent, 200: Agent}, scopes=(Scope.RECEIVE,), actor="body.id")
    async def register_agent(body: AgentRegistration) -> tuple[Agent, int]:
        """Register an agent, or register it again."""
        agent, _ = await service.write(agents.register, body)
        return agent, 201

    @routes.get("")
    @api(query=AgentFilter, responses={200: list[Agent]}, scopes=())
    async def list_agents(query: AgentFilter) -> list[Agent]:
        """List the agents that match every filter."""
        return await service.read(agents.list_agents, **msgspec.structs.asdict(query))

    @routes.get("/<agent_id>")
    @api(responses={200: Agent}, scopes=())
    async def get_agent(agent_id: str) -> Agent:
        """Read one agent."""
        return await service.read(agents.get_agent, agent_id)

    @routes.delete("/<agent_id>")
    @api(responses={200: dict[str, bool]}, scopes=(Scope.RECEIVE,), actor="agent_id")
    async def remove_agent(agent_id: str) -> dict[str, bool]:
        """Remove an agent; what waited for it ends as dead, with the reason."""
        await service.write(agents.remove_agent, agent_id)
        return {"ok": True}

    @routes.post("/<agent_id>/heartbeat")
    @api(
        body=Heartbeat, optional_body=True, responses={200: Agent}, scopes=(Scope.RECEIVE,), actor="agent_id"
    )
    async def heartbeat(agent_id: str, body: Heartbeat) -> Agent:
        """Say that the agent lives."""
        return await service.write(agents.heartbeat, agent_id, body)

    @routes.patch("/<agent_id>/status")
    @api(body=StatusChange, responses={200: Agent}, scopes=(Scope.RECEIVE,), actor="agent_id")
    async def set_status(agent_id: str, body: StatusChange) -> Agent:
        """Say what the agent is doing."""
        return await service.write(agents.set_status, agent_id, body)

    @routes.patch("/<agent_id>/ready")
    @api(body=ReadyChange, responses={200: Agent}, scopes=(Scope.RECEIVE,), actor="agent_id")
    async def set_ready(agent_id: str, body: ReadyChange) -> Agent:
        """Say whether the agent can take messages, and if not, why."""
        return await service.write(agents.set_ready, agent_id, body)

    @routes.patch("/<agent_id>/label")
    @api(body=LabelChange, responses={200: Agent}, scopes=(Scope.RECEIVE,), actor="agent_id")
    async def set_label(agent_id: str, body: LabelChange) -> Agent:
        """Set or clear the agent's label."""
        return await service.write(agents.set_label, agent_id, body)

    @routes.patch("/<agent_id>/tags")
    @api(body=TagsChange, responses={200: Agent}, scopes=(Scope.RECEIVE,), actor="agent_id")
    async def set_tags(agent_id: str, body: TagsChange) -> Agent:
        """Replace the agent's tags, or add and remove some."""
        return await service.write(agents.set_tags, agent_id, body)

    return routes
