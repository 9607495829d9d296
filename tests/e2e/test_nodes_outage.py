"""PostgreSQL goes away for a while and comes back: nobody is told a lie, nothing is lost, every node recovers by itself.

A short outage is waited for; in a longer one requests are answered 503. ``NODES_OUTAGE=10`` is the long form of both.
"""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import trio

from support.nodes import NodeProcess, cluster, events, metric
from support.postgres import PostgresServer, private_server
from support.processes import until
from trio_relay.client import RelayClient
from trio_relay.core.wire import AgentRegistration, InboxMessage
from trio_relay.errors import ConnectionLost

#: How the server goes, and for how many seconds.
OUTAGES = [("stopped", 2.0), ("killed", 5.5)]
if "NODES_OUTAGE" in os.environ:
    OUTAGES = [(how, float(os.environ["NODES_OUTAGE"])) for how, _ in OUTAGES]
SENDERS = 6
#: Sends a sender makes before, and after, the outage.
BEFORE, AFTER = 10, 10


@dataclass
class Sender:
    """Sends one message after the other to its node, and again what was not accepted."""

    name: str
    node: NodeProcess
    accepted: dict[str, int] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    #: The longest that an answer took, seconds.
    longest: float = 0.0
    stop: bool = False

    async def run(self) -> None:
        async with httpx2.AsyncClient(base_url=self.node.url, trust_env=False, timeout=60) as http:
            while not self.stop:
                text = f"{self.name} {len(self.accepted)}"
                request = {"from": self.name, "to": "bob", "body": text, "idempotencyKey": text}
                began = trio.current_time()
                answer = await http.post("/api/messages", json=request)
                self.longest = max(self.longest, trio.current_time() - began)
                self.statuses[answer.status_code] += 1
                if answer.status_code in {
                    200,
                    201,
                }:  # 200: it had been done, although we were told it is not known
                    self.accepted[text] = answer.json()["id"]
                    continue
                assert answer.status_code == 503, answer.text
                assert int(answer.headers["Retry-After"]) >= 1
                assert answer.json()["code"] in {"unavailable", "outcome_unknown"}
                await trio.sleep(0.05)


async def read(relay: RelayClient, found: list[InboxMessage]) -> None:
    """Follow bob's inbox by its cursor, through everything."""
    while True:
        place = found[-1].inbox_seq if found else 0
        try:
            found += await relay.inbox("bob", unread=False, after_seq=place, wait=30, limit=500)
        except ConnectionLost as error:
            assert error.code == "unavailable"
            await trio.sleep(0.05)


async def readiness(node: NodeProcess) -> int:
    async with httpx2.AsyncClient(base_url=node.url, trust_env=False, timeout=60) as http:
        return (await http.get("/readyz")).status_code


async def is_not_ready(node: NodeProcess) -> None:
    while await readiness(node) != 503:
        await trio.sleep(0.05)


async def message_ids(node: NodeProcess, count: int) -> list[int]:
    """Every message the event log tells, from its beginning."""
    async with events(node.url, lastEventId="0", types="message.new") as stream:
        return [(await stream.receive()).data["id"] for _ in range(count)]


async def all_have(senders: list[Sender], count: int) -> None:
    await until(lambda: all(len(sender.accepted) >= count for sender in senders))


async def test_without_its_database_a_relay_says_so_and_goes_on_when_it_is_back(tmp_path: Path) -> None:
    with private_server() as server, server.database() as url, trio.fail_after(300):
        async with cluster(tmp_path, url, 2) as nodes, RelayClient.open(nodes[1].url, timeout=30) as relay:
            await relay.register(AgentRegistration(id="bob"))
            pids = [node.pid for node in nodes]
            senders = [Sender(f"sender{number}", nodes[number % 2]) for number in range(SENDERS)]
            found: list[InboxMessage] = []
            async with trio.open_nursery() as readers:
                readers.start_soon(read, relay, found)
                async with trio.open_nursery() as nursery:
                    for sender in senders:
                        nursery.start_soon(sender.run)
                    await all_have(senders, BEFORE)
                    for how, outage in OUTAGES:
                        await be_without_database(server, nodes, how, outage)
                        back = trio.current_time()
                        reached = max(len(sender.accepted) for sender in senders)
                        await all_have(senders, reached + AFTER)
                        recovered = trio.current_time() - back
                        print(
                            f"{how} for {outage} s: {AFTER} more sends a sender {recovered:.1f} s after the return"
                        )
                    for sender in senders:
                        sender.stop = True
                accepted = {text: id_ for sender in senders for text, id_ in sender.accepted.items()}
                await until(lambda: len(found) >= len(accepted))
                readers.cancel_scope.cancel()
            for node in nodes:
                assert await readiness(node) == 200
            assert [node.pid for node in nodes] == pids
            while [await metric(node.url, "trio_relay_leading") for node in nodes].count(1) != 1:
                await trio.sleep(0.05)
            told = await message_ids(nodes[0], len(accepted))
            logs = "".join(node.log() for node in nodes)
    statuses = sum((sender.statuses for sender in senders), Counter[int]())
    longest = max(sender.longest for sender in senders)
    print(f"{dict(statuses)}, the longest answer after {longest:.1f} s")
    assert statuses[503], "the longer outage is longer than anybody waits"
    assert {message.body: message.id for message in found} == accepted
    assert len(found) == len(accepted), "something arrived twice"
    assert sorted(told) == sorted(accepted.values())
    assert "Traceback" not in logs
    assert "unhandled" not in logs


async def be_without_database(
    server: PostgresServer, nodes: list[NodeProcess], how: str, outage: float
) -> None:
    gone = trio.current_time()
    if how == "stopped":
        server.stop()
    else:
        server.kill()
    async with trio.open_nursery() as nursery:
        for node in nodes:
            nursery.start_soon(is_not_ready, node)
    await trio.sleep_until(gone + outage)
    server.start()
