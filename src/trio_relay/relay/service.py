"""The relay's service: where operations meet the store, the clock and the hub.

What each operation means stands in ``operations/``, as a function of a transaction; ``write`` and ``read`` run one.
Here stands only what is more than one transaction: the long poll and the rounds of housekeeping.
"""

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import trio

from trio_relay import __version__
from trio_relay.core.access import FULL, Principal
from trio_relay.core.integrations import Integration
from trio_relay.core.loops import Limits
from trio_relay.core.model import Rung
from trio_relay.core.wire import (
    InboxMessage,
    Stats,
)
from trio_relay.core.wire_approvals import Approval, ApprovalState
from trio_relay.relay.credentials import Credentials, caller
from trio_relay.relay.events import EventFeed
from trio_relay.relay.hub import Hub
from trio_relay.relay.metrics import RelayMetrics
from trio_relay.relay.operations import (
    approvals,
    event_log,
    measure,
    messages_read,
    pairs,
    tasks,
    tokens,
    upkeep,
)
from trio_relay.relay.operations.approval_state import bell_of
from trio_relay.relay.operations.tx import Policy, Tx, is_concurrent, is_fresh
from trio_relay.relay.series import Series
from trio_relay.settings import ServerSettings
from trio_relay.store import Store

#: So many ms without a round of `expire`, which comes every second, and the relay was not awake.
PAUSE = 30_000

P = ParamSpec("P")
T = TypeVar("T")


class Peers(Protocol):
    """The processes that serve one store, as one of them sees it."""

    #: This process.
    name: str
    #: Whether what happens elsewhere is heard of at once.
    linked: bool
    #: Whether this process is the one that keeps house.
    leading: bool

    def tell(self, ids: Iterable[str]) -> None:
        """Have the others ring these bells, soon."""


class Alone:
    """Nobody else serves this store."""

    linked = True
    leading = True

    def __init__(self, name: str = "") -> None:
        self.name = name

    def tell(self, ids: Iterable[str]) -> None:
        """There is nobody to tell."""


