"""Two nodes on one database, everybody at once: no deadlock, nothing lost, nothing skipped, nothing held twice.

``HAMMER_OPERATIONS`` does more than the default.
"""

import os
import random
from collections import Counter
from typing import Any

import psycopg
import trio

from support.check_store import on
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.core.wire import (
    AgentRegistration,
    ClaimRequest,
    ReadMark,
    ReceiptReport,
    SendRequest,
    SessionFields,
    StatusChange,
)
from trio_relay.errors import Conflict, NotFound
from trio_relay.relay.operations import agents, event_log, leases, messages, messages_read, receipts, upkeep
from trio_relay.relay.operations.tx import is_concurrent
from trio_relay.store import Store
from trio_relay.store.postgres import open_postgres

OPERATIONS = int(os.environ.get("HAMMER_OPERATIONS", "480"))
CALLERS = 16
AGENTS = tuple(f"agent-{number}" for number in range(6))


class Hammer:
    """What all of them share: who sent what, who holds what, who has seen what."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.sent: dict[str, list[int]] = {agent: [] for agent in AGENTS}
        self.work: list[int] = []
        self.keys: dict[str, int] = {}
        #: The tokens under which work was completed: one agent may ask twice for what it holds.
        self.done: dict[int, set[str]] = {}
        self.outcomes: Counter[str] = Counter()
        self.over = False

    async def call(self, store: Store, operation: Any, *args: Any) -> Any:
        return await store.write(on(operation, *args), alone=not is_concurrent(operation))

    async def send(self, store: Store) -> None:
        rng = self.rng
        everybody, claimable = rng.random() < 0.2, rng.random() < 0.2
        to = "broadcast" if everybody or claimable else rng.choice(AGENTS)
        answer = rng.choice(self.work) if self.work and rng.random() < 0.2 else None
        key = f"key-{rng.randrange(40)}" if rng.random() < 0.2 else None
        request = SendRequest(
            sender="ann" if key else rng.choice((*AGENTS, "ann")),
            to="broadcast" if key else to,
            body=key or "x",
            claimable=claimable and not key,
            reply_to=None if key else answer,
            idempotency_key=key,
            collapse_key="c" if rng.random() < 0.1 and not key else None,
        )
        if request.to == request.sender:
            return
        message, new = await self.call(store, messages.send, request)
        if key is not None:
            assert self.keys.setdefault(key, message.id) == message.id, "one key, two messages"
        if request.claimable:
            self.work.append(message.id)
        if new and not message.parked:
            for each in message.recipients:
                self.sent[each.agent_id].append(message.id)

    async def report(self, store: Store) -> None:
        agent = self.rng.choice(AGENTS)
        if self.sent[agent]:
            state = self.rng.choice((Rung.HANDED_OFF, Rung.IN_CONTEXT, Rung.SETTLED))
            request = ReceiptReport(agent_id=agent, state=state)
            await self.call(store, receipts.report, self.rng.choice(self.sent[agent]), request)

    async def mark_read(self, store: Store) -> None:
        agent = self.rng.choice(AGENTS)
        if self.sent[agent]:
            mark = ReadMark(read_by=agent)
            await self.call(store, messages.mark_read, self.rng.choice(self.sent[agent]), mark)

    async def claim(self, store: Store) -> None:
        if not self.work:
            return
        message, agent = self.rng.choice(self.work[-5:]), self.rng.choice(AGENTS)
        claimed = await self.call(store, leases.claim, message, ClaimRequest(agent_id=agent))
        request = ClaimRequest(agent_id=agent, lease_token=claimed.lease_token)
        verb = self.rng.choice((leases.renew, leases.release, leases.complete))
        await self.call(store, verb, message, request)
        if verb is leases.complete:
            self.done.setdefault(message, set()).add(claimed.lease_token)

    async def be_there(self, store: Store) -> None:
        agent = self.rng.choice(AGENTS)
        status = self.rng.choice((AgentStatus.IDLE, AgentStatus.BUSY))
        await self.call(store, agents.set_status, agent, StatusChange(status=status))
        await self.call(store, agents.heartbeat, agent, SessionFields())

    async def be_alone(self, store: Store) -> None:
        if self.rng.random() < 0.5:
            await self.call(store, agents.register, AgentRegistration(id=self.rng.choice(AGENTS), ready=True))
        else:
            await self.call(store, upkeep.expire_leases)

    async def strike(self, store: Store, times: int) -> None:
        """One caller: so many operations, one after another."""
        verbs = (self.send, self.send, self.send, self.report, self.mark_read, self.claim, self.be_there)
        for _ in range(times):
            verb = self.be_alone if self.rng.random() < 0.02 else self.rng.choice(verbs)
            try:
                await verb(store)
                self.outcomes[verb.__name__] += 1
            except (Conflict, NotFound) as refused:
                self.outcomes[refused.code] += 1

    async def follow_inbox(self, store: Store, agent: str, by: str, seen: set[int]) -> None:
        """Read what arrives from a cursor on, as a client does, until all is over and read."""
        cursor = 0
        while True:
            last = self.over
            where = {"after_seq": None, "since_id": None, by: cursor}
            page = await store.read(
                on(messages_read.inbox, agent, unread=False, state=None, limit=1000, **where), fresh=True
            )
            new = {message.id for message in page} - seen
            seen |= new
            if new:  # by message id, what arrived late and is unread comes every time
                cursor = max(cursor, page[-1].inbox_seq if by == "after_seq" else page[-1].id)
            elif last:
                return

    async def follow_events(self, store: Store, seen: list[int]) -> None:
        """Read the event log on and on."""
        place = 0
        while True:
            last = self.over
            page = await store.read(on(event_log.page, place), fresh=True)
            seen.extend(event.id for event in page.events)
            if last and not page.events:
                return
            place = page.end


async def test_everybody_at_once(room_url: str) -> None:
    hammer = Hammer(seed=1)
    by_seq: dict[str, set[int]] = {agent: set() for agent in AGENTS}
    by_id: dict[str, set[int]] = {agent: set() for agent in AGENTS}
    events: list[int] = []
    async with (
        open_postgres(room_url, run_sync=trio.to_thread.run_sync, connections=8) as one,
        open_postgres(room_url, run_sync=trio.to_thread.run_sync, connections=8) as other,
    ):
        for agent in AGENTS:
            await hammer.call(one, agents.register, AgentRegistration(id=agent, ready=True))
        async with trio.open_nursery() as following:
            following.start_soon(hammer.follow_events, other, events)
            for number, agent in enumerate(AGENTS):
                where, by, seen = ((one, "after_seq", by_seq), (other, "since_id", by_id))[number % 2]
                following.start_soon(hammer.follow_inbox, where, agent, by, seen[agent])
            async with trio.open_nursery() as striking:
                for number in range(CALLERS):
                    striking.start_soon(hammer.strike, (one, other)[number % 2], OPERATIONS // CALLERS)
            hammer.over = True
    with psycopg.connect(room_url) as connection:
        arrived: dict[str, set[int]] = {agent: set() for agent in AGENTS}
        for agent, message in connection.execute("SELECT agent_id, message_id FROM inbox").fetchall():
            arrived[agent].add(message)
        written = [row[0] for row in connection.execute("SELECT id FROM events ORDER BY id").fetchall()]
        (deadlocks,) = connection.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone() or (None,)
        passed_twice = connection.execute(
            "SELECT message_id, agent_id, state FROM receipts WHERE state IN ('in_context', 'answered', 'settled') "
            "GROUP BY 1, 2, 3 HAVING count(*) > 1"
        ).fetchall()
        too_often = connection.execute("SELECT 1 FROM inbox WHERE attempts > 5").fetchall()
    print(sum(hammer.outcomes.values()), dict(hammer.outcomes))
    assert deadlocks == 0
    assert events == written, "the event log was read with a gap or out of order"
    for number, agent in enumerate(AGENTS):
        assert set(hammer.sent[agent]) <= arrived[agent], "a message was lost"
        seen = by_seq if number % 2 == 0 else by_id
        assert seen[agent] == arrived[agent], "a cursor skipped something"
    assert all(len(tokens) == 1 for tokens in hammer.done.values()), "work was completed twice"
    assert (passed_twice, too_often) == ([], [])
    assert {"send", "claim", "report", "mark_read", "be_there"} <= hammer.outcomes.keys()
