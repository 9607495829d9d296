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

_ADDRESS = re.compile(rb"listening on: ws://127\.0\.0\.1:(\d+)\s")


class RealAppServer:
    """A ``codex app-server`` process. Made by `real_app_server`."""

    def __init__(
        self, nursery: trio.Nursery, model: MockModel, home: Path, cwd: Path, token: str | None
    ) -> None:
        self.model = model
        self.cwd = cwd
        self._environment = codex_home(home, model, trusted=[cwd])
        self._nursery = nursery
        self._port = 0
        self._gone = trio.Event()
        self._arguments: list[str] = []
        if token is not None:
            file = home / "token"
            file.write_text(token + "\n")
            self._arguments = ["--ws-auth", "capability-token", "--ws-token-file", str(file)]
        self._process: trio.Process | None = None

    dial = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Start, or start again on the same port once the last one has gone."""
        if self._process is not None:
            await self._process.wait()
            await self._gone.wait()
        command = [
            codex_program(),
            "app-server",
            "--listen",
            f"ws://127.0.0.1:{self._port}",
            *self._arguments,
        ]
        self._process = await trio.lowlevel.open_process(
            command,
            env=self._environment,
            cwd=self.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        said = b""
        assert self._process.stderr is not None
        while (address := _ADDRESS.search(said)) is None:
            piece = await self._process.stderr.receive_some()
            assert piece, f"the app-server ended: {said.decode()}"
            said += piece
        self._port = int(address[1])
        self._gone = trio.Event()
        self._nursery.start_soon(self._swallow, self._process.stderr, self._gone)

    async def _swallow(self, stderr: trio.abc.ReceiveStream, gone: trio.Event) -> None:
        """Read to the end, which comes when the native server, the last to hold the pipe, is gone."""
        async with stderr:
            async for _ in stderr:
                pass
        gone.set()

    async def kill(self) -> None:
        """Kill the wrapper and the native server, which are alone in their session, and wait until they are gone."""
        if self._process is not None and self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
        await self._gone.wait()

    def drain(self) -> None:
        """Ask it to end: it lets running turns end first."""
        assert self._process is not None
        self._process.terminate()


@asynccontextmanager
async def real_app_server(path: Path, *, token: str | None = None) -> AsyncGenerator[RealAppServer]:
    """Run the real app-server for the time of the block, its home and working directory under `path`."""
    home, cwd = path / "home", path / "work"
    home.mkdir()
    cwd.mkdir()
    async with mock_model() as model, trio.open_nursery() as nursery:
        real = RealAppServer(nursery, model, home, cwd, token)
        await real.start()
        try:
            yield real
        finally:
            with trio.CancelScope(shield=True):
                await real.kill()
            nursery.cancel_scope.cancel()
