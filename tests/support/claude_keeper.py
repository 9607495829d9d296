"""A stage for the keepers of Claude Code sessions: a relay in this process, and a session that a test plays.

A `Played` session says what its hooks would say and reads what its monitor would print. Everything runs in virtual time.
"""

import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio

from support.relay import CuttableTransport, Room
from trio_relay.claude.status_file import status_path
from trio_relay.client import RelayClient
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.core.wire import Agent, AgentRegistration, SendRequest, SentMessage
from trio_relay.settings import AgentSettings, ClaudeSettings
from trio_relay.sidecar.claude.run import Exit, Keeper
from trio_relay.sidecar.claude.socket_server import Told
from trio_relay.sidecar.claude.world import World

#: Virtual seconds a test waits for something at most.
PATIENCE = 120.0
SESSION = "019a3c1e-7b6d-4c2a-9f00-0123456789ab"


@dataclass
class Printed:
    """An outlet that keeps what it is given, with the time, and can be closed."""

    name: str = "monitor"
    ready: bool = True
    batches: list[tuple[float, list[str]]] = field(default_factory=list)

    async def say(self, lines: Sequence[str]) -> bool:
        await trio.lowlevel.checkpoint()
        self.batches.append((trio.current_time(), list(lines)))
        return True

    @property
    def lines(self) -> list[str]:
        return [line for _, lines in self.batches for line in lines]


@dataclass
class Played:
    """A session of Claude Code, as its keeper knows it."""

    keeper: Keeper
    printed: Printed
    transport: CuttableTransport
    status_file: Path
    state_file: Path
    scope: trio.CancelScope
    ended: trio.Event = field(default_factory=trio.Event)
    code: Exit | None = None
    session_id: str = SESSION

    @property
    def agent_id(self) -> str:
        return self.keeper.sitting.me.agent_id

    async def hook(self, event: str, **said: Any) -> dict[str, Any]:
        """Say something as a hook: the ``hookSpecificOutput`` it is answered with, or nothing."""
        answer = await self.raw(
            event, json.dumps({"hook_event_name": event, "session_id": self.session_id, **said})
        )
        found: dict[str, Any] = json.loads(answer)["hookSpecificOutput"] if answer else {}
        return found

    async def raw(self, event: str, said: str) -> str:
        return (await self.keeper.sitting.hear(Told(event, said))).out

    async def start(self, source: str = "startup") -> str:
        """Begin a session: what it is told of itself."""
        return str((await self.hook("SessionStart", source=source))["additionalContext"])

    async def prompt(self, text: str = "do something") -> dict[str, Any]:
        return await self.hook("UserPromptSubmit", prompt=text)

    async def shown(self, *lines: str) -> dict[str, Any]:
        """Be shown a monitor's event."""
        return await self.prompt(
            "<task-notification>\n<event>" + "\n".join(lines) + "</event>\n</task-notification>"
        )

    async def fetch(self, message: SentMessage, *, shown: str | None = None) -> None:
        """Read a message by the command; `shown`: what the tool shows instead."""
        command = f"trio-relay read {message.id}"
        response = {"stdout": f"message {message.id}\n{message.body}" if shown is None else shown}
        await self.hook(
            "PostToolUse",
            tool_name="Bash",
            tool_input={"command": command},
            tool_response=response,
            tool_use_id="toolu_1",
        )

    async def stop(self) -> None:
        await self.hook("Stop")

    def says(self, status: str, now: float) -> None:
        """Write the status file."""
        self.status_file.parent.mkdir(parents=True, exist_ok=True)
        self.status_file.write_text(
            json.dumps({"sessionId": self.session_id, "status": status, "statusUpdatedAt": round(now)})
        )


@dataclass
class ClaudeStage:
    """A room, and sessions in it."""

    room: Room
    tmp_path: Path
    started: int = 0

    @property
    def relay(self) -> RelayClient:
        return self.room.relay

    async def join(self, name: str) -> None:
        own = AgentRegistration(id=name, status=AgentStatus.IDLE, ready=True)
        await self.relay.register(own)

    def now(self) -> float:
        """The relay's clock, Unix seconds."""
        return self.room.service.now() / 1000

    @asynccontextmanager
    async def session(
        self, *, session_id: str = SESSION, agent: AgentSettings | None = None, **claude: Any
    ) -> AsyncIterator[Played]:
        """A session, registered, to its end."""
        self.started += 1
        transport = CuttableTransport(self.room.app)
        world = World(
            host="lab",
            cwd="/home/ann/shop",
            claude_pid=4000,
            session_id=session_id,
            status_path=status_path(self.tmp_path / "claude", 4000),
            state_path=self.tmp_path / "state" / "4000.json",
            socket_path=self.tmp_path / "socket",
            rng=random.Random(self.started),
            now=self.now,
            open_relay=partial(RelayClient.open, self.relay.url, transport=transport),
            claude_ends=trio.sleep_forever,
            signals=False,
        )
        printed = Printed()
        settings = agent or AgentSettings()
        keeper = Keeper(settings, ClaudeSettings(**claude), world, outlet=printed)
        async with trio.open_nursery() as nursery:
            played = Played(
                keeper, printed, transport, world.status_path, world.state_path, trio.CancelScope()
            )
            played.session_id = session_id
            keeper.sitting.stop = played.scope.cancel

            async def live() -> None:
                with played.scope:
                    played.code = await keeper.live()
                played.ended.set()

            nursery.start_soon(live)
            try:
                yield played
            finally:
                played.scope.cancel()
                await played.ended.wait()
                nursery.cancel_scope.cancel()

    async def agent(self, played: Played, status: AgentStatus | None = None, *, ready: bool = True) -> Agent:
        """The session's agent, once it is what is asked for."""
        with trio.fail_after(PATIENCE):
            while True:
                for one in await self.relay.agents():
                    if one.id == played.agent_id and one.ready == ready and status in {None, one.status}:
                        return one
                await trio.sleep(0.05)

    async def send(self, to: str, body: str, **fields: Any) -> SentMessage:
        return await self.relay.send(SendRequest(sender="alice", to=to, body=body, **fields))

    async def rung(self, message: SentMessage, played: Played) -> Rung:
        found = {each.agent_id: each.state for each in await self.relay.receipts(message.id)}
        return found[played.agent_id]

    async def until(self, message: SentMessage, played: Played, rung: Rung) -> dict[str, Any]:
        """Wait for a rung: its evidence."""
        with trio.fail_after(PATIENCE):
            while True:
                for receipt in await self.relay.receipts(message.id):
                    for step in receipt.steps:
                        if receipt.agent_id == played.agent_id and step.state is rung:
                            return step.evidence
                await trio.sleep(0.05)
