"""What more relay nodes bring, and what each of them costs: SQLite, then 1, 2 and 3 nodes on one PostgreSQL, in one run.

1. Durable sends a second: as many as a number of connections get through, spread over the nodes, each waiting for its
   answer; and the processor time of nodes, database and load behind each send. The machine is shared by all of them,
   so the times say more about a larger one than the rate does.
2. Accepted on one node → the long poll on another answers, at a steady rate.
3. What a thousand agents cost one node and the database while nothing happens: each waits in a long poll of 25 s, as
   sidecars do, and sends a heartbeat every 30 s.

Rounds go turn about. ``python benchmarks/scale_out.py`` takes about five minutes. Figures for ``docs/performance.md``
and ``docs/scaling.md``; nothing is asserted.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.commands import clean_environment
from support.nodes import NodeProcess, running_nodes
from support.postgres import PostgresServer, private_server
from trio_relay import __version__
from trio_relay.client import RelayClient
from trio_relay.core.wire import AgentRegistration, SendRequest

TICK = os.sysconf("SC_CLK_TCK")
SETUPS = {"SQLite": 0, "1 node": 1, "2 nodes": 2, "3 nodes": 3}
AGENTS = 32
IDLE = 1000


@dataclass(frozen=True)
class Load:
    """How much is asked."""

    connections: int
    seconds: float
    rate: float


def processor_time(pid: int) -> float:
    """Seconds a process and those of its children that have ended have used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICK


def family_time(pid: int) -> float:
    """Seconds a process and all its children have used."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return processor_time(pid) + sum(processor_time(int(child)) for child in children)


def percentiles(seconds: list[float]) -> dict[str, float]:
    """In milliseconds."""
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"p50": cuts[49] * 1000, "p95": cuts[94] * 1000, "p99": cuts[98] * 1000}


class RawClient:
    """One connection of a client that costs little beside what it measures."""

    def __init__(self, node: NodeProcess) -> None:
        self._port = int(node.url.rpartition(":")[2])
        self._stream: trio.SocketStream
        self._buffer = b""

    async def connect(self) -> None:
        self._stream = await trio.open_tcp_stream("127.0.0.1", self._port)

    async def ask(self, method: str, path: str, body: bytes = b"") -> None:
        """One request; the answer is read and forgotten."""
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        await self._stream.send_all(head.encode() + body)
        while b"\r\n\r\n" not in self._buffer:
            self._buffer += await self._stream.receive_some()
        answer, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 20"), answer + self._buffer
        length = int(answer.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        while len(self._buffer) < length:
            self._buffer += await self._stream.receive_some()
        self._buffer = self._buffer[length:]


async def send_without_pause(node: NodeProcess, number: int, until: float, done: list[int]) -> None:
    client = RawClient(node)
    await client.connect()
    count = 0
    while trio.current_time() < until:
        other = (number + 1 + count % (AGENTS - 1)) % AGENTS
        message = {"from": f"agent{number % AGENTS}", "to": f"agent{other}", "body": "x" * 200}
        await client.ask("POST", "/api/messages", json.dumps(message).encode())
        count += 1
    done.append(count)


def used(nodes: list[NodeProcess], server: PostgresServer | None) -> dict[str, float]:
    """Seconds of processor time that everybody has used."""
    return {
        "nodes": sum(processor_time(node.pid) for node in nodes),
        "database": 0.0 if server is None else family_time(server.pid),
        "load": time.process_time(),
    }


async def throughput(nodes: list[NodeProcess], server: PostgresServer | None, load: Load) -> dict[str, float]:
    """Sends a second, and the milliseconds of processor time behind each."""

    done: list[int] = []
    before, began = used(nodes, server), trio.current_time()
    async with trio.open_nursery() as nursery:
        for number in range(load.connections):
            node = nodes[number % len(nodes)]
            nursery.start_soon(send_without_pause, node, number, began + load.seconds, done)
    took, after = trio.current_time() - began, used(nodes, server)
    sends = sum(done)
    return {"sends/s": sends / took} | {
        f"{who}, ms a send": (after[who] - before[who]) * 1000 / sends for who in before
    }


async def latency(nodes: list[NodeProcess], load: Load) -> dict[str, float]:
    """From the answer to a send on the first node to that of the long poll on the last."""
    accepted: dict[str, float] = {}
    answered: dict[str, float] = {}
    async with RelayClient.open(nodes[0].url) as mouth, RelayClient.open(nodes[-1].url) as ear:

        async def listen(agent: str) -> None:
            seen = (await ear.cursor()).latest_seq
            while True:
                for message in await ear.inbox(agent, unread=False, after_seq=seen, wait=30):
                    seen = message.inbox_seq
                    answered[message.body] = trio.current_time()

        async def send(text: str, agent: str) -> None:
            await mouth.send(SendRequest(sender="agent9", to=agent, body=text))
            accepted[text] = trio.current_time()

        async with trio.open_nursery() as listeners:
            for number in range(8):
                listeners.start_soon(listen, f"agent{number}")
            await trio.sleep(0.5)
            began = trio.current_time()
            count = int(load.rate * load.seconds)
            async with trio.open_nursery() as senders:
                for number in range(count):
                    await trio.sleep_until(began + number / load.rate)
                    senders.start_soon(send, f"l{number}", f"agent{number % 8}")
            with trio.fail_after(30):
                while len(answered) < count:
                    await trio.sleep(0.01)
            listeners.cancel_scope.cancel()
    # The poll can be faster than the answer to the send.
    return percentiles([max(0.0, answered[text] - accepted[text]) for text in accepted])


async def idleness(nodes: list[NodeProcess], server: PostgresServer | None) -> dict[str, float]:
    """What agents cost that wait and nothing happens: a thousandth of a core, and memory of the first node, each."""

    async def wait(name: str) -> None:
        client = RawClient(nodes[0])
        await client.connect()
        while True:
            await client.ask("GET", f"/api/messages?for={name}&unread=true&wait=25")

    async def live(name: str, pause: float) -> None:
        client = RawClient(nodes[0])
        await client.connect()
        await trio.sleep(pause)
        while True:
            await client.ask("POST", f"/api/agents/{name}/heartbeat", b"{}")
            await trio.sleep(30)

    names = [f"idle{number}" for number in range(IDLE)]
    client = RawClient(nodes[0])
    await client.connect()
    for name in names:
        await client.ask("POST", "/api/agents", json.dumps({"id": name}).encode())
    memory = resident(nodes[0].pid)
    async with trio.open_nursery() as nursery:
        for number, name in enumerate(names):
            nursery.start_soon(wait, name)
            nursery.start_soon(live, name, 30 * number / IDLE)
            await trio.sleep(0.005)
        await trio.sleep(5)
        before, began = used(nodes, server), trio.current_time()
        await trio.sleep(30)
        after, took = used(nodes, server), trio.current_time() - began
        memory = resident(nodes[0].pid) - memory
        nursery.cancel_scope.cancel()
    return {
        f"{who}, % of a core for 1000 agents": (after[who] - before[who]) / took * 100 for who in before
    } | {"memory, KiB an agent": memory / IDLE / 1024}


def resident(pid: int) -> int:
    """Memory of a process, bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@asynccontextmanager
