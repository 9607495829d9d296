"""Everything real but the model: a relay and Claude Code in a terminal, each in a process of its own.

``async with claude_world(tmp_path) as world:`` is a user's home with a relay running and a Claude Code that knows only
the mock model (`support.mock_messages`), is signed in, trusts the projects and asks before tools as it does by default.
``world.tui()`` starts it in a terminal, ``world.print()`` runs ``claude -p``.

Which files and variables keep Claude Code 2.1.329 from its dialogs and from any host but loopback was found by
experiment: without ``hasCompletedOnboarding`` it asks api.anthropic.com and ends, without a trusted project a dialog
whose default is to leave comes first, and without
CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL it clones a repository from github.com.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from support.claude import claude_program
from support.home import LOOK, PATIENCE, Home
from support.mock_api import UNDERSTOOD
from support.mock_messages import MockMessages, Script, mock_messages
from support.processes import Process
from support.relay_process import relay_process
from support.tmux import Terminal
from trio_relay.client.approvals import list_approvals
from trio_relay.client.http import RelayClient
from trio_relay.core.wire import Agent
from trio_relay.core.wire_approvals import Approval, ApprovalState

#: The programs of this checkout, as they are installed beside its Python.
TRIO_RELAY = str(Path(sys.executable).with_name("trio-relay"))
#: What the screen shows once the prompt takes keys.
READY = "? for shortcuts"
#: How long a key pressed in a dialog may take to do something before it is pressed again, seconds: so long that the
#: second is not there before the first has done it, and comes to whatever is shown next.
_AGAIN = 5.0
#: How long what belongs to a session may outlive it, seconds.
_TO_END = 60.0


@dataclass
class ClaudeWorld(Home):
    """A home with a relay, a mock model and room for sessions of Claude Code."""

    model: MockMessages
    program: str

    @property
    def config(self) -> Path:
        """Where Claude Code keeps its settings."""
        return self.home / ".claude"

    @asynccontextmanager
    async def tui(self, *options: str, project: str = "project") -> AsyncGenerator[Terminal]:
        """Run ``claude`` in a terminal, once its prompt is there."""
        async with self.terminal([self.program, *options], project=project) as opened:
            await opened.shows(READY, seconds=60)
            yield opened

    async def print(self, *arguments: str, project: str = "project") -> str:
        """Run ``claude -p``: what it says."""
        done = await self.run([self.program, "-p", *arguments], project=project)
        return done.stdout.decode()

    async def run(
        self, command: Sequence[str], *, project: str = "project", check: bool = True
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run a command to its end."""
        return await trio.run_process(
            command,
            env=self.environment,
            cwd=self.project(project),
            capture_stdout=True,
            capture_stderr=True,
            check=check,
        )

    async def install(self) -> None:
        """Install our plugin as a person does."""
        await self.run([TRIO_RELAY, "install", "claude"])

    async def approval(self, agent: Agent, state: ApprovalState) -> Approval:
        """The newest thing the agent has asked for, once it is in this state."""
        while True:
            found = await list_approvals(self.relay, agent=agent.id, limit=1)
            if found and found[0].state is state:
                return found[0]
            await trio.sleep(LOOK)

    async def submit(self, tui: Terminal, text: str) -> None:
        """Type `text` at the prompt, in the place of what stands there (after Esc the last prompt may), and send it.

        In one burst with the text, Enter would count as pasted.
        """
        await tui.press("C-u")
        await tui.write(text)
        await tui.shows(text)
        await tui.press("Enter")

    async def choose(
        self, tui: Terminal, key: str, *, dialog: str, effect: Callable[[], Awaitable[object]]
    ) -> None:
        """Answer the `dialog` that shows such a text with `key`, again until the `effect` is there.

        Keys of a dialog's first moments are ignored, and while it is drawn anew its text is not on the screen.
        """

        async def insist() -> None:
            while True:
                if dialog in (screen := await tui.visible()):
                    tui.keep(dialog, screen)
                    await tui.press(key)
                    await trio.sleep(_AGAIN)
                await trio.sleep(LOOK)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(insist)
            await effect()
            nursery.cancel_scope.cancel()

    async def leave(self, tui: Terminal) -> None:
        """End the session as a person does."""
        await self.submit(tui, "/exit")
        screen = await tui.shows("EXIT")
        assert "EXIT 0" in screen

    def traces(self) -> list[Path]:
        """Files and directories of the home that speak of us, the transcripts of sessions apart; relative paths."""
        names = ("trio-relay", "trio_relay", "agent-relay")
        found = []
        # A session that ends takes files with it meanwhile; `os.walk` minds no directory that vanishes.
        for directory, directories, files in os.walk(self.home):
            for path in (Path(directory, name) for name in directories + files):
                relative = path.relative_to(self.home)
                content = ""
                if path.is_file():
                    with suppress(FileNotFoundError):
                        content = path.read_text(errors="replace")
                if relative.parts[:2] != (".claude", "projects") and any(
                    name in f"{relative} {content}" for name in names
                ):
                    found.append(relative)
        return sorted(found)

    async def ended(self) -> None:
        """Nothing of this home runs any more; what does is killed, and fails the test."""
        with trio.move_on_after(_TO_END):
            await self.nothing_left()
        left = self.processes()
        for one in left:
            os.kill(one.pid, signal.SIGKILL)
        assert not left, f"still running: {', '.join(map(str, left))}"

    def keepers(self) -> list[Process]:
        """The processes of ours beside the sessions."""
        return self.processes(
            lambda one: one.arguments[0] == sys.executable and one.runs("-P", "sidecar", "claude")
        )

    def sessions(self) -> list[Process]:
        """Every Claude Code that runs."""
        return self.processes(lambda one: one.arguments[0] == self.program)


