"""What the agent is, for the relay and the state file: one value, changed in one place, published by one task.

Because a single task publishes, and always the newest value, two status calls can never overtake each other.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import structlog

from trio_relay.core.model import AgentStatus
from trio_relay.core.wire import Agent
from trio_relay.sidecar.session import Session
from trio_relay.sidecar.state_file import StateFile
from trio_relay.supervise import Doorbell

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Published:
    """What the relay is told: the status, whether a message would be taken now, or else why not.

    And the thread, with a note of how the agent came there if it has moved.
    """

    status: AgentStatus
    ready: bool
    reason: str | None
    thread_id: str | None
    note: str | None


class Situation:
    """Where this sidecar stands. Whoever learns something says so here.

    `register` registers this same instance again, with a status and what the state file holds of the thread.
    """

    def __init__(self, book: StateFile, register: Callable[[AgentStatus], Awaitable[Agent]]) -> None:
        self.bell = Doorbell()
        self._book = book
        self._register = register
        self._polled = False
        self._attached = False
        self._reason = "connecting to the app-server"
        self._trouble: str | None = None
        self._turn: str | None = None
        self._active = False
        self._relay_has: Published | None = None

    @property
    def wanted(self) -> Published:
        """What the relay should know."""
        state = self._book.state
        where = (state.thread_id, state.note)
        if not self._attached:
            return Published(AgentStatus.ONLINE, False, self._reason, *where)
        status = AgentStatus.BUSY if self._active else AgentStatus.IDLE
        reason = self._trouble if self._polled else "reading the inbox"
        return Published(status, reason is None, reason, *where)

    def polled(self) -> None:
        """Note that the inbox was read for the first time."""
        self._polled = True
        self._changed()

    def attached(self, thread_id: str, app_server: str) -> None:
        """Note that the thread is subscribed to."""
        self._attached = True
        self._book.state.versions["codex"] = app_server
        self._book.update(thread_id=thread_id)
        log.info("attached", thread=thread_id)
        self._changed()

    def trouble(self, reason: str | None) -> None:
        """Note why a message would be wasted now, or that it would not."""
        if reason != self._trouble:
            self._trouble = reason
            self._changed()

    def detached(self, reason: str) -> None:
        """Note that the app-server is away, and why."""
        if self._attached or self._reason != reason:
            log.warning("app-server is away", reason=reason)
        self._attached, self._reason = False, reason
        self._turn, self._active = None, False
        self._changed()

    def turn(self, turn_id: str | None, *, active: bool) -> None:
        """Note which turn runs."""
        if (turn_id, active) != (self._turn, self._active):
            self._turn, self._active = turn_id, active
            self._changed()

    def relay_said(self, agent: Agent) -> None:
        """Compare with what the relay believes: it calls a silent agent offline, and has to be told again."""
        self._relay_has = _as_published(agent)
        self.bell.ring()

    def _changed(self) -> None:
        wanted = self.wanted
        self._book.update(
            status=str(wanted.status),
            ready=wanted.ready,
            reason=wanted.reason,
            active_turn=self._turn,
            connection="attached" if self._attached else self._reason,
        )
        self.bell.ring()

    async def publish(self, session: Session) -> None:
        """Task: tell the relay whenever it does not know the newest value."""
        while True:
            await self.bell.wait()
            while self._relay_has != self.wanted:
                await session.insist(partial(self._tell, session))

    async def _tell(self, session: Session) -> None:
        wanted, relay = self.wanted, session.relay
        has = self._relay_has
        if has is None or (has.thread_id, has.note) != (wanted.thread_id, wanted.note):
            has = _as_published(await self._register(wanted.status))
        if has.status != wanted.status:
            has = _as_published(
                await relay.set_status(session.agent_id, wanted.status, session=session.fields)
            )
        if (has.ready, has.reason) != (wanted.ready, wanted.reason):
            agent = await relay.set_ready(
                session.agent_id, wanted.ready, session=session.fields, reason=wanted.reason
            )
            has = _as_published(agent)
        self._relay_has = has


def _as_published(agent: Agent) -> Published:
    meta = agent.meta
    return Published(
        agent.status, agent.ready, agent.ready_reason, meta.get("threadId"), meta.get("threadNote")
    )
