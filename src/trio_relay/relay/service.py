"""The relay's service: each method is one operation in one transaction, and wakes whom it concerns.

What the operations mean stands in ``operations/``; here they meet the store, the clock and the hub.
"""

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import trio

from trio_relay import __version__
from trio_relay.core.model import Rung
from trio_relay.core.wire import (
    Agent,
    AgentRegistration,
    ClaimedMessage,
    ClaimRequest,
    Cursor,
    InboxMessage,
    LabelChange,
    Message,
    ReadMark,
    ReadyChange,
    Receipt,
    ReceiptReport,
    SendRequest,
    SentMessage,
    SessionFields,
    Stats,
    StatusChange,
    TagsChange,
)
from trio_relay.relay.hub import Hub
from trio_relay.relay.operations import agents, leases, messages, messages_read, receipts, upkeep
from trio_relay.relay.operations.tx import Tx
from trio_relay.settings import ServerSettings
from trio_relay.store import SqliteStore

P = ParamSpec("P")
T = TypeVar("T")


class RelayService:
    """What the relay can do. `now` answers Unix milliseconds, `new_token` an unguessable string."""

    def __init__(
        self,
        store: SqliteStore,
        settings: ServerSettings,
        *,
        now: Callable[[], int],
        new_token: Callable[[], str],
        hub: Hub | None = None,
    ) -> None:
        self.store = store
        self.settings = settings
        self.hub = hub or Hub()
        self._now = now
        self._new_token = new_token
        self._started_at = now()

    # Agents

    async def register(self, request: AgentRegistration) -> tuple[Agent, bool]:
        """Register or re-register an agent; answer it and whether it is new."""
        return await self._write(agents.register, request)

    async def heartbeat(self, agent_id: str, session: SessionFields) -> Agent:
        """Note that an agent lives."""
        return await self._write(agents.heartbeat, agent_id, session)

    async def set_status(self, agent_id: str, change: StatusChange) -> Agent:
        """Note what an agent is doing."""
        return await self._write(agents.set_status, agent_id, change)

    async def set_ready(self, agent_id: str, change: ReadyChange) -> Agent:
        """Note whether an agent can take messages."""
        return await self._write(agents.set_ready, agent_id, change)

    async def set_label(self, agent_id: str, change: LabelChange) -> Agent:
        """Relabel an agent."""
        return await self._write(agents.set_label, agent_id, change)

    async def set_tags(self, agent_id: str, change: TagsChange) -> Agent:
        """Retag an agent."""
        return await self._write(agents.set_tags, agent_id, change)

    async def get_agent(self, agent_id: str) -> Agent:
        """One agent."""
        return await self._read(agents.get_agent, agent_id)

    async def list_agents(self, **filters: Any) -> list[Agent]:
        """Everyone who matches the filters."""
        return await self._read(agents.list_agents, **filters)

    async def remove_agent(self, agent_id: str) -> None:
        """Remove an agent."""
        await self._write(agents.remove_agent, agent_id)

    # Messages

    async def send(self, request: SendRequest) -> tuple[SentMessage, bool]:
        """Accept a message; answer it and whether it is new."""
        return await self._write(messages.send, request)

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
    ) -> list[InboxMessage]:
        """What stands in an inbox; with `wait`, answer the moment something does, or after so many seconds."""

        async def look() -> list[InboxMessage]:
            return await self._read(
                messages_read.inbox,
                agent_id,
                unread=unread,
                since_id=since_id,
                after_seq=after_seq,
                state=state,
                limit=limit,
            )

        if wait <= 0:
            return await look()
        deadline = trio.current_time() + wait
        while True:
            with self.hub.listening(agent_id) as bell:
                found = await look()
                if found or self.hub.closed:
                    return found
                with trio.move_on_at(deadline) as patience:
                    await bell.wait()
                if patience.cancelled_caught:
                    return found

    async def browse(self, **filters: Any) -> list[Message]:
        """History, newest first."""
        return await self._read(messages_read.browse, **filters)

    async def cursor(self) -> Cursor:
        """Where the room stands."""
        return await self._read(messages_read.cursor)

    async def get_message(self, message_id: int) -> Message:
        """One message."""
        return await self._read(messages_read.get_message, message_id)

    async def thread(self, message_id: int) -> list[Message]:
        """A message's whole reply chain."""
        return await self._read(messages_read.thread, message_id)

    async def mark_read(self, message_id: int, mark: ReadMark) -> Message:
        """Note that a recipient is done with a message."""
        return await self._write(messages.mark_read, message_id, mark)

    async def delete_message(self, message_id: int) -> None:
        """Remove a message from history."""
        await self._write(messages.delete, message_id)

    # Receipts and claims

    async def receipts(self, message_id: int) -> list[Receipt]:
        """The ladder of every recipient."""
        return await self._read(receipts.receipts, message_id)

    async def report(self, message_id: int, request: ReceiptReport) -> Receipt:
        """Note a rung that was seen."""
        return await self._write(receipts.report, message_id, request)

    async def claim(self, message_id: int, request: ClaimRequest) -> ClaimedMessage:
        """Claim a message."""
        return await self._write(leases.claim, message_id, request)

    async def renew(self, message_id: int, request: ClaimRequest) -> ClaimedMessage:
        """Keep a claim."""
        return await self._write(leases.renew, message_id, request)

    async def release(self, message_id: int, request: ClaimRequest) -> Message:
        """Give a claim back."""
        return await self._write(leases.release, message_id, request)

    async def complete(self, message_id: int, request: ClaimRequest) -> Message:
        """Finish the claimed work."""
        return await self._write(leases.complete, message_id, request)

    # The room itself

    async def stats(self) -> Stats:
        """Counts, version, uptime."""
        by_status, total, by_rung, parked = await self._read(upkeep.counts)
        return Stats(
            version=__version__,
            uptime_ms=self._now() - self._started_at,
            agents=by_status,
            messages=total,
            deliveries=by_rung,
            parked=parked,
        )

    async def keep_house(self) -> None:
        """One round of housekeeping, in small transactions."""
        offline_prune = round(self.settings.offline_prune * 1000)
        retention = self.settings.retention_days * 86_400_000
        rounds: list[Callable[[], Any]] = [
            lambda: self._write(upkeep.silence_stale),
            lambda: self._write(upkeep.expire_leases),
            lambda: self._write(upkeep.prune_offline, older_than=offline_prune),
            lambda: self._write(upkeep.forget_old_messages, older_than=retention),
        ]
        for each in rounds:
            while await each() == upkeep.BATCH:
                pass
        await self._write(upkeep.forget_idempotency_keys)

    async def expire_leases(self) -> None:
        """Open the leases that have run out, so that dead work is claimable again soon."""
        await self._write(upkeep.expire_leases)

    async def _write(
        self, operation: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        def run(connection: Any) -> tuple[T, set[str]]:
            tx = self._tx(connection)
            return operation(tx, *args, **kwargs), tx.wake

        result, _ = await self.store.write(run, after=lambda done: self.hub.ring(done[1]))
        return result

    async def _read(self, operation: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.store.read(lambda connection: operation(self._tx(connection), *args, **kwargs))

    def _tx(self, connection: Any) -> Tx:
        return Tx(
            connection,
            now=self._now(),
            new_token=self._new_token,
            stale_after=round(self.settings.stale_ttl * 1000),
            claim_ttl=round(self.settings.claim_ttl * 1000),
        )
