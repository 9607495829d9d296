"""What the session does now: hooks say it, the status file says what no hook does, and one task tells the relay.

The newer word counts. Times are Unix milliseconds where Claude Code's are, else trio's seconds.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import trio

from trio_relay.claude.status_file import Activity, StatusFile
from trio_relay.core.model import AgentStatus
from trio_relay.core.wire import Agent
from trio_relay.sidecar.session import Session
from trio_relay.supervise import Doorbell

#: Why an agent is not ready before its inbox was read, and when nothing can be put into its session.
READING = "reading the inbox"


@dataclass(frozen=True, slots=True)
class Published:
    """What the relay is told."""

    status: AgentStatus
    ready: bool
    reason: str | None
    session_id: str
    model: str | None


class Presence:
    """Where the session stands. `now_ms` answers Unix milliseconds.

    `relayed`: a relay message has reached the running turn.
    """

    def __init__(self, session_id: str, now_ms: Callable[[], float]) -> None:
        self.bell = Doorbell()
        self.session_id = session_id
        self.model: str | None = None
        self.activity = Activity.IDLE
        self.relayed = False
        self.trouble: str | None = READING
        self._now_ms = now_ms
        self._heard = now_ms()
        self._since = trio.current_time()
        self._relay_has: Published | None = None

    @property
    def idle_since(self) -> float | None:
        """When the session became idle; None while it is not."""
        return self._since if self.activity is Activity.IDLE else None

    def is_doing(self, activity: Activity) -> bool:
        """Note what a hook said; whether that is a change."""
        self._heard = self._now_ms()
        return self._becomes(activity)

    def read(self, file: StatusFile) -> bool:
        """Note what the status file says, where it is newer than the last hook; whether that is a change."""
        if file.activity is None or file.status_updated_at <= self._heard:
            return False
        self._heard = file.status_updated_at
        return self._becomes(file.activity)

    def begins_as(self, file: StatusFile) -> None:
        """Take the status file's word for what the session did before anybody listened to its hooks."""
        self._becomes(file.activity or Activity.IDLE)

    def _becomes(self, activity: Activity) -> bool:
        if activity is self.activity:
            return False
        if Activity.IDLE in {activity, self.activity}:
            self._since = trio.current_time()
        self.activity = activity
        self.bell.ring()
        return True

    def moves_to(self, session_id: str, model: str | None) -> None:
        """Note which session the process is in now."""
        if session_id:
            self.session_id = session_id
        self.model = model or self.model
        self.bell.ring()

    def set_trouble(self, reason: str | None) -> None:
        """Note why a message would be wasted now, or that it would not."""
        self.trouble = reason
        self.bell.ring()

    # Telling the relay

    @property
    def wanted(self) -> Published:
        """What the relay should know."""
        status = AgentStatus.IDLE if self.activity is Activity.IDLE else AgentStatus.BUSY
        return Published(status, self.trouble is None, self.trouble, self.session_id, self.model)

    def relay_said(self, agent: Agent) -> None:
        """Compare with what the relay believes: it calls a silent agent offline, and has to be told again."""
        self._relay_has = _as_published(agent)
        self.bell.ring()

    async def publish(self, session: Session, register: Callable[[], Awaitable[Agent]]) -> None:
        """Task: tell the relay whenever it does not know the newest value."""
        while True:
            await self.bell.wait()
            while self._relay_has != self.wanted:
                await session.insist(partial(self._tell, session, register))

    async def _tell(self, session: Session, register: Callable[[], Awaitable[Agent]]) -> None:
        wanted, relay, has = self.wanted, session.relay, self._relay_has
        if has is None or (has.session_id, has.model) != (wanted.session_id, wanted.model):
            has = _as_published(await register())
        if has.status != wanted.status:
            agent = await relay.set_status(session.agent_id, wanted.status, session=session.fields)
            has = _as_published(agent)
        if (has.ready, has.reason) != (wanted.ready, wanted.reason):
            agent = await relay.set_ready(
                session.agent_id, wanted.ready, session=session.fields, reason=wanted.reason
            )
            has = _as_published(agent)
        self._relay_has = has


def _as_published(agent: Agent) -> Published:
    meta = agent.meta
    model = meta.get("model")
    return Published(
        agent.status,
        agent.ready,
        agent.ready_reason,
        str(meta.get("threadId")),
        model if isinstance(model, str) else None,
    )
