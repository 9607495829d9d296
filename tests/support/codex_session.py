"""Everything real but the model: a relay, `codex-relay`, its app-server and sidecar, each in a process of its own.

``async with codex_world(tmp_path) as world:`` is a user's home with a relay running and a Codex that knows only the mock
model. ``world.headless()`` and ``world.tui()`` start `codex-relay` there.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from support.codex import codex_program
from support.home import PATIENCE, Home
from support.mock_api import UNDERSTOOD
from support.mock_model import MockModel, Script, codex_home, mock_model
from support.processes import Process, until
from support.relay_process import relay_process
from support.tmux import Terminal
from trio_relay.client.http import RelayClient
from trio_relay.codex.app_server import AppServer, open_app_server
from trio_relay.core.model import Rung
from trio_relay.core.wire import Agent, Message

CODEX_RELAY = (sys.executable, "-c", "from trio_relay.cli.codex import main; main()")


@dataclass
class World(Home):
    """A home with a relay, a mock model and room for sessions."""

    model: MockModel

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

    def keep_logs(self, album: Path) -> None:
        for run in self.run_directories():
            with suppress(FileNotFoundError):  # a session that ends takes its directory with it
                for log in run.glob("*.log"):
                    shutil.copy(log, album)

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
    async with relay_process(path) as relay, codex_at(relay, path, script, version=version) as world:
        yield world


@asynccontextmanager
async def codex_at(
    relay_process: tuple[int, str], path: Path, script: Script = UNDERSTOOD, *, version: str | None = None
) -> AsyncIterator[World]:
    """The same at a relay that runs: its process id and URL."""
    relay_pid, url = relay_process
    codex = codex_program(version)
    async with mock_model(script) as model:
        home = path / "home"
        projects = [home / name for name in ("project", "alice", "bob")]
        environment = codex_home(home, model, trusted=projects) | {"AGENT_RELAY_URL": url}
        environment["PATH"] = os.pathsep.join([str(Path(codex).parent), environment["PATH"]])
        async with RelayClient.open(url, timeout=PATIENCE) as relay:
            yield World(home, relay, relay_pid, environment, model)
