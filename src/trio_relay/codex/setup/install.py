"""What installing and uninstalling do, as steps: made without changing anything, shown by ``--dry-run``, then taken.

Installing twice is installing once: a step that would change nothing is not in the plan, apart from Codex's own
commands, which refresh its copy of the plugin. Uninstalling goes by the record and by our marks, so that what an older
version or another environment installed goes too. Nobody else's file is overwritten or removed; with ``force`` it is
set aside and comes back.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from trio_relay import __version__
from trio_relay.codex.run_directory import running
from trio_relay.codex.setup.alias import Shell, has_alias, with_alias, without_alias
from trio_relay.codex.setup.config_entries import has_entries
from trio_relay.codex.setup.plugin import cache, marketplace
from trio_relay.codex.setup.record import Record, load, save
from trio_relay.codex.setup.registration import (
    UNREGISTER_COMMANDS,
    Codex,
    register,
    register_commands,
    unregister,
)
from trio_relay.codex.setup.shims import PROGRAMS, is_ours, is_same_program, shim
from trio_relay.errors import Conflict
from trio_relay.home.files import (
    ended_as_before,
    make_directories,
    mode_of,
    original_of,
    read,
    remove_empty,
    write,
)

_ASIDE = ".before-trio-relay"
#: What sessions keep below the state directory. On some systems that is the data directory too, where the relay has its
#: messages: nothing else there is touched.
_STATE = ("runs", "codex", "relay.log")


@dataclass(frozen=True, slots=True)
class Home:
    """Where things are for this user and this installation; all paths absolute.

    `scripts` holds our programs, `python` runs us; `skills` are the files of ``skills/``; `shells` are those whose
    start-up file may hold our alias. `codex` is None where there is no Codex.
    """

    bin: Path
    data: Path
    state: Path
    codex_home: Path
    scripts: Path
    python: str
    skills: Mapping[str, bytes]
    shells: tuple[Shell, ...]
    codex: Codex | None

    @property
    def marketplace(self) -> Path:
        """Where Codex copies the plugin from."""
        return self.data / "marketplace"

    @property
    def record(self) -> Path:
        """What installing has changed."""
        return self.data / "installed.json"

    def with_codex_home(self, path: Path) -> "Home":
        """Make the same with another home of Codex: the one it was installed into may not be today's CODEX_HOME."""
        codex = None if self.codex is None else replace(self.codex, home=path)
        return replace(self, codex_home=path, codex=codex)


@dataclass(frozen=True, slots=True)
class Step:
    """One change: every file and command of it, a line each, the change itself, and in a few words if it has many lines."""

    lines: tuple[str, ...]
    take: Callable[[Record], None]
    summary: str | None = None


@dataclass(frozen=True, slots=True)
class Wishes:
    """What to install beside the programs; `force` sets files of others aside."""

    plugin: bool = True
    hooks: bool = False
    alias: Shell | None = None
    force: bool = False


@dataclass(slots=True)
class Plan:
    """The steps, and what a person should know about what is not among them."""

    home: Home
    steps: list[Step] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Every file and command, in order."""
        return [line for step in self.steps for line in step.lines]

    def summary(self) -> list[str]:
        """The same in fewer words."""
        return [line for step in self.steps for line in ((step.summary,) if step.summary else step.lines)]

    def take(self) -> None:
        """Take the steps. The record is written after each, so that a failure leaves nothing behind unknown."""
        record = load(self.home.record)
        record.version = __version__
        # What runs later makes this one; who uninstalls it then takes it away again if it is empty.
        record.made([each for each in self.home.state.parents if not each.exists()])
        for step in self.steps:
            try:
                step.take(record)
            finally:
                save(self.home.record, record)


def plan_install(home: Home, wishes: Wishes) -> Plan:
    """Plan an installation. Raises `Conflict` where a file of somebody else is in the way."""
    plan = Plan(home)
    for name in PROGRAMS:
        _plan_program(plan, name, force=wishes.force)
    if wishes.alias is not None:
        plan.steps += alias_steps(home, wishes.alias)
    # Last: what Codex refuses leaves the rest in place.
    if wishes.plugin and home.codex is not None:
        plan.steps.append(_register(home, home.codex, hooks=wishes.hooks))
    elif wishes.plugin:
        plan.notes.append(
            "there is no `codex` on PATH: the plugin is left out; install again once Codex is there"
        )
    return plan


def _plan_program(plan: Plan, name: str, *, force: bool) -> None:
    home = plan.home
    path, program = home.bin / name, home.scripts / name
    content = shim(program)
    if is_same_program(path, program):
        plan.notes.append(f"{path} is this installation already")
    elif read(path) == content:
        return
    elif is_ours(path) or not (path.exists() or path.is_symlink()):
        plan.steps.append(Step((f"write {path}: starts {program}",), partial(_write, path, content, 0o755)))
    elif force:
        aside = path.with_name(name + _ASIDE)

        def replace(record: Record) -> None:
            record.aside[str(path)] = str(path.replace(aside))
            _write(path, content, 0o755, record)

        plan.steps.append(
            Step((f"move {path} to {aside}, until uninstalled", f"write {path}: starts {program}"), replace)
        )
    else:
        raise Conflict(
            f"{path} is there already and not ours; --force sets it aside until uninstalled", code="not_ours"
        )


def _write(path: Path, content: bytes, mode: int, record: Record) -> None:
    record.made(make_directories(path.parent))
    write(path, content, mode)


def _remove(path: Path, _record: Record) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _register(home: Home, codex: Codex, *, hooks: bool) -> Step:
    files = marketplace(home.python, home.skills, hooks=hooks)

    def take(record: Record) -> None:
        record.made(make_directories(home.marketplace.parent, 0o700))
        shutil.rmtree(home.marketplace, ignore_errors=True)
        for name, content in files.items():
            path = home.marketplace / name
            make_directories(path.parent, 0o700)
            write(path, content)
        register(codex, home.marketplace, record)

    written = tuple(f"write {home.marketplace / name}" for name in files)
    commands = tuple(_command(codex, each) for each in register_commands(home.marketplace))
    lines = (*written, *commands, f"keep every other byte of {codex.config}")
    return Step(lines, take, f"put the plugin (skills, tools) into Codex at {codex.home}")


def _command(codex: Codex, arguments: tuple[str, ...]) -> str:
    return f"run {codex.program} {' '.join(arguments)}"


def alias_steps(home: Home, shell: Shell) -> list[Step]:
    """Make `codex` start codex-relay in a person's shell; none where it does already."""
    before = read(shell.file)
    text = with_alias((before or b"").decode(errors="surrogateescape"), home.bin / "codex-relay")
    after = text.encode(errors="surrogateescape")

    def take(record: Record) -> None:
        plain = None if before is None else without_alias(before.decode(errors="surrogateescape"))
        record.edited(
            shell.file, original_of(None if plain is None else plain.encode(errors="surrogateescape"))
        )
        _write(shell.file, after, mode_of(shell.file) or 0o644, record)

    if after == before:
        return []
    return [Step((f"add to {shell.file}: alias codex={home.bin / 'codex-relay'} --as-codex",), take)]


