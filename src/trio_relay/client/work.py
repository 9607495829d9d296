"""Work that exactly one agent does: claimed under a lease that is renewed while the body runs, and lapses after.

The lease is a cancel scope with a moving deadline: when it can no longer be kept the body is cancelled, before
anybody else can have the work.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio

from trio_relay.client import leases, tasks
from trio_relay.client.holding import held
from trio_relay.client.presence import GOODBYE, log
from trio_relay.client.received import Received
from trio_relay.core.tasks import TaskStatus
from trio_relay.core.wire import ClaimedMessage
from trio_relay.core.wire_rooms import Lease, LeaseChange, LeaseRequest
from trio_relay.core.wire_tasks import TaskStatusChange
from trio_relay.errors import Conflict, Invalid, LeaseLost, NotFound, RelayError, StaleInstance

if TYPE_CHECKING:
    from trio_relay.client.agent import AgentSession


#: How long a claim lasts without being renewed, seconds.
LEASE = 60.0


class Work(Received):
    """A claimed message. ``async with work:`` keeps the claim; the end of the block completes it, an error gives it back.

    When the claim is lost the block is cancelled, and `lost` says so; the work is then somebody else's.
    """

    wire: ClaimedMessage

    def __init__(self, agent: "AgentSession", claimed: ClaimedMessage, asked_at: float) -> None:
        super().__init__(agent, claimed)
        #: What the end of the block completes it with: any JSON.
        self.result: Any = None
        self.lost = False
        self._token = claimed.lease_token
        self._asked_at = asked_at
        self._over = False
        #: Renewing and finishing take turns: a renewal that comes behind the end would look like a lost claim.
        self._turn = anyio.Lock()
        self._holding = self._hold()

    @property
    def task_id(self) -> int | None:
        """The task it is, if an integration asked for it."""
        task_id = self.wire.meta.get("taskId")
        return task_id if self.wire.type == "task" and isinstance(task_id, int) else None

    async def complete(self, result: Any = None) -> None:
        """Say that it is done, with any JSON as its result.

        Raises:
            LeaseLost: it is somebody else's by now.

        """
        presence = self._agent.presence
        async with self._turn:
            await presence.insist(
                lambda: presence.relay.complete(
                    self.id, presence.agent_id, self._token, result, session=presence.session
                )
            )
            self._finished()

    async def release(self) -> None:
        """Give it back: it is offered again."""
        presence = self._agent.presence
        async with self._turn:
            await presence.insist(
                lambda: presence.relay.release(
                    self.id, presence.agent_id, self._token, session=presence.session
                )
            )
            self._finished(settled=False)

    async def fail(self, reason: Any = None) -> None:
        """Say that the task cannot be done; nobody is offered it again. Only for tasks."""
        async with self._turn:
            await self._change(TaskStatus.FAILED, result=reason)
            self._finished()

    async def progress(self, progress: Any, status: TaskStatus = TaskStatus.IN_PROGRESS) -> None:
        """Say how far the task is, with any JSON. Only for tasks."""
        await self._change(status, progress=progress)

    async def settle(self) -> None:
        """Complete it with its `result`, unless it is over."""
        if not self._over:
            await self.complete(self.result)

    async def __aenter__(self) -> Self:
        await self._holding.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._holding.__aexit__(kind, error, trace)

    @asynccontextmanager
    async def _hold(self) -> AsyncIterator[None]:
        gone = False
        self._agent.presence.arrivals.hold(self.id)
        left = max(0.0, self._asked_at + LEASE - anyio.current_time())
        try:
            async with held(self._renew, ttl=left) as lease:
                yield
                try:
                    await self.settle()
                except LeaseLost:
                    gone = True
            gone = gone or lease.lost
        finally:
            if not self._over:
                self.lost = gone
                await self._part()

    async def _part(self) -> None:
        """It is not finished: say that it is lost, or give it back."""
        if self.lost:
            log.warning("%s: the claim on message %d was lost", self._agent.id, self.id)
        else:
            await self._give_back()
        self._finished(settled=False)

    async def _give_back(self) -> None:
        with anyio.move_on_after(GOODBYE, shield=True):
            try:
                presence = self._agent.presence
                await presence.relay.release(
                    self.id, presence.agent_id, self._token, session=presence.session
                )
            except RelayError as refusal:
                log.info("%s: message %d was not given back: %s", self._agent.id, self.id, refusal.detail)

    async def _change(self, status: TaskStatus, **said: Any) -> None:
        if self.task_id is None:
            raise Invalid("this is a message and no task: only tasks have a status", code="not_a_task")
        presence, session, task_id = self._agent.presence, self._agent.presence.session, self.task_id
        change = TaskStatusChange(
            status=status,
            agent_id=presence.agent_id,
            lease_token=self._token,
            instance_id=session.instance_id,
            epoch=session.epoch,
            **said,
        )
        await presence.insist(lambda: tasks.set_status(presence.relay, task_id, change))

    async def _renew(self) -> float:
        presence = self._agent.presence
        async with self._turn:
            if self._over:
                return LEASE
            try:
                renewed = await presence.relay.renew(
                    self.id,
                    presence.agent_id,
                    self._token,
                    session=presence.session,
                    ttl_ms=round(LEASE * 1000),
                )
            except (Conflict, NotFound) as gone:
                raise LeaseLost(gone.detail) from gone
        self._token = renewed.lease_token
        return LEASE

    def _finished(self, *, settled: bool = True) -> None:
        self._over, self.settled = True, settled
        self._agent.presence.arrivals.done(self.id)


class Claimables:
    """The work there is for an agent, claimed one after another: an async iterator that does not end.

    What others were quicker to claim is passed by.
    """

    def __init__(self, agent: "AgentSession") -> None:
        self._agent = agent

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Work:
        presence = self._agent.presence
        while True:
            message_id = await presence.arrivals.offer()
            asked_at = anyio.current_time()
            try:
                claimed = await presence.insist(partial(self._claim, message_id))
            except StaleInstance:
                raise
            except (Conflict, NotFound):
                continue
            except BaseException:
                presence.arrivals.offer_again(message_id)
                raise
            else:
                return Work(self._agent, claimed, asked_at)

    async def _claim(self, message_id: int) -> ClaimedMessage:
        presence = self._agent.presence
        return await presence.relay.claim(
            message_id, presence.agent_id, session=presence.session, ttl_ms=round(LEASE * 1000)
        )


class HeldLease:
    """A named resource that is held. `lost` once it could not be kept; `epoch` only grows, from holder to holder."""

    def __init__(self, lease: Lease) -> None:
        self.key = lease.key
        self.epoch = lease.lease_epoch
        self.lost = False
        self.token = lease.lease_token or ""


@asynccontextmanager
async def hold_resource(agent: "AgentSession", key: str, ttl: float) -> AsyncIterator[HeldLease]:
    """Hold a named resource while the block runs; the block is cancelled if it cannot be kept."""
    presence = agent.presence
    session = presence.session
    asked_at = anyio.current_time()
    request = LeaseRequest(
        key=key,
        holder=agent.id,
        ttl_ms=round(ttl * 1000),
        instance_id=session.instance_id,
        epoch=session.epoch,
    )
    lease = HeldLease(await presence.insist(lambda: leases.acquire(presence.relay, request)))

    def change() -> LeaseChange:
        return LeaseChange(
            key=key,
            holder=agent.id,
            lease_token=lease.token,
            ttl_ms=round(ttl * 1000),
            instance_id=presence.session.instance_id,
            epoch=presence.session.epoch,
        )

    async def renew() -> float:
        try:
            await leases.renew(presence.relay, change())
        except (Conflict, NotFound) as gone:
            raise LeaseLost(gone.detail) from gone
        return ttl

    try:
        async with held(renew, ttl=max(0.0, asked_at + ttl - anyio.current_time())) as holding:
            yield lease
        lease.lost = holding.lost
    finally:
        if not lease.lost:
            with anyio.move_on_after(GOODBYE, shield=True), suppress(RelayError):
                await leases.release(presence.relay, change())