@asynccontextmanager
async def claude_world(
    path: Path, script: Script = UNDERSTOOD, *, version: str | None = None
) -> AsyncIterator[ClaudeWorld]:
    """Make a home in `path`, with a relay of its own, for the time of the block. `version`: an older Claude Code."""
    async with relay_process(path) as relay, claude_at(relay, path, script, version=version) as world:
        yield world


@asynccontextmanager
async def claude_at(
    relay_process: tuple[int, str], path: Path, script: Script = UNDERSTOOD, *, version: str | None = None
) -> AsyncIterator[ClaudeWorld]:
    """The same at a relay that runs: its process id and URL."""
    relay_pid, url = relay_process
    program = claude_program(version)
    async with mock_messages(script) as model:
        home = path / "home"
        projects = [home / name for name in ("project", "alice", "bob")]
        environment = claude_home(home, model, trusted=projects) | {"AGENT_RELAY_URL": url}
        environment["PATH"] = os.pathsep.join([str(Path(program).parent), environment["PATH"]])
        async with RelayClient.open(url, timeout=PATIENCE) as relay:
            world = ClaudeWorld(home, relay, relay_pid, environment, model, program)
            try:
                yield world
            finally:
                with trio.CancelScope(shield=True):
                    await world.ended()


def claude_home(path: Path, model: MockMessages, *, trusted: Sequence[Path] = ()) -> dict[str, str]:
    """Make `path` the home of a user whose Claude Code knows only `model`; the environment to run it in."""
    config = path / ".claude"
    config.mkdir(parents=True, exist_ok=True)
    state = {
        "hasCompletedOnboarding": True,
        "hasSeenAutoDefaultNudge": True,
        "projects": {str(where): {"hasTrustDialogAccepted": True} for where in trusted},
    }
    (config / ".claude.json").write_text(json.dumps(state))
    (config / "settings.json").write_text(json.dumps({"permissions": {"defaultMode": "default"}}))
    kept = {name: os.environ[name] for name in ("LANG", "PYTHONPATH", "TMPDIR") if name in os.environ}
    # The programs of this checkout first: hooks and skills call `trio-relay`.
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {
        **kept,
        "PATH": programs,
        "HOME": str(path),
        "SHELL": "/bin/bash",
        "TERM": "xterm-256color",
        "NO_PROXY": "*",
        "CLAUDE_CONFIG_DIR": str(config),
        "ANTHROPIC_BASE_URL": model.base_url,
        "ANTHROPIC_AUTH_TOKEN": "mock",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL": "1",
        "DISABLE_AUTOUPDATER": "1",
    }
