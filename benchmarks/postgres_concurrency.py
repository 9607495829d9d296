"""What it is worth that sends run beside others on PostgreSQL, and what a network in between costs.

The same sends through the same store: every one alone, as with SQLite's one writer; then beside others. Once over the
loopback, once through a proxy that holds every packet back for a millisecond each way. SQLite in the same run. Turn
about, so that other work on the machine hits all alike. Figures for ``docs/performance.md``; nothing is asserted.
"""

import itertools
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import trio

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.postgres import databases_for_tests
from trio_relay.core.wire import AgentRegistration, SendRequest
from trio_relay.relay.operations import agents, messages
from trio_relay.relay.operations.tx import Policy, Tx
from trio_relay.store import Store, open_store

CALLERS = 16
SENDS = 640
AGENTS = 50
ROUNDS = 3
DELAY = 0.001
_tokens = itertools.count()


def on(operation: Any, *args: Any) -> Any:
    """One of the relay's operations, as a function of a connection."""
    now = time.time_ns() // 1_000_000
    return lambda connection: operation(Tx(connection, now, lambda: f"t{next(_tokens)}", Policy()), *args)


async def sends_a_second(target: str, alone: bool) -> float:
    """Durable sends a second, each to one of many agents."""
    async with open_store(target) as store:
        for number in range(AGENTS):
            await store.write(on(agents.register, AgentRegistration(id=f"agent-{number}")))
        start = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for caller in range(CALLERS):
                nursery.start_soon(_send, store, caller, alone)
        return SENDS / (time.perf_counter() - start)


async def _send(store: Store, caller: int, alone: bool) -> None:
    for number in range(SENDS // CALLERS):
        to = f"agent-{(caller * 7 + number) % AGENTS}"
        request = SendRequest(sender=f"script-{caller}", to=to, body="x" * 200, idempotency_key=f"k{number}")
        await store.write(on(messages.send, request), alone=alone)


async def hold_back(host: str, port: int) -> None:
    """Listen, say where, and pass everything on a little later."""

    async def one_way(source: trio.SocketStream, sink: trio.SocketStream, nursery: trio.Nursery) -> None:
        send, receive = trio.open_memory_channel[tuple[float, bytes]](1000)
        nursery.start_soon(_pass_on, receive, sink)
        async with send:
            async for data in source:
                await send.send((trio.current_time() + DELAY, bytes(data)))

    async def both_ways(client: trio.SocketStream) -> None:
        async with await trio.open_tcp_stream(host, port) as server, client:
            client.setsockopt(6, 1, 1)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one_way, client, server, nursery)
                await one_way(server, client, nursery)
                nursery.cancel_scope.cancel()

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    print(listeners[0].socket.getsockname()[1], flush=True)
    await trio.serve_listeners(both_ways, listeners)


async def _pass_on(receive: trio.MemoryReceiveChannel[tuple[float, bytes]], sink: trio.SocketStream) -> None:
    async for due, data in receive:
        await trio.sleep_until(due)
        await sink.send_all(data)


@contextmanager
def slow_way(url: str) -> Iterator[str]:
    """The URL of the same server, further away."""
    parts = urlsplit(url)
    command = [sys.executable, __file__, "hold-back", str(parts.hostname), str(parts.port)]
    with Popen(command, stdout=PIPE, text=True) as proxy:
        assert proxy.stdout is not None
        try:
            yield urlunsplit(parts._replace(netloc=f"postgres@127.0.0.1:{proxy.stdout.readline().strip()}"))
        finally:
            proxy.terminate()


def main() -> dict[str, object]:
    found: dict[str, list[float]] = {}

    def measure(name: str, target: str, alone: bool) -> None:
        found.setdefault(name, []).append(trio.run(partial(sends_a_second, target, alone)))

    with databases_for_tests() as databases:
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
                measure("SQLite", str(Path(directory) / "relay.db"), True)
            for way, alone in itertools.product(("loopback", "1 ms away"), (True, False)):
                name = f"{way}, {'alone' if alone else 'beside others'}"
                with databases.database() as url:
                    if way == "loopback":
                        measure(name, url, alone)
                    else:
                        with slow_way(url) as further:
                            measure(name, further, alone)
    rates = {name: statistics.median(each) for name, each in found.items()}
    return {
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
        "durable sends/s, median of rounds": {name: round(rate) for name, rate in rates.items()},
        "beside others, times alone": {
            way: round(rates[f"{way}, beside others"] / rates[f"{way}, alone"], 2)
            for way in ("loopback", "1 ms away")
        },
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["hold-back"]:
        trio.run(hold_back, sys.argv[2], int(sys.argv[3]))
    else:
        print(json.dumps(main(), indent=2))
