"""Who a Claude Code session is: its agent id, what it registers as, what it is told of itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from trio_relay.client import RelayClient
from trio_relay.core.approval import Approval, parse_approval
from trio_relay.core.identity import agent_id
from trio_relay.core.model import AgentStatus
from trio_relay.core.profiles import Resolved, resolve
from trio_relay.core.prompts import Introduction
from trio_relay.core.wire import AgentRegistration
from trio_relay.errors import NotFound
from trio_relay.settings import AgentSettings, ClaudeSettings
from trio_relay.settings.profiles import find_profile

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """Settled when the keeper starts; `agent_id` stays through /clear and /resume."""

    agent_id: str
    instance_id: str
    host: str
    project: str
    rig: str
    resolved: Resolved
    approval: Approval
    relay_url: str
    meta: dict[str, Any]

    @property
    def offers_work(self) -> bool:
        """Whether claimable work is shown to the model instead of being claimed for it."""
        wished = self.resolved.auto_claim
        return self.approval is Approval.GUARDED if wished is None else not wished

    def registration(
        self, status: AgentStatus, session_id: str, model: str | None = None
    ) -> AgentRegistration:
        """Write the body of the registration."""
        told = {"threadId": session_id, **({} if model is None else {"model": model})}
        return AgentRegistration(
            id=self.agent_id,
            name=self.project,
            label=self.resolved.label,
            machine=self.host,
            rig=self.rig,
            tags=list(self.resolved.tags),
            capabilities=list(self.resolved.capabilities),
            status=status,
            instance_id=self.instance_id,
            meta=self.meta | told,
        )

    def introduction(self) -> Introduction:
        """Write what the model is told of itself."""
        return Introduction(
            agent_id=self.agent_id,
            relay_url=self.relay_url,
            profile=self.resolved.meta.get("profile"),
            label=self.resolved.label,
            tags=self.resolved.tags,
            capabilities=self.resolved.capabilities,
            channels=self.resolved.channels,
            approval=self.approval,
        )


def identify(
    settings: AgentSettings, claude: ClaudeSettings, *, host: str, cwd: str, session_id: str, instance_id: str
) -> Identity:
    """Settle the identity: the agent is named after the session its Claude Code process began with."""
    project = Path(cwd).name
    named = find_profile(settings)
    for problem in named.problems:
        log.warning("profile", problem=problem)
    resolved = resolve(
        provider="claude",
        rig=claude.rig,
        project=project,
        name=settings.profile,
        profile=named.profile,
        label=settings.label,
        tags=settings.tags,
        capabilities=settings.capabilities,
        channels=settings.channels,
        approval=settings.approval,
    )
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
        relay_url=settings.relay_url,
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
