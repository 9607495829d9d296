"""Who a Claude Code session is: its agent id, what it registers as, what it is told of itself."""

from pathlib import Path

import structlog

from trio_relay.client import RelayClient
from trio_relay.core.approval import parse_approval
from trio_relay.core.identity import agent_id
from trio_relay.core.model import AgentStatus
from trio_relay.core.wire import AgentRegistration
from trio_relay.errors import NotFound
from trio_relay.settings import AgentSettings, ClaudeSettings
from trio_relay.sidecar.identity import AgentIdentity, resolve_settings

log = structlog.get_logger(__name__)


class Identity(AgentIdentity):
    """Settled when the keeper starts; `agent_id` stays through /clear and /resume."""

    __slots__ = ()

    def registration(
        self, status: AgentStatus, session_id: str, model: str | None = None
    ) -> AgentRegistration:
        """Write the body of the registration."""
        return self.registered_with(status, {"threadId": session_id, "model": model})


def identify(
    settings: AgentSettings, claude: ClaudeSettings, *, host: str, cwd: str, session_id: str, instance_id: str
) -> Identity:
    """Settle the identity: the agent is named after the session its Claude Code process began with."""
    project = Path(cwd).name
    resolved = resolve_settings(settings, provider="claude", rig=claude.rig, project=project)
    approval, warning = parse_approval(resolved.approval)
    if warning is not None:
        log.warning("approval", problem=warning)
    meta = dict(resolved.meta) | {
        "client": "claude",
        "cwd": cwd,
        "approvalMode": str(approval),
        "channels": list(resolved.channels),
    }
    return Identity(
        agent_id=agent_id(host, claude.rig, project, session_id),
        instance_id=instance_id,
        host=host,
        project=project or "project",
        rig=claude.rig,
        resolved=resolved,
        approval=approval,
        settings=settings,
        meta=meta,
    )


async def settle_name(relay: RelayClient, me: Identity, session_id: str) -> str:
    """Ask the relay under which name to take up a session: that of the agent that was in it last.

    An agent is named after the first session of its process and goes on through /clear, so the session that
    ``claude --continue`` takes up may have belonged to an agent of another name. Raises what the client raises.
    """
    there = [
        agent
        for agent in await relay.agents(thread=session_id)
        if agent.meta.get("threadId") == session_id
        and agent.meta.get("client") == "claude"
        and (agent.machine, agent.rig) == (me.host, me.rig)
    ]
    if not there or any(agent.id == me.agent_id for agent in there):
        return await _free_name(relay, me, session_id) if not there else me.agent_id
    gone = [agent.id for agent in there if agent.status is AgentStatus.OFFLINE]
    return gone[0] if len(gone) == 1 else me.agent_id


async def _free_name(relay: RelayClient, me: Identity, session_id: str) -> str:
    """Our own name, unless its bearer has gone on to another session and is at work there."""
    try:
        namesake = await relay.agent(me.agent_id)
    except NotFound:
        return me.agent_id
    elsewhere = namesake.meta.get("threadId") not in {None, session_id}
    if elsewhere and namesake.status is not AgentStatus.OFFLINE:
        return agent_id(me.host, me.rig, me.project, me.instance_id)
    return me.agent_id
