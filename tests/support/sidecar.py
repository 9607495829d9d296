"""A stage for sidecars: a relay and a fake app-server in this process, and as many sidecars between them as a test wants.

Everything runs in virtual time. `Stage.sidecar` runs one for the time of a block and ends it as SIGTERM does;
`Running.kill` ends it as SIGKILL does: not a byte leaves it any more.
"""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio

from support.fake_app_server import FakeAppServer
from support.relay import EPOCH, CuttableTransport, Room
from trio_relay.client import RelayClient
from trio_relay.codex.app_server import open_app_server
from trio_relay.core.model import Rung
from trio_relay.core.wire import AgentRegistration, InboxMessage, SendRequest, SentMessage
from trio_relay.settings import AgentSettings, SidecarSettings
from trio_relay.sidecar.run import run_sidecar
from trio_relay.sidecar.state_file import State, StateFile
from trio_relay.sidecar.world import World


@dataclass
class Running:
    """A sidecar that runs, or has run."""

    transport: CuttableTransport
    state_path: Path
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    done: trio.Event = field(default_factory=trio.Event)
    exit_code: int | None = None

    @property
    def state(self) -> State:
        return StateFile.open(self.state_path, lambda: 0).state

    @property
    def agent_id(self) -> str:
        assert self.state.agent_id is not None
        return self.state.agent_id

    @property
    def thread_id(self) -> str:
        assert self.state.thread_id is not None
        return self.state.thread_id

    async def ready(self) -> None:
        """Wait until it says it is ready."""
        while not self.state.ready:
            await trio.sleep(0.01)


@dataclass
class Stage:
    """What a sidecar stands between."""

    room: Room
    fake: FakeAppServer
    directory: Path
    seeds: random.Random = field(default_factory=lambda: random.Random(1))

    @property
    def relay(self) -> RelayClient:
        return self.room.relay

    def world(self, transport: Any, state_path: Path, *, dial: Any = None) -> World:
        settings = self.room.settings
        dial = dial or self.fake.dial
        return World(
            host="laptop",
            cwd="/home/ann/shop",
            state_path=state_path,
            rng=random.Random(self.seeds.getrandbits(32)),
            now=lambda: EPOCH / 1000 + trio.current_time(),
            open_relay=partial(
                RelayClient.open, "http://127.0.0.1:4850", settings.token, transport=transport
            ),
            open_server=partial(open_app_server, self.fake.url, dial=dial),
            signals=False,
        )

    @asynccontextmanager
    async def sidecar(
        self, *, name: str = "one", agent: AgentSettings | None = None, ready: bool = True, **settings: Any
    ) -> AsyncIterator[Running]:
        """Run a sidecar for the time of the block; its state survives in the file called `name`."""
        transport = CuttableTransport(self.room.app)
        running = Running(transport, self.directory / f"{name}.json")
        world = self.world(transport, running.state_path)
        sidecar = SidecarSettings(**({"thread_mode": "auto"} | settings))

        async def run() -> None:
            with running.scope:
                running.exit_code = await run_sidecar(agent or AgentSettings(), sidecar, world)
            running.done.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            if ready:
                await running.ready()
            yield running
            running.scope.cancel()

    async def send(
        self, to: str, body: str = "hello", *, sender: str = "alice", **fields: Any
    ) -> SentMessage:
        """Send a message from somebody who is registered."""
        return await self.relay.send(SendRequest(sender=sender, to=to, body=body, **fields))

    async def join(self, name: str = "alice") -> None:
        """Register somebody who writes and reads by hand."""
        await self.relay.register(AgentRegistration(id=name))

    async def rung(self, message_id: int, agent_id: str) -> Rung:
        """Tell where the delivery of a message stands."""
        receipts = {receipt.agent_id: receipt for receipt in await self.relay.receipts(message_id)}
        return receipts[agent_id].state

    async def ladder(self, message_id: int, agent_id: str) -> list[str]:
        """List the rungs a delivery has reached, in order."""
        receipts = {receipt.agent_id: receipt for receipt in await self.relay.receipts(message_id)}
        return [str(step.state) for step in receipts[agent_id].steps]

    async def evidence(self, message_id: int, agent_id: str) -> dict[str, dict[str, Any]]:
        """Map each rung that was reached to its (last) evidence."""
        receipts = {receipt.agent_id: receipt for receipt in await self.relay.receipts(message_id)}
        return {str(step.state): step.evidence for step in receipts[agent_id].steps}

    async def until(self, message_id: int, agent_id: str, rung: Rung) -> None:
        """Wait until a delivery stands on a rung."""
        while await self.rung(message_id, agent_id) is not rung:
            await trio.sleep(0.05)

    async def replies(self, name: str = "alice") -> list[InboxMessage]:
        """Read what has come for somebody."""
        return await self.relay.inbox(name, unread=False, limit=1000)
