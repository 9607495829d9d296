"""Who this sidecar is: its agent id, what it registers as, what it tells its model of itself."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import structlog

from trio_relay.core.approval import from_permissions, parse_approval, permissions
from trio_relay.core.batching import MAY_INTERRUPT
from trio_relay.core.identity import agent_id
from trio_relay.core.model import AgentStatus, Authority
from trio_relay.core.wire import AgentRegistration
from trio_relay.settings import AgentSettings, SidecarSettings
from trio_relay.sidecar.identity import AgentIdentity, resolve_settings
from trio_relay.sidecar.state_file import State

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity(AgentIdentity):
    """A sidecar's identity, settled when it starts.

    `named_after`: the thread that was given and that nobody before us had; whose it was, the relay may know better.
    """

    cwd: str
    approval_policy: str | None
    sandbox: str | None
    named_after: str | None = None

    @property
    def may_interrupt(self) -> Collection[Authority]:
        """Whose messages may stop a running turn."""
        for named in (self.settings.may_interrupt, self.resolved.may_interrupt):
            if named is not None:
                return named
        return MAY_INTERRUPT

    def registration(
        self, status: AgentStatus, thread_id: str | None, note: str | None = None
    ) -> AgentRegistration:
        """Write the body of the registration: `note` says how the agent came to its thread."""
        return self.registered_with(status, {"threadId": thread_id, "threadNote": note})


def identify(
    settings: AgentSettings,
    sidecar: SidecarSettings,
    predecessor: State,
    *,
    host: str,
    cwd: str,
    instance_id: str,
) -> Identity:
    """Settle the identity.

    The agent id stays with the thread: a thread that was given decides it, a predecessor's thread that is taken up
    keeps its agent, and a new thread's agent is named after this instance. Where it follows a person, the agent
    stays as well, wherever they are in this session.
    """
    project = Path(cwd).name
    resolved = resolve_settings(settings, provider="codex", rig=sidecar.rig, project=project)
    approval, warning = parse_approval(resolved.approval)
    if warning is not None:
        log.warning("approval", problem=warning)
    named = resolved.approval is not None
    if not named:
        approval = from_permissions(sidecar.approval_policy, sidecar.sandbox)
    wished = permissions(approval) if named else None
    wanted = wanted_thread(sidecar, predecessor)
    succeeds = sidecar.thread_mode in {"resume", "auto"} and (
        wanted == predecessor.thread_id or takes_over(sidecar, predecessor)
    )
    named_after = None
    if succeeds and predecessor.agent_id is not None:  # also of one that died before it had a thread
        own_id = predecessor.agent_id
    else:
        own_id = agent_id(host, sidecar.rig, project, wanted or instance_id)
        named_after = wanted
    meta = dict(resolved.meta) | {
        "client": "codex",
        "cwd": cwd,
        "model": sidecar.model,
        "appServerUrl": sidecar.app_server_url,
        "approvalMode": str(approval),
        "channels": list(resolved.channels),
    }
    return Identity(
        agent_id=own_id,
        instance_id=instance_id,
        host=host,
        project=project or "project",
        cwd=cwd,
        rig=sidecar.rig,
        resolved=resolved,
        approval=approval,
        approval_policy=sidecar.approval_policy or (wished.approval_policy if wished else None),
        sandbox=sidecar.sandbox or (wished.sandbox if wished else None),
        settings=settings,
        meta=meta,
        named_after=named_after,
    )


def wanted_thread(sidecar: SidecarSettings, predecessor: State) -> str | None:
    """Say which thread to take up: the one that was given, else, unless a new one is asked for, the predecessor's.

    Where a predecessor in the same session followed the person away from the one that was given, it is theirs.
    """
    if sidecar.thread_mode not in {"resume", "auto"}:
        return None
    if takes_over(sidecar, predecessor):
        return predecessor.thread_id or sidecar.thread_id
    return sidecar.thread_id or predecessor.thread_id


def session_of(sidecar: SidecarSettings) -> str:
    """Name the session of a person that is followed: the app-server, and the token it was started with."""
    return f"{sidecar.app_server_url} {sidecar.app_server_token_file or ''}".strip()


def takes_over(sidecar: SidecarSettings, predecessor: State) -> bool:
    """Say whether the predecessor followed the same person in the same session."""
    return sidecar.follow != "off" and predecessor.session == session_of(sidecar)
