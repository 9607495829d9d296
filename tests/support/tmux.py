"""A terminal for programs that want one: tmux, with a server of its own that ends with the block.

Where an album is given, every screen a test waited for, and the last one, is kept in it as a text file for people to
look at.
"""

import itertools
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from support.processes import Process

#: Between two looks at the screen, seconds.
_LOOK = 0.05
#: For a program to show what a key did, seconds.
_ANSWER = 5.0
_AFTERWARDS = "echo EXIT $?; read -r _"
#: One number a server: one that ends removes its socket, whoever has that by then.
_SERVERS = itertools.count(1)


@dataclass(frozen=True)
class Terminal:
    """A program in a terminal of its own. `album` is the directory of its screens, numbered as they were seen."""

    tmux: tuple[str, ...]
    album: Path | None = None
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def screen(self) -> str:
        """What the terminal shows now, without trailing blanks; with what has scrolled away above."""
        return await self._run("capture-pane", "-p", "-J", "-S", "-200")

    async def visible(self) -> str:
        """What the terminal shows now, without what has scrolled away."""
        return await self._run("capture-pane", "-p", "-J")

    async def write(self, text: str) -> None:
        """Type `text` and no Enter."""
        await self._run("send-keys", "-l", text)

    async def type(self, text: str) -> None:
        """Type `text` and press Enter."""
        await self.write(text)
        await self.press("Enter")

    async def press(self, key: str) -> None:
        """Press a key by its tmux name: ``Enter``, ``C-c``, ``Escape``."""
        await self._run("send-keys", key)

    async def press_until(self, key: str, text: str) -> None:
        """Press `key`, again if nothing comes of it, until the screen shows `text`. Bound it with ``trio.fail_after``.

        For the first key in a dialog that throws away what was typed before it listens, and does not show when it does.
        """
        while True:
            await self.press(key)
            with trio.move_on_after(_ANSWER):
                while text not in await self.screen():
                    await trio.sleep(_LOOK)
                return

    async def shows(self, text: str, *, seconds: float = 60.0) -> str:
        """Wait until the screen shows `text`; the screen."""
        screen = ""
        with trio.move_on_after(seconds):
            while text not in screen:
                await trio.sleep(_LOOK)
                screen = await self.screen()
            self.keep(text, screen)
            return screen
        pytest.fail(f"the terminal does not show {text!r} after {seconds:g} s:\n{screen}")

    def keep(self, title: str, screen: str) -> None:
        """Put a screen into the album, if there is one."""
        if self.album is None:
            return
        self.album.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-")[:60]
        text = "\n".join(one.rstrip() for one in screen.splitlines())
        (self.album / f"{next(self._numbers):02}-{name}.txt").write_text(text.rstrip("\n") + "\n")

    async def _run(self, *arguments: str) -> str:
        done = await trio.run_process([*self.tmux, *arguments], capture_stdout=True)
        return done.stdout.decode()


def is_terminal_shell(process: Process) -> bool:
    """Whether it is the shell a program was started from in a `terminal`."""
    return process.runs("/bin/sh", "-c") and process.arguments[-1].endswith(_AFTERWARDS)


@asynccontextmanager
async def terminal(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    album: Path | None = None,
    width: int = 120,
    height: int = 40,
) -> AsyncGenerator[Terminal]:
    """Run `command` in a terminal; afterwards a line ``EXIT <code>`` appears and the terminal stays open.

    Screens are kept in the directory `album`.
    """
    program = shutil.which("tmux")
    if program is None:
        pytest.fail("this test needs tmux", pytrace=False)
    # Short, because the path of a Unix socket may have 107 bytes only.
    socket = Path("/tmp") / f"trio-relay-{os.getpid()}-{next(_SERVERS)}"
    tmux = (program, "-S", str(socket), "-f", "/dev/null")
    script = f"{shlex.join(command)}; {_AFTERWARDS}"
    size = ("-x", str(width), "-y", str(height))
    given = [part for name, value in env.items() for part in ("-e", f"{name}={value}")]
    await trio.run_process(
        [*tmux, "new-session", "-d", *size, "-c", str(cwd), *given, "/bin/sh", "-c", script],
        # The server's own; the program's is in `given`, but for PATH, which tmux takes from here.
        env=os.environ | {"TERM": "xterm-256color", "PATH": env["PATH"]},
    )
    made = Terminal(tmux, album)
    try:
        yield made
    finally:
        with trio.CancelScope(shield=True):
            with suppress(subprocess.CalledProcessError):  # the test has ended the terminal itself
                made.keep("last", await made.screen())
            await trio.run_process([*tmux, "kill-server"], check=False, stderr=subprocess.DEVNULL)
        socket.unlink(missing_ok=True)
