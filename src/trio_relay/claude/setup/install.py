"""What installing into Claude Code and uninstalling do: planned without changing anything, shown, then done.

Everything of ours lies in one directory of the user's data; what was there before is noted there for uninstalling.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from trio_relay import __version__
from trio_relay.claude.hook_client import socket_path
from trio_relay.claude.setup.plugin import is_program, marketplace
from trio_relay.claude.setup.registration import (
    UNREGISTER_COMMANDS,
    Before,
    Claude,
    before,
    is_registered,
    register,
    register_commands,
    unregister,
)
from trio_relay.errors import Conflict, NotFound, RelayError
from trio_relay.home.files import make_directories, read, remove_empty, write


@dataclass(frozen=True, slots=True)
class Home:
    """Where things are for this user and this installation; all paths absolute.

    `config` is Claude Code's home, `state` where keepers write whom they keep, `python` runs us. `claude` is None where
    there is no Claude Code.
    """

    data: Path
    state: Path
    config: Path
    python: str
    skills: Mapping[str, bytes]
    claude: Claude | None

    @property
    def marketplace(self) -> Path:
        """Where Claude Code reads the plugin."""
        return self.data / "marketplace"

    @property
    def record(self) -> Path:
        """What installing has changed."""
        return self.data / "installed.json"


class Record(msgspec.Struct, rename="camel"):
    """What installing has found and made. `config`: the home that has the plugin."""

    version: str = ""
    config: str = ""
    before: Before | None = None
    directories: list[str] = []


@dataclass(slots=True)
class Plan:
    """What will be done: every file and command, the same in fewer words, and the doing."""

    lines: list[str] = field(default_factory=list)
    summary: list[str] = field(default_factory=list)
    steps: list[Callable[[], None]] = field(default_factory=list)

    def add(self, lines: list[str], summary: str, step: Callable[[], None]) -> None:
        """Add one step."""
        self.lines += lines
        self.summary.append(summary)
        self.steps.append(step)

    def take(self) -> None:
        """Take the steps."""
        for step in self.steps:
            step()


def plan_install(home: Home) -> Plan:
    """Plan an installation, or doing it again after an upgrade. Raises `NotFound` where there is no Claude Code."""
    claude = home.claude
    if claude is None:
        raise NotFound(
            "there is no `claude` on PATH; install it with `npm install -g @anthropic-ai/claude-code`",
            code="claude_not_found",
        )
    files = marketplace(home.python, home.skills)

    def put() -> None:
        record = load(home.record)
        made = make_directories(home.data, 0o700)
        if record.before is None or record.config != str(home.config):
            record.before, record.config = before(home.config), str(home.config)
        record.version = __version__
        record.directories += [str(each) for each in made if str(each) not in record.directories]
        write(home.record, msgspec.json.format(msgspec.json.encode(record), indent=1))
        shutil.rmtree(home.marketplace, ignore_errors=True)
        for name, content in files.items():
            path = home.marketplace / name
            make_directories(path.parent, 0o700)
            write(path, content, 0o700 if is_program(name) else 0o600)
        register(claude, home.marketplace)

    lines = [f"write {home.marketplace / name}" for name in files]
    lines += [_command(claude, each) for each in register_commands(home.marketplace)]
    plan = Plan()
    plan.add(lines, f"put the plugin (hooks, monitor, skills, tools) into Claude Code at {home.config}", put)
    return plan


def plan_uninstall(home: Home, *, purge: bool) -> Plan:
    """Plan to take everything out. Raises `Conflict` when `purge` would pull the state away under a session."""
    record = load(home.record)
    config = Path(record.config) if record.config else home.config
    claude = home.claude and Claude(home.claude.program, config, _with_config(home.claude, config))
    if purge and (running := _running(home.state)):
        raise Conflict(
            f"{len(running)} Claude Code session(s) still running ({running[0]}): end them first, or leave --purge out",
            code="running",
        )
    plan = Plan()
    if is_registered(config) or home.data.exists():

        def out() -> None:
            unregister(claude, config, record.before)
            shutil.rmtree(home.marketplace, ignore_errors=True)
            home.record.unlink(missing_ok=True)
            sockets = Path(socket_path(os.getpid())).parent
            remove_empty([home.data, sockets, *(Path(each) for each in record.directories)])

        commands = [] if claude is None else [_command(claude, each) for each in UNREGISTER_COMMANDS]
        lines = [*commands, f"put {config / 'settings.json'} back as it was", f"remove {home.data}"]
        plan.add(lines, f"take the plugin out of Claude Code at {config}", out)
    if purge and home.state.exists():
        line = f"remove {home.state}"

        def forget() -> None:
            shutil.rmtree(home.state, ignore_errors=True)
            remove_empty([home.state.parent])

        plan.add([line], line, forget)
    return plan


def _with_config(claude: Claude, config: Path) -> Mapping[str, str]:
    """The environment for a home that may not be today's."""
    return (
        claude.environment
        if claude.config == config
        else {**claude.environment, "CLAUDE_CONFIG_DIR": str(config)}
    )


def _command(claude: Claude, arguments: tuple[str, ...]) -> str:
    return f"run {claude.program} {' '.join(arguments)}"


def _running(state: Path) -> list[Path]:
    """State files of sessions that are there."""
    return [path for path in sorted(state.glob("*.json")) if Path(f"/proc/{path.stem}").exists()]


def load(path: Path) -> Record:
    """Read the record; an empty one where there is none. Raises `RelayError` where it is damaged."""
    content = read(path)
    if content is None:
        return Record()
    try:
        return msgspec.json.decode(content, type=Record)
    except msgspec.DecodeError as problem:
        raise RelayError(
            f"{path} is damaged ({problem}); move it away and run this again", code="install_record"
        ) from None
