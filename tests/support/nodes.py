"""Several relay processes on one PostgreSQL, and clients that go to another one when theirs does not answer."""

import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import httpx2
import trio

from support.commands import clean_environment
from support.ports import own_port
from support.sse import SeenEvent, parse
from trio_relay.client import RelayClient
from trio_relay.core.wire import InboxMessage
from trio_relay.errors import ConnectionLost
from trio_relay.relay.serve import serve_until
from trio_relay.settings import ServerSettings

P = ParamSpec("P")
T = TypeVar("T")
_PAUSE = 0.05
#: Seconds a poll waits.
LONGEST = 60.0
#: Seconds a client insists: more than any test has its nodes or its database down.
PATIENCE = 60.0
#: Codes of what passes by itself; a bug of the relay's (``internal_error``) is none.
_AWAY = {"connection_lost", "timeout", "unavailable", "outcome_unknown", "shutting_down"}


class NodeProcess:
    """One node in a process of its own, at the same URL whenever it is started."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        port = own_port()
        self.url = f"http://127.0.0.1:{port}"
        self._directory = directory
        self._environment = {**environment, "PORT": str(port)}
        self._process: trio.Process | None = None

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start it, and wait until it serves, or is killed meanwhile."""
        with self._log.open("ab") as log:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "trio_relay", "serve"],
                env=self._environment,
                cwd=self._directory,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self._process = process
        assert process.stdout is not None
        said = b""
        while self.url.encode() not in said:
            try:
                piece = await process.stdout.receive_some()
            except trio.ClosedResourceError:
                return
            if not piece and self._process is not process:
                return
            assert piece, f"the node ended: {self.log()}"
            said += piece

    async def hang(self, seconds: float) -> None:
        """Freeze it for a while; its connections stay open, and it goes on in the middle of whatever it did."""
        pid = self.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            await trio.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)

    async def kill(self) -> None:
        """SIGKILL."""
        await self._end(lambda process: process.kill())

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        return await self._end(lambda process: process.terminate())

    def log(self) -> str:
        return self._log.read_text()

    @property
    def _log(self) -> Path:
        return self._directory / "serve.log"

    async def _end(self, by: Callable[[trio.Process], None]) -> int:
        assert self._process is not None
        process, self._process = self._process, None
        by(process)
        with trio.CancelScope(shield=True):
            code = await process.wait()
            assert process.stdout is not None
            await process.stdout.aclose()
        return code


@asynccontextmanager
async def cluster(path: Path, url: str, count: int, **settings: str) -> AsyncIterator[list[NodeProcess]]:
    """Run `count` nodes on the database `url` while the block runs."""
    nodes = []
    for number in range(count):
        directory = path / f"node{number}"
        directory.mkdir()
        nodes.append(NodeProcess(directory, clean_environment(directory, DATABASE_URL=url, **settings)))
    async with running_nodes(nodes):
        yield nodes


@asynccontextmanager
async def running_nodes(nodes: Sequence[NodeProcess]) -> AsyncIterator[None]:
    """Start the nodes, all at once; stop those that run at the end of the block."""
    try:
        async with trio.open_nursery() as nursery:
            for node in nodes:
                nursery.start_soon(node.start)
        yield
    finally:
        for node in nodes:
            if node.running:
                await node.stop()


