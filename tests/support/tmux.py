"""A terminal for programs that want one: tmux, with a server of its own that ends with the block."""

import os
import shlex
import shutil
import subprocess
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

#: Between two looks at the screen, seconds.
_LOOK = 0.05


@dataclass(frozen=True)
class Terminal:
    """A program in a terminal of its own."""

    tmux: tuple[str, ...]

    async def screen(self) -> str:
        """What the terminal shows now, without trailing blanks; with what has scrolled away above."""
        return await self._run("capture-pane", "-p", "-J", "-S", "-200")

    async def type(self, text: str) -> None:
        """Type `text` and press Enter."""
        await self._run("send-keys", "-l", text)
        await self._run("send-keys", "Enter")

    async def press(self, key: str) -> None:
        """Press a key by its tmux name: ``Enter``, ``C-c``, ``Escape``."""
        await self._run("send-keys", key)

    async def shows(self, text: str, *, seconds: float = 30.0) -> str:
        """Wait until the screen shows `text`; the screen."""
        screen = ""
        with trio.move_on_after(seconds):
            while text not in screen:
                await trio.sleep(_LOOK)
                screen = await self.screen()
            return screen
        pytest.fail(f"the terminal does not show {text!r} after {seconds:g} s:\n{screen}")

    async def _run(self, *arguments: str) -> str:
        done = await trio.run_process([*self.tmux, *arguments], capture_stdout=True)
        return done.stdout.decode()


@asynccontextmanager
async def terminal(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path, width: int = 120, height: int = 40
) -> AsyncGenerator[Terminal]:
    """Run `command` in a terminal; afterwards a line ``EXIT <code>`` appears and the terminal stays open."""
    program = shutil.which("tmux")
    if program is None:
        pytest.fail("this test needs tmux", pytrace=False)
    # Short, because the path of a Unix socket may have 107 bytes only.
    socket = Path("/tmp") / f"trio-relay-{os.getpid()}-{id(command):x}"
    tmux = (program, "-S", str(socket), "-f", "/dev/null")
    script = f"{shlex.join(command)}; echo EXIT $?; read -r _"
    size = ("-x", str(width), "-y", str(height))
    given = [part for name, value in env.items() for part in ("-e", f"{name}={value}")]
    await trio.run_process(
        [*tmux, "new-session", "-d", *size, "-c", str(cwd), *given, "/bin/sh", "-c", script],
        # The server's own; the program's is in `given`, but for PATH, which tmux takes from here.
        env=os.environ | {"TERM": "xterm-256color", "PATH": env["PATH"]},
    )
    try:
        yield Terminal(tmux)
    finally:
        with trio.CancelScope(shield=True):
            await trio.run_process([*tmux, "kill-server"], check=False, stderr=subprocess.DEVNULL)
        socket.unlink(missing_ok=True)
