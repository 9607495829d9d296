"""The system's simulated hour: one relay, six sidecars, their app-servers, and everything that can go wrong.

Everything runs in this process and in virtual time. Chance comes from one seed, trio's own shuffling of tasks
included, so a seed that fails fails again. `simulate` lives through the hour and answers what was found wrong.
"""

import logging
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import structlog
import trio
from trio.testing import MockClock

from support.fake_app_server import FakeAppServer, fake_app_server
from support.mock_model import Failure, ModelRequest, Reply, Text, shell
from support.relay import EPOCH
from support.sidecar import Killed, Mortal, MortalStream
from support.sim_audit import MAX_ATTEMPTS, Book, audit, digest, seen, unfinished
from support.sim_network import Network, NetworkTransport, SimRelay
from support.sim_traffic import People
from trio_relay.client import RelayClient
from trio_relay.codex.app_server import open_app_server
from trio_relay.core.model import Authority
from trio_relay.settings import AgentSettings, ServerSettings, SidecarSettings
from trio_relay.sidecar.run import Exit, run_sidecar
from trio_relay.sidecar.state_file import StateFile
from trio_relay.sidecar.world import World

#: The store's files live in memory where the system offers that: hundreds of syncs prove nothing here and take time.
_MEMORY = Path("/dev/shm")  # Linux's, made for this


@dataclass(frozen=True)
class Plan:
    """How much happens. Times in virtual seconds; `lives` are means: of a sidecar, an app-server, the relay. `commit`: the
    longest a commit takes.

    `messages` counts the occasions on which somebody writes; one in five is a burst.
    """

    seconds: float = 3600.0
    sidecars: int = 6
    messages: int = 45
    loss: float = 0.2
    sidecar_life: float = 600.0
    app_server_life: float = 900.0
    relay_life: float = 1200.0
    calm: float = 1800.0
    commit: float = 0.004


@dataclass
class Outcome:
    """What the hour came to. `wrong` is empty when every promise was kept; `digest` stands for the whole history."""

    seed: int
    wrong: list[str]
    counts: Counter[str]
    digest: str


def simulate(seed: int, plan: Plan | None = None) -> Outcome:
    """Live through one hour; the same seed gives the same one."""
    memory = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with _deterministic(seed), _quiet(), TemporaryDirectory(prefix=f"hour-{seed}-", dir=memory) as directory:
        hour = _Hour(seed, Path(directory), plan or Plan())
        outcome: Outcome = trio.run(hour.live, clock=MockClock(autojump_threshold=0))
        return outcome