class Roaming:
    """A client that goes to another node when one is away. It insists: repeating what it calls must be safe."""

    def __init__(self, relays: Sequence[RelayClient], rng: random.Random) -> None:
        self._relays = relays
        self._rng = rng
        self._at = rng.randrange(len(relays))
        #: How often a node was away or could not, by the error's code.
        self.trouble: Counter[str] = Counter()

    async def call(
        self, what: Callable[Concatenate[RelayClient, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a method of the client on one node or another."""
        with trio.fail_after(PATIENCE):
            while True:
                try:
                    return await what(self._relays[self._at], *args, **kwargs)
                except ConnectionLost as error:
                    self.trouble[error.code] += 1
                    if error.code not in _AWAY:
                        raise
                self._at = (self._at + self._rng.randrange(1, len(self._relays))) % len(self._relays)
                await trio.sleep(_PAUSE)


@asynccontextmanager
async def roaming(nodes: Sequence[NodeProcess], rng: random.Random) -> AsyncIterator[Callable[[], Roaming]]:
    """Connections to all nodes, for as many clients as one likes. Who does not answer for 5 s is left."""
    async with AsyncExitStack() as stack:
        relays = [await stack.enter_async_context(RelayClient.open(node.url, timeout=5)) for node in nodes]
        yield lambda: Roaming(relays, rng)


async def metric(url: str, name: str) -> float:
    """The value of a metric without labels."""
    async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=30) as http:
        text = (await http.get("/metrics")).text
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    assert found is not None, f"no {name} in the metrics"
    return float(found[1])


@dataclass
class LocalNode:
    """A node in the test's own process, over real HTTP and a real PostgreSQL."""

    url: str
    relay: RelayClient
    process: trio.CancelScope

    def http(self, **options: Any) -> httpx2.AsyncClient:
        """A client for raw requests."""
        return httpx2.AsyncClient(base_url=self.url, trust_env=False, timeout=30, **options)


@asynccontextmanager
async def local_nodes(settings: ServerSettings, count: int = 2) -> AsyncIterator[list[LocalNode]]:
    """Run nodes in this process while the block runs; cancelling the scope `process` of one ends it at once."""
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:

        async def node(scope: trio.CancelScope, *, task_status: trio.TaskStatus[Sequence[str]]) -> None:
            with scope:
                await serve_until(settings, trio.Event(), task_status=task_status)

        nodes = []
        for _ in range(count):
            scope = trio.CancelScope()
            (url, *_) = await nursery.start(node, scope)
            relay = await stack.enter_async_context(RelayClient.open(url, settings.token, timeout=30))
            nodes.append(LocalNode(url, relay, scope))
        yield nodes
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def events(url: str, **query: str) -> AsyncIterator[trio.MemoryReceiveChannel[SeenEvent]]:
    """Follow the event stream of the node at `url`; what dispatches no event is left out."""
    into, out = trio.open_memory_channel[SeenEvent](1000)

    async def follow(*, task_status: trio.TaskStatus[None]) -> None:
        lines: list[str] = []
        async with (
            httpx2.AsyncClient(base_url=url, trust_env=False, timeout=30) as http,
            http.stream("GET", "/api/events", params=query) as response,
        ):
            assert response.status_code == 200
            task_status.started()
            async for line in response.aiter_lines():
                if line:
                    lines.append(line)
                    continue
                block = parse("\n".join(lines))
                lines.clear()
                if block.kind is not None:
                    await into.send(block)

    async with trio.open_nursery() as nursery:
        await nursery.start(follow)
        yield out
        nursery.cancel_scope.cancel()


class Waiting:
    """A long poll that is open."""

    def __init__(self, nursery: trio.Nursery, node: LocalNode, agent: str, after_seq: int = 0) -> None:
        self.found: list[InboxMessage] = []
        self.done = trio.Event()
        nursery.start_soon(self._wait, node, agent, after_seq)

    async def _wait(self, node: LocalNode, agent: str, after_seq: int) -> None:
        self.found = await node.relay.inbox(agent, wait=LONGEST, unread=False, after_seq=after_seq)
        self.done.set()


async def message_events(stream: trio.MemoryReceiveChannel[SeenEvent], count: int) -> list[str]:
    """The texts of the next so many messages that a stream tells."""
    bodies: list[str] = []
    async for event in stream:
        if event.kind == "message.new":
            bodies.append(event.data["body"])
            if len(bodies) == count:
                break
    return bodies


async def polls_hang(node: LocalNode, count: int) -> None:
    """Return once so many polls wait on the node."""
    async with node.http() as http:
        while f"trio_relay_open_polls {count}.0" not in (await http.get("/metrics")).text:
            await trio.sleep(0.01)
