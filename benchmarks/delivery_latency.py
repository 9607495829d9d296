"""How fast is a message where it is going? Two questions, each beside the reference's way in the same run.

1. ``POST`` accepted → the recipient's long poll answers, at a steady rate.
2. ``POST`` accepted → the user message stands in an idle thread of the real Codex: our sidecar, beside polling every
   2 s with 600 ms coalescing (the reference's defaults) against the same relay and the same kind of thread.

Run: ``python benchmarks/delivery_latency.py`` (about two minutes; needs the Codex that ``scripts/test`` installs).
Figures are for reading in ``docs/performance.md``; nothing is asserted.
"""

import argparse
import json
import os
import platform
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.codex_session import World, codex_world
from support.relay_process import relay_process
from trio_relay import __version__
from trio_relay.client import RelayClient
from trio_relay.codex.app_server import AppServer
from trio_relay.core.model import Rung
from trio_relay.core.wire import AgentRegistration, SendRequest

POLL_EVERY = 2.0
COALESCE = 0.6


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99 and the greatest, in milliseconds."""
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    found = {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98], "max": max(seconds)}
    return {name: round(value * 1000, 2) for name, value in found.items()} | {"n": len(seconds)}


async def long_poll(directory: Path, rate: float, seconds: float, agents: int) -> dict[str, dict[str, float]]:
    """Send `rate` messages a second, round robin to `agents` polling agents; when does each poll answer?"""
    posted: dict[str, float] = {}
    accepted: dict[str, float] = {}
    answered: dict[str, float] = {}
    count = round(rate * seconds)
    async with (
        relay_process(directory) as (_, url),
        RelayClient.open(url) as relay,
        RelayClient.open(url) as ears,
    ):

        async def listen(agent: str) -> None:
            cursor = 0
            while True:
                for message in await ears.inbox(agent, after_seq=cursor, wait=30):
                    cursor = max(cursor, message.inbox_seq)
                    answered[message.body] = trio.current_time()

        async def send(number: int) -> None:
            body = str(number)
            posted[body] = trio.current_time()
            await relay.send(SendRequest(sender="bench", to=f"agent-{number % agents}", body=body))
            accepted[body] = trio.current_time()

        for number in range(agents):
            await relay.register(AgentRegistration(id=f"agent-{number}", ready=True))
        async with trio.open_nursery() as listeners:
            for number in range(agents):
                listeners.start_soon(listen, f"agent-{number}")
            await trio.sleep(0.5)
            start = trio.current_time()
            async with trio.open_nursery() as senders:
                for number in range(count):
                    await trio.sleep_until(start + number / rate)
                    senders.start_soon(send, number)
            with trio.fail_after(10):
                while len(answered) < count:
                    await trio.sleep(0.01)
            listeners.cancel_scope.cancel()
    # A poll may answer before the sender has read its own 201: then nothing was waited for.
    return {
        "from the 201 to the poll's answer": percentiles(
            [max(0.0, answered[b] - accepted[b]) for b in posted]
        ),
        "from the POST to the poll's answer": percentiles([answered[b] - posted[b] for b in posted]),
        "the POST itself": percentiles([accepted[b] - posted[b] for b in posted]),
    }


async def ours(world: World, count: int, rng: random.Random) -> list[float]:
    """Messages to an idle thread through our sidecar: from acceptance to the receipt ``in_context``, by relay time."""
    found = []
    async with world.headless():
        agent = await world.agent()
        me = await world.person()
        for number in range(count):
            await trio.sleep(rng.uniform(0, 0.3))
            message = await world.send(me, agent.id, f"message {number}")
            receipt = await world.receipt(message)
            at = {step.state: step.at for step in receipt.steps}
            found.append((at[Rung.IN_CONTEXT] - at[Rung.ACCEPTED]) / 1000)
    return found


async def reference_way(world: World, server: AppServer, count: int, rng: random.Random) -> list[float]:
    """Messages to an idle thread by polling every 2 s and coalescing for 600 ms."""
    agent, found = "reference", list[float]()
    await world.relay.register(AgentRegistration(id=agent, ready=True))
    thread = await server.thread_start(cwd=str(world.project()))
    await server.inject(thread, "Begin.")
    await server.thread_resume(thread)
    sent: dict[str, float] = {}
    cursor = (await world.relay.cursor()).latest_id

    async def sidecar() -> None:
        nonlocal cursor
        while True:
            arrived = await world.relay.inbox(agent, since_id=cursor)
            if arrived:
                await trio.sleep(COALESCE)
                arrived = await world.relay.inbox(agent, since_id=cursor)
                cursor = max(message.id for message in arrived)
                text = "\n".join(message.body for message in arrived)
                await server.turn_start(
                    thread, text, "relay:" + ",".join(str(message.id) for message in arrived)
                )
            await trio.sleep(POLL_EVERY)

    async def watch() -> None:
        async for notification in server.notifications:
            item = notification.params.get("item", {})
            if notification.method == "item/started" and str(item.get("clientId", "")).startswith("relay:"):
                for message_id in item["clientId"].removeprefix("relay:").split(","):
                    found.append(trio.current_time() - sent[message_id])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sidecar)
        nursery.start_soon(watch)
        for number in range(count):
            await trio.sleep(rng.uniform(0, POLL_EVERY))
            message = await world.send("tester", agent, f"message {number}")
            sent[str(message.id)] = trio.current_time()
            with trio.fail_after(20):
                while len(found) <= number:
                    await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    return found


async def main(rate: float, seconds: float, messages: int, reference: int) -> dict[str, object]:
    rng = random.Random(20_261_121)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        polls = await long_poll(Path(one), rate, seconds, agents=10)
        async with codex_world(Path(other)) as world:
            mine = await ours(world, messages, rng)
        with tempfile.TemporaryDirectory() as third:
            async with codex_world(Path(third)) as world, world.headless():
                agent = await world.agent()
                async with world.app_server(agent) as server:
                    theirs = await reference_way(world, server, reference, rng)
    cuts = percentiles(mine), percentiles(theirs)
    return {
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}, trio-relay {__version__}",
        f"long poll at {rate:g} messages/s, ms": polls,
        "real Codex, our sidecar, ms": cuts[0],
        "real Codex, 2 s polling + 600 ms coalescing, ms": cuts[1],
        "how many times faster (p50, p95)": [round(cuts[1][p] / cuts[0][p], 1) for p in ("p50", "p95")],
    }


if __name__ == "__main__":
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rate", type=float, default=200.0, help="messages a second (default 200)")
    options.add_argument("--seconds", type=float, default=10.0, help="for how long (default 10)")
    options.add_argument(
        "--messages", type=int, default=100, help="messages through our sidecar (default 100)"
    )
    options.add_argument(
        "--reference", type=int, default=20, help="messages the reference's way (default 20)"
    )
    given = options.parse_args()
    print(json.dumps(trio.run(main, given.rate, given.seconds, given.messages, given.reference), indent=2))
