"""Three relay processes on one PostgreSQL, killed and started again, or frozen for a while, at random, under load.

Ten scripts send, ten agents read, ten race for work, all spread over the nodes; who holds work sometimes drops it. In
the end everything accepted has arrived once and in order, no two leases on one thing were ever valid at once, and no
work is left lying. ``NODES_SECONDS=60`` is the long form; ``NODES_SEED`` repeats a run.
"""

import os
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import trio

from support.nodes import NodeProcess, Roaming, cluster, roaming
from support.postgres import private_server
from support.processes import until
from trio_relay.client import RelayClient
from trio_relay.core.wire import AgentRegistration, ClaimedMessage, InboxMessage, SendRequest, SentMessage
from trio_relay.errors import Conflict, LeaseLost

SECONDS = float(os.environ.get("NODES_SECONDS", "6"))
STRICT = "NODES_SECONDS" in os.environ
SENDERS, READERS, WORKERS = 10, 10, 10
LEASE_MS = 2000
#: Seconds a node hangs, at most; in the long form longer than the database bears with it.
HANGS = 12.0 if STRICT else 3.0
#: Work that may be open at once: the end is about what is stuck, not about what is waiting in a queue.
OPEN_WORK = 20


@dataclass
class Record:
    """What the clients saw."""

    #: Text → what was sent, of everything that was answered 2xx.
    sent: dict[str, SentMessage] = field(default_factory=dict)
    #: Reader → texts in the order of arrival.
    arrived: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    work: dict[str, SentMessage] = field(default_factory=dict)
    claims: defaultdict[int, list[ClaimedMessage]] = field(default_factory=lambda: defaultdict(list))
    completed: dict[int, int] = field(default_factory=dict)
    stopping: trio.Event = field(default_factory=trio.Event)
    kills: int = 0
    hangs: int = 0

    def settled(self) -> bool:
        """Whether all work is done and everything sent has arrived."""
        done = len(self.completed) >= len(self.work)
        return done and sum(map(len, self.arrived.values())) >= len(self.sent)


async def send(client: Roaming, record: Record, name: str, rng: random.Random) -> None:
    number = 0
    while not record.stopping.is_set():
        text = f"{name} {number}"
        recipient = f"reader{rng.randrange(READERS)}"
        request = SendRequest(sender=name, to=recipient, body=text, idempotency_key=text)
        record.sent[text] = await client.call(RelayClient.send, request)
        number += 1
        if number % 3 == 0 and len(record.work) - len(record.completed) < OPEN_WORK:
            work = SendRequest(
                sender=name, to="tag:worker", body=text, claimable=True, idempotency_key=f"work {text}"
            )
            record.work[text] = await client.call(RelayClient.send, work)
        await trio.sleep(rng.random() * 0.02)


async def read(client: Roaming, record: Record, name: str) -> None:
    """Follow the inbox by its cursor, never looking back, until cancelled."""
    after: int | None = None
    while True:
        page: list[InboxMessage] = await client.call(
            RelayClient.inbox, name, unread=False, after_seq=after, wait=5
        )
        for message in page:
            record.arrived[name].append(message.body)
            after = message.inbox_seq


async def labour(client: Roaming, record: Record, name: str, rng: random.Random) -> None:
    while True:
        found = await client.call(RelayClient.inbox, name, wait=2, limit=8)
        if not found:
            continue
        message = rng.choice(found)
        try:
            claimed = await client.call(RelayClient.claim, message.id, name, ttl_ms=LEASE_MS)
        except Conflict:
            continue
        record.claims[message.id].append(claimed)
        if rng.random() < 0.1:
            continue  # it dies here, as far as anybody can tell
        await trio.sleep(rng.random() * 0.1)
        try:
            await client.call(RelayClient.complete, message.id, name, claimed.lease_token)
        except LeaseLost:
            continue  # the node was away for longer than the lease
        assert message.id not in record.completed, "done twice"
        record.completed[message.id] = claimed.lease_epoch


async def torment(nodes: list[NodeProcess], record: Record, rng: random.Random) -> None:
    """Kill one after another, sometimes the next before the last is back, never all; let one hang now and then."""
    hanging: set[NodeProcess] = set()

    async def hang(node: NodeProcess) -> None:
        await node.hang(rng.uniform(1, HANGS))
        hanging.discard(node)

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(SECONDS):
            while True:
                await trio.sleep(rng.uniform(0.3, 1.5))
                up = [node for node in nodes if node.running and node not in hanging]
                if len(up) < 2:
                    continue
                victim = rng.choice(up)
                if rng.random() < 0.15:
                    hanging.add(victim)
                    record.hangs += 1
                    nursery.start_soon(hang, victim)
                else:
                    await victim.kill()
                    record.kills += 1
                    nursery.start_soon(victim.start)
    # All are up again.


