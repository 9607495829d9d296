"""Everything real but the model: a relay, `codex-relay`, its app-server and sidecar, each in a process of its own.

``async with codex_world(tmp_path) as world:`` is a user's home with a relay running and a Codex that knows only the mock
model. ``world.headless()`` and ``world.tui()`` start `codex-relay` there. What a test waits for it asks for again and
again, within one ``trio.fail_after`` of its own; nothing waits for a time to pass.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from support.codex import codex_program
from support.mock_api import UNDERSTOOD
from support.mock_model import MockModel, Script, codex_home, mock_model
from support.processes import Process, processes_of, until
from support.tmux import Terminal, terminal
from trio_relay.client.http import RelayClient
from trio_relay.codex.app_server import AppServer, open_app_server
from trio_relay.core.model import Rung
from trio_relay.core.wire import (
    Agent,
    AgentRegistration,
    InboxMessage,
    Message,
    Receipt,
    SendRequest,
    SentMessage,
)

CODEX_RELAY = (sys.executable, "-c", "from trio_relay.cli.codex import main; main()")
_LOOK = 0.05
_URL = re.compile(rb"http://127\.0\.0\.1:\d+")


@dataclass
class World:
    """A home with a relay, a mock model and room for sessions."""

    home: Path
    model: MockModel
    relay: RelayClient
    relay_pid: int
    environment: dict[str, str]

    def project(self, name: str = "project") -> Path:
        """A directory of its own to work in."""
        path = self.home / name
        path.mkdir(exist_ok=True)
        return path

    @asynccontextmanager
    async def headless(self, project: str = "project", *options: str) -> AsyncGenerator[trio.Process]:
        """Run ``codex-relay --headless``; ended with SIGTERM if it still runs at the end."""
        process = await trio.lowlevel.open_process(
            [*CODEX_RELAY, "--headless", *options],
            stdin=subprocess.DEVNULL,
            env=self.environment,
            cwd=self.project(project),
        )
        try:
            yield process
        finally:
            with trio.CancelScope(shield=True):
                process.terminate()
                await process.wait()

    def tui(self, *options: str, project: str = "project") -> AbstractAsyncContextManager[Terminal]:
        """Run ``codex-relay`` in a terminal."""
        return self.terminal([*CODEX_RELAY, *options], project=project)

    @asynccontextmanager
    async def terminal(self, command: Sequence[str], *, project: str = "project") -> AsyncGenerator[Terminal]:
        """Run anything in a terminal. Its screens are kept in a directory of this test; so are the logs of what still runs."""
        number = len(list(self.home.parent.glob("screens-*"))) + 1
        album = self.home.parent / f"screens-{number}"
        album.mkdir()
        cwd = self.project(project)
        async with terminal(command, env=self.environment, cwd=cwd, album=album) as opened:
            try:
                yield opened
            finally:
                for run in self.run_directories():
                    for log in run.glob("*.log"):
                        shutil.copy(log, album)

    # Who is there

    async def agent(self, project: str = "project", *, other_than: str = "") -> Agent:
        """The ready agent of the session in `project`, once there is one."""
        while True:
            for agent in await self.relay.agents(ready=True):
                if agent.meta.get("cwd") == str(self.project(project)) and agent.id != other_than:
                    return agent
            await trio.sleep(_LOOK)

    async def person(self, name: str = "tester") -> str:
        """Register somebody who writes and reads over HTTP."""
        await self.relay.register(AgentRegistration(id=name, name=name))
        return name

    # What was said

    async def send(self, sender: str, to: str, body: str) -> SentMessage:
        return await self.relay.send(SendRequest(sender=sender, to=to, body=body))

    async def answer_to(self, message: Message) -> InboxMessage:
        """The reply in the sender's inbox, once it is there."""
        while True:
            for arrived in await self.relay.inbox(message.sender, unread=False):
                if arrived.reply_to == message.id:
                    return arrived
            await trio.sleep(_LOOK)

    async def receipt(self, message: Message, rung: Rung = Rung.SETTLED) -> Receipt:
        """The receipt of a message with one recipient, once it stands on `rung`."""
        while True:
            (receipt,) = await self.relay.receipts(message.id)
            if receipt.state is rung:
                return receipt
            await trio.sleep(_LOOK)

    async def taken_by_codex(self, message: Message) -> None:
        """Wait until the only session's Codex has accepted a message, and nobody claims more than that.

        The sidecar wrote it down; the model has not read it as long as its turn hangs in a tool or a dialog.
        """
        (run,) = self.run_directories()

        def accepted() -> bool:
            state = json.loads((run / "sidecar.json").read_text())
            return any(
                one["phase"] == "accepted" and one["messageIds"] == [message.id] for one in state["inFlight"]
            )

        await until(accepted)
        (receipt,) = await self.relay.receipts(message.id)
        assert receipt.state is Rung.HANDED_OFF

    # Processes

    def processes(self, accept: Callable[[Process], bool] = lambda _: True) -> list[Process]:
        """What runs for this home, apart from the relay and the terminal's shell."""
        own = processes_of(self.home)
        return [one for one in own if one.pid != self.relay_pid and not one.runs("sh", "-c") and accept(one)]

    def launcher(self) -> Process:
        """The only `codex-relay` that runs."""
        (found,) = self.processes(lambda one: one.arguments[: len(CODEX_RELAY)] == CODEX_RELAY)
        return found

    def sidecars(self) -> list[Process]:
        return self.processes(lambda one: one.runs("sidecar", "codex") and not one.runs("leash.py"))

    def native_app_servers(self) -> list[Process]:
        return self.processes(
            lambda one: one.arguments[0].endswith("/codex") and one.arguments[1] == "app-server"
        )

    async def sidecar_killed(self) -> None:
        """SIGKILL the sidecar that runs, once one does."""
        await until(lambda: bool(self.sidecars()))
        for one in self.sidecars():
            os.kill(one.pid, signal.SIGKILL)

    async def nothing_left(self) -> None:
        await until(lambda: not self.processes())

    def run_directories(self) -> list[Path]:
        return list((self.home / ".local/state/trio-relay/runs").glob("*/"))

    def app_server(self, agent: Agent) -> AbstractAsyncContextManager[AppServer]:
        """A connection of our own to the app-server of the only session."""
        (run,) = self.run_directories()
        return open_app_server(agent.meta["appServerUrl"], token=(run / "token").read_text())