def alias_removal_steps(home: Home) -> list[Step]:
    """Take the alias out of every start-up file that has it."""
    return [_unalias(shell.file) for shell in home.shells if _has_alias(shell.file)]


def _has_alias(path: Path) -> bool:
    return has_alias((read(path) or b"").decode(errors="surrogateescape"))


def _unalias(path: Path) -> Step:
    def take(record: Record) -> None:
        text = without_alias((read(path) or b"").decode(errors="surrogateescape"))
        content = ended_as_before(
            text.encode(errors="surrogateescape"), record.originals.pop(str(path), None)
        )
        if content is None:
            path.unlink()
        else:
            write(path, content, mode_of(path) or 0o644)

    return Step((f"take the alias out of {path}",), take)


def plan_uninstall(home: Home, *, purge: bool) -> Plan:
    """Plan to take everything out. Raises `Conflict` when `purge` would pull the state away under a session."""
    record = load(home.record)
    if record.codex_home:
        home = home.with_codex_home(Path(record.codex_home))
    plan = Plan(home)
    if purge and (sessions := running(home.state / "runs")):
        raise Conflict(
            f"{len(sessions)} codex-relay still running ({sessions[0]}): end it first, or leave --purge out",
            code="running",
        )
    plan.steps += alias_removal_steps(home)
    if cache(home.codex_home).exists() or home.marketplace.exists() or _is_registered(home):
        plan.steps.append(_unregister(home))
    for name in PROGRAMS:
        path = home.bin / name
        if is_ours(path):
            plan.steps.append(Step((f"remove {path}",), partial(_remove, path)))
        aside = record.aside.get(str(path))
        if aside is not None and Path(aside).exists():
            plan.steps.append(_bring_back(Path(aside), path))
    for name in _STATE if purge else ():
        if (home.state / name).exists():
            plan.steps.append(Step((f"remove {home.state / name}",), partial(_remove, home.state / name)))
    if home.record.exists():
        plan.steps.append(Step((f"remove {home.data}, and the empty directories installing made",), _nothing))
    return plan


def take_out(plan: Plan) -> None:
    """Take the steps of an uninstallation, and remove the record last."""
    home = plan.home
    plan.take()
    record = load(home.record)
    home.record.unlink()
    remove_empty([home.data, home.state, *(Path(each) for each in record.directories)])


def _nothing(_record: Record) -> None:
    """The record itself goes last; see `take_out`."""


def _is_registered(home: Home) -> bool:
    return has_entries((read(home.codex_home / "config.toml") or b"").decode(errors="surrogateescape"))


def _unregister(home: Home) -> Step:
    def take(record: Record) -> None:
        unregister(home.codex, home.codex_home, record)
        shutil.rmtree(home.marketplace, ignore_errors=True)

    commands = () if home.codex is None else tuple(_command(home.codex, each) for each in UNREGISTER_COMMANDS)
    config = home.codex_home / "config.toml"
    lines = (*commands, f"take our entries out of {config}", f"remove {home.marketplace}")
    return Step(lines, take, f"take the plugin out of Codex at {home.codex_home}")


def _bring_back(aside: Path, path: Path) -> Step:
    def take(record: Record) -> None:
        aside.replace(path)
        record.aside.pop(str(path), None)

    return Step((f"move {aside} back to {path}",), take)