def _deterministic(seed: int) -> AbstractContextManager[Any]:
    """Take from trio the one thing it leaves to chance: in which order tasks that are ready run."""
    return mock.patch.multiple(
        "trio._core._run", _r=random.Random(seed), _ALLOW_DETERMINISTIC_SCHEDULING=True
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Have no log written: an hour says a lot, and writing it would take as long as living it."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


@dataclass
class _Seat:
    """One agent: its app-server, and the sidecar that comes and goes."""

    name: str
    tags: tuple[str, ...]
    app_server: FakeAppServer
    state_path: Path
    rng: random.Random
    may_interrupt: tuple[Authority, ...] | None = None
    mortal: Mortal | None = None
    scope: trio.CancelScope | None = None
    lives: int = 0
    app_server_lives: int = 1

    @property
    def agent_id(self) -> str | None:
        return StateFile.open(self.state_path, lambda: 0).state.agent_id


class _Hour:
    def __init__(self, seed: int, directory: Path, plan: Plan) -> None:
        self.seed = seed
        self.directory = directory
        self.plan = plan
        self.seats: list[_Seat] = []
        self.over = trio.Event()
        # Heartbeats come a quarter as often as usual: an idle agent's take the most time and show the least.
        self.sidecar = SidecarSettings(thread_mode="auto", heartbeat_interval=120.0)
        self.relay = SimRelay(
            directory / "relay.db",
            ServerSettings(stale_ttl=480.0, max_attempts=MAX_ATTEMPTS, max_hops=2),
            now=lambda: EPOCH + round(trio.current_time() * 1000),
            disk_delay=partial(self.rng("disk").uniform, 0, plan.commit),
        )

    def rng(self, what: str) -> random.Random:
        """Chance of its own for each part, so that one part's appetite does not change another's luck."""
        return random.Random(f"{self.seed}/{what}")

    async def live(self) -> Outcome:
        async with trio.open_nursery() as self.world:
            await self.world.start(self.relay.live)
            self.network = Network(self.relay, self.world, self.rng("network"), self.plan.loss)
            people = People(self._agents, self._client, self.rng("people"))
            async with trio.open_nursery() as app_servers:
                for number in range(self.plan.sidecars):
                    await app_servers.start(self._app_server, number)
                left = await self._storm(people)
                app_servers.cancel_scope.cancel()
            self.world.cancel_scope.cancel()
        disks = {seat.agent_id or seat.name: seat.app_server.disk for seat in self.seats}
        book = Book(self.relay.path, disks, people.sent, self.relay.grants)
        counts = seen(book) + Counter(
            {
                "requests": self.relay.requests,
                "lost requests": self.network.lost,
                "processes of the relay": self.relay.processes,
                "processes of sidecars": sum(seat.lives for seat in self.seats),
                "processes of app-servers": sum(seat.app_server_lives for seat in self.seats),
            }
        )
        wrong = [f"not finished: {line}" for line in left] + audit(book)
        return Outcome(self.seed, wrong, counts, digest(book))

    # The hour

    async def _storm(self, people: People) -> list[str]:
        """An hour of weather and traffic, then calm until everything has come to its end."""
        async with trio.open_nursery() as sidecars:
            for seat in self.seats:
                sidecars.start_soon(self._sidecar_lives, seat)
            async with trio.open_nursery() as weather:
                weather.start_soon(self._relay_lives)
                for seat in self.seats:
                    weather.start_soon(self._app_server_lives, seat)
                await people.live(self.plan.messages, self.plan.seconds)
                weather.cancel_scope.cancel()
            self.network.loss = 0.0
            self.over.set()
            left = await self._calm(people)
            sidecars.cancel_scope.cancel()
        return left

    async def _calm(self, people: People) -> list[str]:
        """Wait until nothing is left to be done, for a bounded time; what is left."""
        if not self.relay.up:
            await self.world.start(self.relay.live)
        for seat in self.seats:
            if not seat.app_server.running or seat.app_server.memory.draining:
                await seat.app_server.kill()
                await seat.app_server.start()
        left: list[str] = []
        with trio.move_on_after(self.plan.calm):
            while True:
                await trio.sleep(20)
                await people.read()
                left = unfinished(self.relay.path)
                if not left:
                    await trio.sleep(60)  # whatever else somebody might do
                    await people.read()
                    left = unfinished(self.relay.path)
                    break
        return left

    async def _relay_lives(self) -> None:
        rng = self.rng("relay")
        while True:
            await trio.sleep(rng.expovariate(1 / self.plan.relay_life))
            with trio.CancelScope(shield=True):
                await self.relay.end(killed=rng.random() < 0.5)
            await trio.sleep(rng.uniform(0.5, 30))
            with trio.CancelScope(shield=True):
                await self.world.start(self.relay.live)

    # App-servers

    async def _app_server(self, number: int, *, task_status: trio.TaskStatus[None]) -> None:
        name = f"seat-{number}"
        tags = ("worker",) if number % 2 else ("worker", "reviewer")
        async with fake_app_server() as fake:
            fake.model.script = _Mind(self.rng(f"mind {name}"))
            seat = _Seat(name, tags, fake, self.directory / f"{name}.json", self.rng(name))
            seat.may_interrupt = None if number == 0 else tuple(Authority)
            self.seats.append(seat)
            task_status.started()
            await trio.sleep_forever()

    async def _app_server_lives(self, seat: _Seat) -> None:
        rng = self.rng(f"app-server {seat.name}")
        fake = seat.app_server
        while True:
            await trio.sleep(rng.expovariate(1 / self.plan.app_server_life))
            with trio.CancelScope(shield=True):
                if rng.random() < 0.3 and fake.running:
                    fake.drain()
                    await trio.sleep(rng.uniform(0, 30))
                await fake.kill()
            await trio.sleep(rng.uniform(0.1, 40))
            with trio.CancelScope(shield=True):
                await fake.start()
            seat.app_server_lives += 1

    # Sidecars

    async def _sidecar_lives(self, seat: _Seat) -> None:
        """One life of the sidecar after another; the last one is not disturbed."""
        while True:
            async with trio.open_nursery() as nursery:
                if not self.over.is_set():
                    nursery.start_soon(self._death, seat)
                await self._one_life(seat)
                nursery.cancel_scope.cancel()
            with trio.move_on_after(seat.rng.uniform(0.5, 60)):
                await self.over.wait()

    async def _one_life(self, seat: _Seat) -> None:
        seat.lives += 1
        mortal = seat.mortal = Mortal(10**12, seat.state_path)

        async def dial() -> trio.abc.Stream:
            return MortalStream(await seat.app_server.dial(), mortal)

        world = World(
            host="laptop",
            cwd="/home/ann/shop",
            state_path=seat.state_path,
            rng=random.Random(seat.rng.getrandbits(64)),
            now=lambda: EPOCH / 1000 + trio.current_time(),
            open_relay=partial(self._client, mortal),
            open_server=partial(open_app_server, seat.app_server.url, dial=dial),
            find_items=seat.app_server.find_items_later,
            signals=False,
        )
        code: int = Exit.STOPPED
        try:
            with trio.CancelScope() as seat.scope:
                code = await run_sidecar(
                    AgentSettings(tags=seat.tags, may_interrupt=seat.may_interrupt),
                    SidecarSettings(thread_mode="auto", heartbeat_interval=120.0),
                    world,
                )
        except* Killed:
            mortal.bury()
        if code == Exit.REFUSED:
            raise AssertionError(f"{seat.name} was refused by the relay")

    async def _death(self, seat: _Seat) -> None:
        """Kill a sidecar at some instant, or at one of its next steps, or stop it as one does."""
        rng = seat.rng
        await trio.sleep(rng.expovariate(1 / self.plan.sidecar_life))
        mortal = seat.mortal
        assert mortal is not None
        assert seat.scope is not None
        how = rng.random()
        if self.over.is_set():
            return
        if how < 0.2:
            seat.scope.cancel()
        elif how < 0.6:
            mortal.will = seat.state_path.read_bytes()
            mortal.at = mortal.steps
            seat.scope.cancel()
        else:
            mortal.at = mortal.steps + rng.randrange(1, 40)
        await trio.sleep_forever()

    # Who calls the relay

    @asynccontextmanager
    async def _client(self, mortal: Mortal | None = None) -> AsyncIterator[RelayClient]:
        transport = NetworkTransport(self.network, mortal)
        async with RelayClient.open("http://127.0.0.1:4850", transport=transport) as client:
            yield client

    def _agents(self) -> list[str]:
        return [agent for seat in self.seats if (agent := seat.agent_id) is not None]


class _Mind:
    """A model that thinks a while, works at times, fails at times, and often has nothing to say."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    async def __call__(self, request: ModelRequest) -> Reply:
        rng = self._rng
        await trio.sleep(rng.uniform(0.05, 4))
        fate = rng.random()
        if fate < 0.2:
            return shell(f"sleep {rng.choice([1, 10, 100])}")
        if fate < 0.24:
            return Failure()
        return Text("NO_REPLY" if fate < 0.7 else f"Said {request.number}.")
