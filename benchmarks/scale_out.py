"""What more relay nodes bring, and what each of them costs: SQLite, then 1, 2 and 3 nodes on one PostgreSQL, in one run.

1. Durable sends a second: as many as a number of connections get through, spread over the nodes, each waiting for its
   answer; and the processor time of nodes, database and load behind each send. The machine is shared by all of them,
   so the times say more about a larger one than the rate does.
2. Accepted on one node → the long poll on another answers, at a steady rate.

Rounds go turn about. ``python benchmarks/scale_out.py`` takes about three minutes. Figures for ``docs/performance.md``
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


async def send_without_pause(node: NodeProcess, number: int, until: float, done: list[int]) -> None:
    """One connection of a raw client, which costs little beside what it measures."""
    port = int(node.url.rpartition(":")[2])
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        buffer = b""
        for count in range(10**9):
            if trio.current_time() >= until:
                done.append(count)
                return
            body = json.dumps(
                {
                    "from": f"agent{number % AGENTS}",
                    "to": f"agent{(number + 1 + count % (AGENTS - 1)) % AGENTS}",
                    "body": "x" * 200,
                }
            ).encode()
            head = f"POST /api/messages HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            await stream.send_all(head.encode() + body)
            while b"\r\n\r\n" not in buffer:
                buffer += await stream.receive_some()
            answer, _, buffer = buffer.partition(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 201"), answer + buffer
            length = int(answer.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            while len(buffer) < length:
                buffer += await stream.receive_some()
            buffer = buffer[length:]


async def throughput(nodes: list[NodeProcess], server: PostgresServer | None, load: Load) -> dict[str, float]:
    """Sends a second, and the milliseconds of processor time behind each."""

    def used() -> dict[str, float]:
        return {
            "nodes": sum(processor_time(node.pid) for node in nodes),
            "database": 0.0 if server is None else family_time(server.pid),
            "load": time.process_time(),
        }

    done: list[int] = []
    before, began = used(), trio.current_time()
    async with trio.open_nursery() as nursery:
        for number in range(load.connections):
            node = nodes[number % len(nodes)]
            nursery.start_soon(send_without_pause, node, number, began + load.seconds, done)
    took, after = trio.current_time() - began, used()
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
    server: PostgresServer, name: str, load: Load, found: dict[str, dict[str, list[float]]]
) -> None:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
        async with setup(name, Path(directory), server) as (nodes, database):
            await throughput(nodes, database, Load(load.connections, 1.0, load.rate))  # warm up
            measured = await throughput(nodes, database, load)
            measured |= await latency(nodes, load)
    for what, value in measured.items():
        found.setdefault(name, {}).setdefault(what, []).append(value)


def medians(found: dict[str, dict[str, list[float]]]) -> Iterator[tuple[str, dict[str, float]]]:
    for name, measured in found.items():
        yield name, {what: round(statistics.median(values), 2) for what, values in measured.items()}


async def main(rounds: int, load: Load) -> dict[str, object]:
    found: dict[str, dict[str, list[float]]] = {}
    with private_server() as server:
        for number in range(rounds):
            for name in SETUPS:
                print(f"round {number + 1}: {name}", file=sys.stderr)
                await one_round(server, name, load, found)
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
    parser.add_argument("--rate", type=float, default=50.0)
    asked = parser.parse_args()
    print(
        json.dumps(trio.run(main, asked.rounds, Load(asked.connections, asked.seconds, asked.rate)), indent=2)
    )
