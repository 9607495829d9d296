"""A stage for sidecars: a relay and a fake app-server in this process, and as many sidecars between them as a test wants.

Everything runs in virtual time. `Stage.sidecar` runs one for the time of a block and ends it as SIGTERM does, or, with
`killed_at`, as SIGKILL does: from that step on not a byte leaves it.
"""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import trio

from support.fake_app_server import FakeAppServer
from support.fake_codex_thread import Said
from support.mock_model import Text, shell
from support.relay import EPOCH, CuttableTransport, Room
from trio_relay.client import RelayClient
from trio_relay.codex.app_server import open_app_server
from trio_relay.core.model import Rung
from trio_relay.core.wire import AgentRegistration, InboxMessage, SendRequest, SentMessage
from trio_relay.settings import AgentSettings, SidecarSettings
from trio_relay.sidecar.run import run_sidecar
from trio_relay.sidecar.state_file import State, StateFile
from trio_relay.sidecar.world import World


class Killed(BaseException):
    """The process has been killed: nothing of ours catches this."""


@dataclass
class Mortal:
    """A process that is killed at its `at`-th step; a step is a byte leaving it or reaching it.

    What its dying tasks still try to do reaches nobody, and what they write is undone.
    """

    at: int
    state_path: Path
    steps: int = 0
    will: bytes | None = None

    @property
    def dead(self) -> bool:
        return self.steps >= self.at

    async def step(self) -> None:
        await trio.lowlevel.checkpoint()
        if not self.dead:
            self.steps += 1
            if not self.dead:
                return
            self.will = self.state_path.read_bytes()
        raise Killed

    def bury(self) -> None:
        if self.will is not None:
            self.state_path.write_bytes(self.will)


class MortalTransport(CuttableTransport):
    """HTTP of a process that dies: before a request leaves, or after the relay has done it."""

    def __init__(self, app: Any, mortal: Mortal) -> None:
        super().__init__(app)
        self._mortal = mortal

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await self._mortal.step()
        response = await super().handle_async_request(request)
        await self._mortal.step()
        return response


class MortalStream(trio.abc.Stream):
    """The byte stream of a process that dies."""

    def __init__(self, inner: trio.abc.Stream, mortal: Mortal) -> None:
        self._inner = inner
        self._mortal = mortal

    async def send_all(self, data: Any) -> None:
        await self._mortal.step()
        await self._inner.send_all(data)
        await self._mortal.step()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._inner.receive_some(max_bytes)
        await self._mortal.step()
        return data

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self._inner)


@dataclass
class Running:
    """A sidecar that runs, or has run."""

    transport: CuttableTransport
    state_path: Path
    mortal: Mortal | None = None
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    done: trio.Event = field(default_factory=trio.Event)
    exit_code: int | None = None
    stream: trio.abc.Stream | None = None

    async def cut(self) -> None:
        """Break the connection to the app-server, which goes on."""
        assert self.stream is not None
        await trio.aclose_forcefully(self.stream)

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
        with trio.fail_after(60):
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

    def world(self, transport: Any, state_path: Path, *, dial: Any) -> World:
        settings = self.room.settings
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
            find_items=self.fake.find_items_later,
            signals=False,
        )

    @asynccontextmanager
    async def sidecar(
        self,
        *,
        name: str = "one",
        agent: AgentSettings | None = None,
        ready: bool = True,
        killed_at: int | None = None,
        **settings: Any,
    ) -> AsyncIterator[Running]:
        """Run a sidecar for the time of the block; its state survives in the file called `name`."""
        path = self.directory / f"{name}.json"
        mortal = None if killed_at is None else Mortal(killed_at, path)
        transport = (
            CuttableTransport(self.room.app) if mortal is None else MortalTransport(self.room.app, mortal)
        )
        running = Running(transport, path, mortal)

        async def dial() -> trio.abc.Stream:
            stream = running.stream = await self.fake.dial()
            return stream if mortal is None else MortalStream(stream, mortal)

        world = self.world(transport, path, dial=dial)
        sidecar = SidecarSettings(**({"thread_mode": "auto"} | settings))

        async def run() -> None:
            try:
                with running.scope:
                    running.exit_code = await run_sidecar(agent or AgentSettings(), sidecar, world)
            except* Killed:
                assert mortal is not None
                mortal.bury()
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
        """Wait until a delivery has reached a rung, an hour at most."""
        pause = 0.05
        with trio.fail_after(3600):
            while str(rung) not in await self.ladder(message_id, agent_id):
                await trio.sleep(pause)
                pause = min(pause * 1.5, 10)

    async def replies(self, name: str = "alice") -> list[InboxMessage]:
        """Read what has come for somebody."""
        return await self.relay.inbox(name, unread=False, limit=1000)


async def interrupted_and_said_again(stage: Stage, bob: Running) -> SentMessage:
    """Send a message into a turn of the person's, who interrupts it before the model has the message; it settles after."""
    stage.fake.model.script = [shell("sleep 1000"), Text("Done.")]
    thread = stage.fake.thread(bob.thread_id)
    thread.accept(stage.fake.memory.process, Said("the person's work", None))
    await trio.sleep(1)
    sent = await stage.send(bob.agent_id)
    await stage.until(sent.id, bob.agent_id, Rung.HANDED_OFF)
    assert thread.turn is not None
    thread.interrupt(thread.turn.id)
    await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
    return sent