@asynccontextmanager
async def codex_world(
    path: Path, script: Script = UNDERSTOOD, *, version: str | None = None
) -> AsyncIterator[World]:
    """Make a home in `path`, with a relay of its own, for the time of the block. `version`: an older Codex."""
    codex = codex_program(version)
    async with mock_model(script) as model, relay_process(path) as (relay_pid, url):
        home = path / "home"
        projects = [home / name for name in ("project", "alice", "bob")]
        environment = codex_home(home, model, trusted=projects) | {"AGENT_RELAY_URL": url}
        environment["PATH"] = os.pathsep.join([str(Path(codex).parent), environment["PATH"]])
        async with RelayClient.open(url) as relay:
            yield World(home, model, relay, relay_pid, environment)


@asynccontextmanager
async def relay_process(path: Path, port: int = 0) -> AsyncIterator[tuple[int, str]]:
    """Run ``trio-relay serve`` with a store in `path`, on a `port` of ours or a free one: its process id and URL."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AGENT_RELAY_")}
    with (path / "relay.log").open("wb") as log:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "trio_relay", "serve"],
            env=kept | {"PORT": str(port), "DB_PATH": str(path / "relay.db"), "HOME": str(path)},
            stdout=subprocess.PIPE,
            stderr=log,
        )
        try:
            assert process.stdout is not None
            said = b""
            while not (found := _URL.search(said + b" ")):
                piece = await process.stdout.receive_some()
                assert piece, f"the relay ended: {(path / 'relay.log').read_text()}"
                said += piece
            yield process.pid, found.group().decode()
        finally:
            with trio.CancelScope(shield=True):
                process.terminate()
                await process.wait()
