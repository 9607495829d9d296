"""What every helper beside a session says of its agent, whatever program the session is of."""

from dataclasses import dataclass
from typing import Any

import structlog

from trio_relay.core.approval import Approval
from trio_relay.core.model import AgentStatus
from trio_relay.core.profiles import Resolved, resolve
from trio_relay.core.prompts import Introduction
from trio_relay.core.wire import AgentRegistration
from trio_relay.settings import AgentSettings
from trio_relay.settings.profiles import find_profile

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentIdentity:
    """Who the agent is, settled when its helper starts."""

    agent_id: str
    instance_id: str
    host: str
    project: str
    rig: str
    resolved: Resolved
    approval: Approval
    settings: AgentSettings
    meta: dict[str, Any]

    @property
    def offers_work(self) -> bool:
        """Whether claimable work is shown to the model instead of being claimed for it."""
        wished = self.resolved.auto_claim
        return self.approval is Approval.GUARDED if wished is None else not wished

    def registered_with(self, status: AgentStatus, told: dict[str, str | None]) -> AgentRegistration:
        """Write the body of the registration; what is told of the session as it is now, and known, goes into `meta`."""
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
            meta=self.meta | {name: value for name, value in told.items() if value is not None},
        )

    def introduction(self) -> Introduction:
        """Write what the model is told of itself."""
        return Introduction(
            agent_id=self.agent_id,
            relay_url=self.settings.relay_url,
            profile=self.resolved.meta.get("profile"),
            label=self.resolved.label,
            tags=self.resolved.tags,
            capabilities=self.resolved.capabilities,
            channels=self.resolved.channels,
            approval=self.approval,
        )


def resolve_settings(settings: AgentSettings, *, provider: str, rig: str, project: str) -> Resolved:
    """Put the named profile and the environment together. Whatever is wrong with the profile is said."""
    named = find_profile(settings)
    for problem in named.problems:
        log.warning("profile", problem=problem)
    return resolve(
        provider=provider,
        rig=rig,
        project=project,
        name=settings.profile,
        profile=named.profile,
        label=settings.label,
        tags=settings.tags,
        capabilities=settings.capabilities,
        channels=settings.channels,
        approval=settings.approval,
    )
