"""The real Codex app-server against the mock model, with the same handles as the fake one."""

import os
import re
import signal
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from support.codex import codex_program
from support.mock_model import MockModel, codex_home, mock_model
from support.ports import own_port
from support.processes import until
from trio_relay.sidecar.rollout import find_items

_ADDRESS = re.compile(rb"listening on: (ws://127\.0\.0\.1:\d+)\s")


class RealAppServer:
    """A ``codex app-server`` process. Made by `real_app_server`."""

    def __init__(
        self, nursery: trio.Nursery, model: MockModel, home: Path, cwd: Path, url: str, version: str | None
    ) -> None:
        self.program = codex_program(version)
        self.model = model
        self.home = home
        self.cwd = cwd
        self.url = url
        self.arguments: list[str] = []
        self._environment = codex_home(home, model, trusted=[cwd])
        self._nursery = nursery
        self._gone = trio.Event()
        self._process: trio.Process | None = None

    dial = None

    async def start(self) -> None:
        """Start, or start again at the same address once the last one has gone."""
        if self._process is not None:
            await self._process.wait()
            await self._gone.wait()
        self._gone = trio.Event()
        self._process = await trio.lowlevel.open_process(
            [self.program, "app-server", "--listen", self.url, *self.arguments],
            env=self._environment,
            cwd=self.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stderr is not None
        if self.url.startswith("ws:"):
            self.url = await _address(self._process.stderr)
        self._nursery.start_soon(self._swallow, self._process.stderr, self._gone)
        if self.url.startswith("unix:"):  # there it does not say when it listens
            await until(Path(self.url.removeprefix("unix://")).exists)

    async def _swallow(self, stderr: trio.abc.ReceiveStream, gone: trio.Event) -> None:
        """Read to the end, which comes when the native server, the last to hold the pipe, is gone."""
        try:
            async with stderr:
                async for _ in stderr:
                    pass
        finally:  # also when the test has run out of time: `kill` waits for it
            gone.set()

    async def kill(self) -> None:
        """Kill the wrapper and the native server, which are alone in their session, and wait until they are gone."""
        if self._process is not None and self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
        await self._gone.wait()

    find_items = staticmethod(find_items)

    def drain(self) -> None:
        """Ask it to end: it lets running turns end first."""
        assert self._process is not None
        self._process.terminate()


async def _address(stderr: trio.abc.ReceiveStream) -> str:
    said = b""
    while (address := _ADDRESS.search(said)) is None:
        piece = await stderr.receive_some()
        assert piece, f"the app-server ended: {said.decode()}"
        said += piece
    return address[1].decode()


def _own_url() -> str:
    return f"ws://127.0.0.1:{own_port()}"


@asynccontextmanager
async def real_app_server(
    path: Path, *, token: str | None = None, url: str | None = None, version: str | None = None
) -> AsyncGenerator[RealAppServer]:
    """Run the real app-server for the time of the block, its home and working directory under `path`.

    `version`: an older one than the newest.
    """
    home, cwd = path / "home", path / "work"
    home.mkdir()
    cwd.mkdir()
    async with mock_model() as model, trio.open_nursery() as nursery:
        real = RealAppServer(nursery, model, home, cwd, url or _own_url(), version)
        if token is not None:
            file = home / "token"
            file.write_text(token + "\n")
            real.arguments = ["--ws-auth", "capability-token", "--ws-token-file", str(file)]
        await real.start()
        try:
            yield real
        finally:
            with trio.CancelScope(shield=True):
                await real.kill()
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def second_server(one: RealAppServer) -> AsyncGenerator[RealAppServer]:
    """Run another app-server on the same home: what a second `codex` of the same person is."""
    async with trio.open_nursery() as nursery:
        two = RealAppServer(nursery, one.model, one.home, one.cwd, _own_url(), None)
        await two.start()
        try:
            yield two
        finally:
            with trio.CancelScope(shield=True):
                await two.kill()
            nursery.cancel_scope.cancel()