class RelayService:
    """What the relay can do. `now` answers Unix milliseconds, `new_token` an unguessable string.

    `peers` are the other processes that serve the same store; who follows the events then looks for new ones after
    `look_every` seconds although no bell rang.
    """

    def __init__(
        self,
        store: Store,
        settings: ServerSettings,
        *,
        now: Callable[[], int],
        new_token: Callable[[], str],
        hub: Hub | None = None,
        peers: Peers | None = None,
        look_every: float = math.inf,
    ) -> None:
        self.store = store
        self.settings = settings
        self.hub = hub or Hub()
        self.peers = peers or Alone()
        self._now = now
        self._new_token = new_token
        self._started_at = now()
        self._awake_since = self._started_at
        self._last_expiry: int | None = None
        self.credentials = Credentials(settings.token, now)
        self.metrics = RelayMetrics(Series(now))
        self.events = EventFeed(
            self.hub,
            read_state=lambda: self.read(event_log.state),
            read_page=lambda after: self.read(event_log.page, after),
            on_end=self.metrics.stream_ended,
            look_every=look_every,
        )
        store.on_commit = self.metrics.committed
        #: Set, and replaced, when the integrations have changed.
        self.reconfigured = trio.Event()
        self._policy = Policy(
            stale_after=round(settings.stale_ttl * 1000),
            claim_ttl=round(settings.claim_ttl * 1000),
            max_attempts=settings.max_attempts,
            loops=Limits(hops=settings.max_hops, cycles=settings.max_cycles, rate=settings.thread_rate),
        )

    @property
    def engine(self) -> str:
        """What the store is: ``sqlite`` or ``postgresql``."""
        return "sqlite" if self.settings.database_url is None else "postgresql"

    def reconfigure(self, integrations: tuple[Integration, ...]) -> None:
        """From now on these are the integrations."""
        self.settings = replace(self.settings, integrations=integrations)
        self.reconfigured.set()
        self.reconfigured = trio.Event()

    def now(self) -> int:
        """Unix milliseconds, by the relay's clock."""
        return self._now()

    async def write(self, operation: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one of ``operations/`` in a durable transaction; after the commit, wake whom it concerns.

        Raises:
            Unavailable: the store cannot write now; nothing was changed.
            RelayError: what the operation refuses; nothing was changed.

        """
        principal = caller.get()  # here: the operation itself runs in the writer's context

        def run(connection: Any) -> tuple[T, Tx]:
            tx = self._tx(connection, principal)
            return operation(tx, *args, **kwargs), tx

        result, _ = await self.store.write(
            run, after=lambda done: self._committed(done[1]), alone=not is_concurrent(operation)
        )
        return result

    async def read(self, operation: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one of ``operations/`` that changes nothing."""
        principal = caller.get()
        return await self.store.read(
            lambda connection: operation(self._tx(connection, principal), *args, **kwargs),
            fresh=is_fresh(operation),
        )

    async def authenticate(self, secret: str | None) -> Principal:
        """Tell who is calling with this token.

        Raises:
            Unauthorized: a token is needed, or this one does not count.

        """
        known = self.credentials.recall(secret)
        if known is not None or secret is None:
            return known or FULL
        if self.credentials.is_open and not secret.startswith(tokens.TOKEN_PREFIX):
            return FULL  # an open relay has no shared token to compare with; older clients send theirs all the same
        return self.credentials.learn(secret, await self.read(tokens.principal_of, secret))

    async def inbox(
        self,
        agent_id: str,
        *,
        unread: bool = False,
        since_id: int | None = None,
        after_seq: int | None = None,
        state: Rung | None = None,
        limit: int = 100,
        wait: float = 0.0,
        watch: Sequence[int] = (),
    ) -> list[InboxMessage]:
        """What stands in an inbox; with `wait`, answer the moment something does, or after so many seconds.

        First in the answer come those of the messages in `watch` that have lost their point.
        """

        async def look() -> list[InboxMessage]:
            lost = await self.read(messages_read.pointless, agent_id, watch) if watch else []
            return lost + await self.read(
                messages_read.inbox,
                agent_id,
                unread=unread,
                since_id=since_id,
                after_seq=after_seq,
                state=state,
                limit=limit,
            )

        return await self._once(bool, look, agent_id, wait) if wait > 0 else await look()

    async def answer(self, approval_id: int, *, wait: float) -> Approval:
        """What was asked, the moment it is over or after so many seconds."""

        async def look() -> Approval:
            return await self.read(approvals.get_approval, approval_id)

        def is_over(approval: Approval) -> bool:
            return approval.state is not ApprovalState.PENDING

        return await self._once(is_over, look, bell_of(approval_id), wait)

    async def _once(
        self, done: Callable[[T], bool], look: Callable[[], Awaitable[T]], name: str, wait: float
    ) -> T:
        """Look until it is `done`, again whenever the bell of this name rings; after `wait` seconds, as it is."""
        deadline = trio.current_time() + wait
        while True:
            with self.hub.listening(name) as bell:
                self.metrics.series.polling(self.hub.waiting_for_messages)
                found = await look()
                if done(found) or self.hub.closed:
                    return found
                with trio.move_on_at(deadline) as patience:
                    await bell.wait()
                if patience.cancelled_caught:
                    return found

    # The room itself

    async def stats(self) -> Stats:
        """Counts, version, uptime."""
        by_status, total, by_rung, parked = await self.read(upkeep.counts)
        return Stats(
            version=__version__,
            uptime_ms=self._now() - self._started_at,
            agents=by_status,
            messages=total,
            deliveries=by_rung,
            parked=parked,
            store=self.engine,
            node=self.peers.name,
        )

    async def measure(self) -> bytes:
        """The metrics, in Prometheus' text format."""
        depths = await self.read(measure.depths)
        return self.metrics.render(
            depths,
            polls=self.hub.waiting_for_messages,
            streams=self.events.streams,
            linked=self.peers.linked,
            leading=self.peers.leading,
        )

    def begin_to_keep_house(self) -> None:
        """Another node has done so until now, or nobody: silence counts afresh."""
        self._awake_since = self._now()
        self._last_expiry = None

    async def keep_house(self) -> None:
        """One round of housekeeping, in small transactions."""
        self._notice_a_pause()
        offline_prune = round(self.settings.offline_prune * 1000)
        retention = self.settings.retention_days * 86_400_000
        rounds: list[Callable[[], Any]] = [
            lambda: self.write(upkeep.silence_stale, awake_since=self._awake_since),
            lambda: self.write(upkeep.expire_leases),
            lambda: self.write(upkeep.prune_offline, older_than=offline_prune),
            lambda: self.write(upkeep.forget_old_messages, older_than=retention),
            lambda: self.write(tasks.forget_ended, older_than=retention, limit=upkeep.BATCH),
        ]
        for each in rounds:
            while await each() == upkeep.BATCH:
                pass
        log_age, log_size = self.settings.event_log_hours * 3_600_000, self.settings.event_log_max
        while await self.write(event_log.trim, older_than=log_age, keep=log_size) == event_log.TRIM_BATCH:
            pass
        await self.write(upkeep.forget_idempotency_keys)
        await self.write(pairs.forget_over, older_than=retention)
        await self.write(approvals.forget_over, older_than=retention)
        await self.write(tokens.drop_dead)

    async def expire(self) -> None:
        """End what has run out: leases, so that dead work is claimable again soon, messages, invitations and questions."""
        self._notice_a_pause()
        while await self.write(upkeep.expire_all) == upkeep.BATCH:
            pass
        self._last_expiry = self._now()

    def _notice_a_pause(self) -> None:
        # A machine that slept, or a store that was away, was not there to hear the agents: silence counts afresh.
        if self._last_expiry is not None and self._now() - self._last_expiry > PAUSE:
            self._awake_since = self._now()

    def _committed(self, tx: Tx) -> None:
        self.hub.ring(tx.wake)
        self.peers.tell(tx.wake)
        self.metrics.add(tx.tally, tx.took)

    def _tx(self, connection: Any, principal: Principal) -> Tx:
        return Tx(
            connection,
            now=self._now(),
            new_token=self._new_token,
            policy=self._policy,
            principal=principal,
        )
