"""An agent's place in the room: registered, heard from, its inbox read. The tasks behind `AgentSession`.

A relay that is away is waited for. One that has forgotten the agent (restored, pruned) hears its registration again.
One that says a newer instance has taken over ends everything: the error passes through every task.
"""

import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
from anyio.abc import TaskStatus

from trio_relay.client.arrivals import Arrivals
from trio_relay.client.holding import Delays, bare_errors, insist
from trio_relay.client.http import RelayClient
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.core.wire import Agent, AgentRegistration, InboxMessage, SessionFields
from trio_relay.errors import NotFound, RelayError

log = logging.getLogger("trio_relay.client")

T = TypeVar("T")
#: Seconds between two heartbeats, and the longest a poll is held open.
HEARTBEAT = 20.0
WAIT = 25.0
#: Messages asked for at once.
PAGE = 200
#: Seconds that saying goodbye may take.
GOODBYE = 5.0


class Presence:
    """One registration of one agent, kept up by `keep`."""

    def __init__(self, relay: RelayClient, wanted: AgentRegistration, delays: Delays) -> None:
        self.relay = relay
        self.arrivals = Arrivals()
        self.session = SessionFields()
        self.status = wanted.status
        self._wanted = wanted
        self._delays = delays
        self._away = False
        #: Set when it cannot be kept up; `error` says why: replaced, or refused.
        self.over = anyio.Event()
        self.error: Exception | None = None

    @property
    def agent_id(self) -> str:
        """Who this is."""
        return self._wanted.id

    async def keep(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Task: be in the room until cancelled, or replaced by a newer instance.

        Raises:
            StaleInstance: replaced.

        """
        agent = await self.relay.register(self._wanted)
        self._took(agent)
        task_status.started()
        try:
            while True:
                forgotten = anyio.Event()
                with bare_errors():
                    async with anyio.create_task_group() as group:
                        group.start_soon(self._beat, forgotten)
                        group.start_soon(self._read)
                        await forgotten.wait()
                        group.cancel_scope.cancel()
                log.warning("the relay has forgotten %s: it registers again", self.agent_id)
                self.arrivals.forget()
                self._took(await self.insist(lambda: self.relay.register(self._wanted)))
        except Exception as error:
            self.error = error
            self.over.set()
            raise

    async def insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call until it gets through."""
        answer = await insist(call, self._delays, self._lost)
        self._back()
        return answer

    async def report(self, message_id: int, rung: Rung, **evidence: object) -> Rung:
        """Report a rung that was seen, until the relay has heard it; the rung the delivery is on then.

        Raises:
            Conflict: the message has lost its point meanwhile.

        """
        told = await self.insist(
            lambda: self.relay.report(message_id, self.agent_id, rung, evidence, session=self.session)
        )
        return told.state

    async def say(self, status: AgentStatus) -> None:
        """Say what the agent is doing, now and whenever it is taken for something else."""
        self.status = status
        await self.relay.set_status(self.agent_id, status, self.session)

    async def leave(self) -> None:
        """Say goodbye, so that nobody waits for us; briefly, and also when everything else is cancelled."""
        with anyio.move_on_after(GOODBYE, shield=True):
            try:
                await self.relay.set_status(self.agent_id, AgentStatus.OFFLINE, self.session)
            except RelayError as error:
                log.info("%s left without the relay hearing of it: %s", self.agent_id, error.detail)

    async def _beat(self, forgotten: anyio.Event) -> None:
        while True:
            await anyio.sleep(HEARTBEAT)
            try:
                heard = await self.insist(lambda: self.relay.heartbeat(self.agent_id, self.session))
                if heard.status is not self.status:  # silence had put it offline
                    await self.insist(lambda: self.say(self.status))
            except NotFound:
                forgotten.set()
                return

    async def _read(self) -> None:
        """Read everything that is open, also what a predecessor had in hand, then what arrives."""
        unread = await self._everything(None)
        # Only now: what climbs in between is seen in either.
        proven = await self._everything(Rung.IN_CONTEXT)
        for replied in await self._everything(Rung.ANSWERED):
            await self.report(replied.id, Rung.SETTLED, by="client", after="answered")
        self.arrivals.put(sorted([*proven, *unread], key=lambda message: message.inbox_seq))
        cursor = max((message.inbox_seq for message in unread), default=0)
        while True:
            asked_at = anyio.current_time()
            arrived = await self._page(cursor, None, wait=WAIT)
            if arrived:
                self.arrivals.put(arrived)
                cursor = arrived[-1].inbox_seq
            elif anyio.current_time() - asked_at < WAIT / 2:
                await anyio.sleep(1.0)  # a relay that is stopping answers at once

    async def _everything(self, state: Rung | None) -> list[InboxMessage]:
        found: list[InboxMessage] = []
        while True:
            page = await self._page(found[-1].inbox_seq if found else 0, state)
            found += page
            if len(page) < PAGE:
                return found

    async def _page(self, after: int, state: Rung | None, wait: float | None = None) -> list[InboxMessage]:
        return await self.insist(
            lambda: self.relay.inbox(
                self.agent_id, unread=state is None, state=state, after_seq=after, wait=wait, limit=PAGE
            )
        )

    def _took(self, agent: Agent) -> None:
        self.session = SessionFields(instance_id=agent.instance_id, epoch=agent.epoch)

    def _lost(self, reason: str) -> None:
        if not self._away:
            self._away = True
            log.warning("%s: %s; waiting for it", self.agent_id, reason)

    def _back(self) -> None:
        if self._away:
            self._away = False
            log.info("%s: the relay answers again", self.agent_id)


def new_instance() -> str:
    """A name for one run of an agent's program."""
    return uuid.uuid4().hex
