"""Relay, sidecar and app-server as processes of their own that can be killed at any moment and are started again.

``async with chaos_world(path) as world:`` runs all three, the sidecar straight on the app-server. ``world.relay``,
``world.sidecar`` and ``world.app_server`` are killed with `kill`; each is started again by itself after a moment. All is
real but the model, ``world.model``.
"""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import trio

from support.mock_model import MockModel
from support.ports import own_port
from support.real_app_server import RealAppServer, real_app_server
from trio_relay.client import RelayClient
from trio_relay.core.wire import Agent


class Phoenix:
    """A process that is started again whenever it ends."""

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], cwd: Path, log: Path
    ) -> None:
        self.lives = 0
        self._arguments, self._environment = list(arguments), dict(environment)
        self._cwd, self._log = cwd, log
        self._process: trio.Process | None = None

    async def live(self) -> None:
        """Task: run it, again and again; ended with SIGTERM."""
        with self._log.open("ab") as log:
            while True:
                self.lives += 1
                self._process = await trio.lowlevel.open_process(
                    self._arguments,
                    env=self._environment,
                    cwd=self._cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
                try:
                    await self._process.wait()
                finally:
                    with trio.CancelScope(shield=True):
                        if self._process.returncode is None:
                            self._process.terminate()
                            await self._process.wait()
                await trio.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL it, if it runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()


class PhoenixServer:
    """The app-server, likewise."""

    def __init__(self, server: RealAppServer) -> None:
        self.lives = 1
        self._server = server
        self._busy = False

    async def kill(self, pause: float) -> None:
        """SIGKILL it, and start it again after so many seconds."""
        if self._busy:
            return
        self._busy = True
        await self._server.kill()
        await trio.sleep(pause)
        await self._server.start()
        self.lives += 1
        self._busy = False


@dataclass
class ChaosWorld:
    """What runs, and where it leaves its traces."""

    path: Path
    model: MockModel
    client: RelayClient
    relay: Phoenix
    sidecar: Phoenix
    app_server: PhoenixServer
    server: RealAppServer

    async def agent(self) -> Agent:
        """The sidecar's agent, once it is ready."""
        while True:
            for agent in await self.client.agents(ready=True):
                if agent.meta.get("client") == "codex":
                    return agent
            await trio.sleep(0.05)

    def rollout(self, thread_id: str) -> list[dict[str, Any]]:
        """The payloads of a thread's rollout file, in order. A line that a kill has torn is none."""
        (file,) = (self.path / "home/.codex/sessions").rglob(f"*{thread_id}.jsonl")
        payloads = []
        for line in file.read_bytes().splitlines():
            try:
                payloads.append(msgspec.json.decode(line)["payload"])
            except msgspec.DecodeError:
                continue
        return payloads


@asynccontextmanager
async def chaos_world(path: Path, **settings: str) -> AsyncIterator[ChaosWorld]:
    """Run everything for the time of the block. `settings`: more environment of relay and sidecar."""
    url = f"http://127.0.0.1:{own_port()}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AGENT_RELAY_")}
    kept |= {"HOME": str(path), "NO_PROXY": "*", **settings}
    own = [sys.executable, "-m", "trio_relay"]
    async with (
        real_app_server(path) as server,
        RelayClient.open(url) as client,
        trio.open_nursery() as nursery,
    ):
        relay = Phoenix(
            [*own, "serve"],
            kept | {"PORT": url.rpartition(":")[2], "DB_PATH": str(path / "relay.db")},
            path,
            path / "relay.log",
        )
        sidecar = Phoenix(
            [*own, "sidecar", "codex"],
            kept
            | {
                "AGENT_RELAY_URL": url,
                "CODEX_APP_SERVER_URL": server.url,
                "CODEX_THREAD_MODE": "auto",
                "AGENT_RELAY_APPROVAL": "open",
                "AGENT_RELAY_CODEX_STATE_PATH": str(path / "state.json"),
                "AGENT_RELAY_CODEX_RECONNECT_INITIAL_MS": "50",
                "AGENT_RELAY_CODEX_RECONNECT_MAX_MS": "500",
                "AGENT_RELAY_CODEX_RELAY_BACKOFF_INITIAL_MS": "50",
                "AGENT_RELAY_CODEX_RELAY_BACKOFF_MAX_MS": "500",
            },
            server.cwd,
            path / "sidecar.log",
        )
        nursery.start_soon(relay.live)
        nursery.start_soon(sidecar.live)
        yield ChaosWorld(path, server.model, client, relay, sidecar, PhoenixServer(server), server)
        nursery.cancel_scope.cancel()