async def test_nodes_that_are_killed_lose_nothing_and_lease_nothing_twice(tmp_path: Path) -> None:
    seed = int(os.environ.get("NODES_SEED", random.randrange(2**32)))
    print(f"seed {seed}")
    rng = random.Random(seed)
    record = Record()
    settings = {"AGENT_RELAY_MAX_ATTEMPTS": "1000", "AGENT_RELAY_CLAIM_TTL_MS": str(LEASE_MS)}
    with private_server() as server, server.database() as url, trio.fail_after(SECONDS * 3 + 120):
        async with cluster(tmp_path, url, 3, **settings) as nodes, roaming(nodes, rng) as new_client:
            async with RelayClient.open(nodes[0].url) as relay:
                for number in range(READERS):
                    await relay.register(AgentRegistration(id=f"reader{number}"))
                for number in range(WORKERS):
                    await relay.register(AgentRegistration(id=f"worker{number}", tags=["worker"], ready=True))
            clients = [new_client() for _ in range(SENDERS + READERS + WORKERS)]
            async with trio.open_nursery() as audience:
                for number in range(READERS):
                    audience.start_soon(read, clients[number], record, f"reader{number}")
                for number in range(WORKERS):
                    audience.start_soon(
                        labour,
                        clients[READERS + number],
                        record,
                        f"worker{number}",
                        random.Random(rng.random()),
                    )
                async with trio.open_nursery() as senders:
                    for number in range(SENDERS):
                        senders.start_soon(
                            send,
                            clients[READERS + WORKERS + number],
                            record,
                            f"sender{number}",
                            random.Random(rng.random()),
                        )
                    await torment(nodes, record, rng)
                    record.stopping.set()
                # Everything is sent and every node is up: what is left must not take longer than a lease and 5 s.
                began = trio.current_time()
                bound = LEASE_MS / 1000 + 5 if STRICT else 60
                with trio.move_on_after(bound):
                    await until(record.settled)
                took = trio.current_time() - began
                audience.cancel_scope.cancel()
            logs = "".join(node.log() for node in nodes)
        assert "panic" not in server.log().lower()
        assert "deadlock detected" not in server.log()
    trouble = sum((client.trouble for client in clients), Counter[str]())
    retaken = sum(len(claims) > 1 for claims in record.claims.values())
    print(
        f"{record.kills} kills, {record.hangs} hung, {len(record.sent)} sent, {len(record.work)} pieces of work, {retaken} taken over from "
        f"somebody who dropped it, the last of it done {took:.1f} s after the end; {dict(trouble)}"
    )
    assert "Traceback" not in logs
    assert "unhandled" not in logs
    assert record.kills >= SECONDS / 5
    assert trouble["connection_lost"], "no kill hit a request"
    check_arrivals(record)
    check_leases(record)
    assert {message.id for message in record.work.values()} == set(record.completed), "work is stuck"


def check_arrivals(record: Record) -> None:
    """Everything that was accepted arrived once, where it was sent to, and each sender's in order."""
    arrived = Counter(text for texts in record.arrived.values() for text in texts)
    assert arrived == Counter(record.sent.keys())
    assert len({message.id for message in record.sent.values()}) == len(record.sent)
    for name, texts in record.arrived.items():
        assert all(record.sent[text].to == name for text in texts)
        last: dict[str, int] = {}
        for sender, number in (text.split() for text in texts):
            assert int(number) > last.get(sender, -1), f"{sender} {number} came late to {name}"
            last[sender] = int(number)


def check_leases(record: Record) -> None:
    """No lease was granted while another one on the same work was valid, or after it was done."""
    for message_id, claims in record.claims.items():
        # Who asks again gets its own lease back, under the same number and longer.
        leases = {claim.lease_epoch: claim for claim in claims}
        for before, after in pairwise(leases[number] for number in sorted(leases)):
            assert before.claim_expires_at is not None
            assert after.claimed_at is not None
            assert after.claimed_at >= before.claim_expires_at, f"two leases on {message_id}"
        if message_id in record.completed:
            assert record.completed[message_id] == max(leases), f"{message_id} was done by an old lease"
