"""A user's home with sessions of real programs in it and a relay nearby: what those of every vendor have in common.

What a test waits for it asks for again and again, within one ``trio.fail_after`` of its own; nothing waits for a time
to pass.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from support.processes import Process, processes_of, until
from support.tmux import Terminal, is_terminal_shell, terminal
from trio_relay.client.http import RelayClient
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.core.wire import (
    Agent,
    AgentRegistration,
    InboxMessage,
    Message,
    Receipt,
    SendRequest,
    SentMessage,
)

LOOK = 0.05
#: How long one call to the relay may take on a loaded machine, seconds.
PATIENCE = 60.0


@dataclass
class Home:
    """A home directory, the relay its sessions are at, and the environment programs run in."""

    home: Path
    relay: RelayClient
    relay_pid: int
    environment: dict[str, str]

    def project(self, name: str = "project") -> Path:
        """A directory of its own to work in."""
        path = self.home / name
        path.mkdir(exist_ok=True)
        return path

    @asynccontextmanager
    async def terminal(self, command: Sequence[str], *, project: str = "project") -> AsyncGenerator[Terminal]:
        """Run anything in a terminal. Its screens are kept in a directory of this test; so are logs of what still runs."""
        number = len(list(self.home.parent.glob("screens-*"))) + 1
        album = self.home.parent / f"screens-{number}"
        album.mkdir()
        cwd = self.project(project)
        async with terminal(command, env=self.environment, cwd=cwd, album=album) as opened:
            try:
                yield opened
            finally:
                self.keep_logs(album)

    def keep_logs(self, album: Path) -> None:
        """Copy logs that may go with their processes."""

    # Who is there

    async def agent(self, project: str = "project", *, other_than: str = "") -> Agent:
        """The ready agent of the session in `project`, once there is one."""
        while True:
            for agent in await self.relay.agents(ready=True):
                if agent.meta.get("cwd") == str(self.project(project)) and agent.id != other_than:
                    return agent
            await trio.sleep(LOOK)

    async def person(self, name: str = "tester") -> str:
        """Register somebody who writes and reads over HTTP."""
        await self.relay.register(AgentRegistration(id=name, name=name))
        return name

    async def status(self, agent: Agent, status: AgentStatus) -> Agent:
        """The agent once the relay gives it this status."""
        while True:
            found = await self.relay.agent(agent.id)
            if found.status is status:
                return found
            await trio.sleep(LOOK)

    # What was said

    async def send(self, sender: str, to: str, body: str) -> SentMessage:
        return await self.relay.send(SendRequest(sender=sender, to=to, body=body))

    async def answer_to(self, message: Message) -> InboxMessage:
        """The reply in the sender's inbox, once it is there."""
        while True:
            for arrived in await self.relay.inbox(message.sender, unread=False):
                if arrived.reply_to == message.id:
                    return arrived
            await trio.sleep(LOOK)

    async def receipt(self, message: Message, rung: Rung = Rung.SETTLED) -> Receipt:
        """The receipt of a message with one recipient, once it stands on `rung`."""
        while True:
            (receipt,) = await self.relay.receipts(message.id)
            if receipt.state is rung:
                return receipt
            await trio.sleep(LOOK)

    # Processes

    def processes(self, accept: Callable[[Process], bool] = lambda _: True) -> list[Process]:
        """What runs for this home, apart from the relay and the terminal's shell."""
        own = processes_of(self.home)
        return [
            one for one in own if one.pid != self.relay_pid and not is_terminal_shell(one) and accept(one)
        ]

    async def nothing_left(self) -> None:
        await until(lambda: not self.processes())