async def setup(
    name: str, directory: Path, server: PostgresServer
) -> AsyncIterator[tuple[list[NodeProcess], PostgresServer | None]]:
    """Start what is measured."""
    count = SETUPS[name]
    with server.database() if count else nullcontext("") as url:
        nodes = []
        for number in range(count or 1):
            home = directory / f"node{number}"
            home.mkdir()
            where = {"DATABASE_URL": url} if count else {"DB_PATH": str(home / "relay.db")}
            nodes.append(NodeProcess(home, clean_environment(home, **where)))
        async with running_nodes(nodes), RelayClient.open(nodes[0].url) as relay:
            for number in range(AGENTS):
                await relay.register(AgentRegistration(id=f"agent{number}"))
            yield nodes, server if count else None


async def one_round(
    server: PostgresServer, name: str, load: Load, found: dict[str, dict[str, list[float]]], *, idle: bool
) -> None:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
        async with setup(name, Path(directory), server) as (nodes, database):
            await throughput(nodes, database, Load(load.connections, 1.0, load.rate))  # warm up
            measured = await throughput(nodes, database, load)
            measured |= await latency(nodes, load)
            if idle and len(nodes) == 1:
                measured |= await idleness(nodes, database)
    for what, value in measured.items():
        found.setdefault(name, {}).setdefault(what, []).append(value)


def medians(found: dict[str, dict[str, list[float]]]) -> Iterator[tuple[str, dict[str, float]]]:
    for name, measured in found.items():
        yield name, {what: round(statistics.median(values), 2) for what, values in measured.items()}


async def main(rounds: int, load: Load, *, idle: bool) -> dict[str, object]:
    found: dict[str, dict[str, list[float]]] = {}
    with private_server() as server:
        for number in range(rounds):
            for name in SETUPS:
                print(f"round {number + 1}: {name}", file=sys.stderr)
                await one_round(server, name, load, found, idle=idle and number == 0)
    return {
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}, trio-relay {__version__}",
        "load": f"{load.connections} connections, {load.seconds} s; polls at {load.rate} messages/s; {rounds} rounds",
        "medians (ms where not said)": dict(medians(found)),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--no-idle", action="store_true", help="leave the third measurement out")
    parser.add_argument("--rate", type=float, default=50.0)
    asked = parser.parse_args()
    asked_load = Load(asked.connections, asked.seconds, asked.rate)
    print(json.dumps(trio.run(partial(main, asked.rounds, asked_load, idle=not asked.no_idle)), indent=2))
