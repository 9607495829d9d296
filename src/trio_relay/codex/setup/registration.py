"""The plugin is registered with Codex by Codex's own commands, and the owner's config.toml is kept as it was.

Codex 0.150 and 0.169 have ``codex plugin marketplace add|remove`` and ``codex plugin add|remove``, each safe to repeat
(but for ``marketplace remove``). 0.130 has no ``plugin add``: there an app-server is asked (``plugin/install``).
``plugin add`` also refreshes the copy Codex keeps, and leaves only the newest version.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from trio_relay.codex.private_server import private_app_server
from trio_relay.codex.setup.config_entries import (
    MARKETPLACE,
    PLUGIN,
    PLUGIN_ID,
    has_entries,
    is_toml,
    plugins_are_off,
    with_entries,
    without_entries,
)
from trio_relay.codex.setup.plugin import cache
from trio_relay.codex.setup.record import Record
from trio_relay.errors import RelayError
from trio_relay.home.files import ended_as_before, make_directories, mode_of, original_of, read, write

#: How long one of Codex's commands may take, seconds.
_PATIENCE = 60.0
_UNKNOWN_COMMAND = "unrecognized subcommand"


class CodexFailed(RelayError):  # noqa: N818  # named for what happened
    """A command of Codex failed; the detail holds its own words."""

    default_code = "codex_failed"


@dataclass(frozen=True, slots=True)
class Codex:
    """A Codex program and the home it works on."""

    program: str
    home: Path
    environment: Mapping[str, str]

    @property
    def config(self) -> Path:
        """Its configuration file."""
        return self.home / "config.toml"

    def run(self, *arguments: str) -> str:
        """Run one of its commands: what it said. Raises `CodexFailed`."""
        try:
            done = subprocess.run(  # noqa: S603  # the Codex that was found
                [self.program, *arguments],
                env={**self.environment, "CODEX_HOME": str(self.home)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=_PATIENCE,
            )
        except subprocess.TimeoutExpired:
            raise CodexFailed(f"`codex {' '.join(arguments)}` gave no answer in {_PATIENCE:g} s") from None
        if done.returncode:
            raise CodexFailed(f"`codex {' '.join(arguments)}`: {_complaint(done.stderr)}")
        return done.stdout.strip()


def _complaint(stderr: str) -> str:
    """What went wrong, out of warnings before it and a stack trace after it."""
    lines = [line.strip() for line in stderr.partition("Stack backtrace:")[0].splitlines()]
    told = [line for line in lines if line and not line.startswith(("WARNING:", "Caused by:", "|"))]
    return " ".join(told[:3]) or "it ended without a word"


def register_commands(marketplace: Path) -> list[tuple[str, ...]]:
    """Codex's commands that register the plugin."""
    return [("plugin", "marketplace", "add", str(marketplace)), ("plugin", "add", PLUGIN_ID)]


UNREGISTER_COMMANDS = [("plugin", "remove", PLUGIN_ID), ("plugin", "marketplace", "remove", MARKETPLACE)]


def register(codex: Codex, marketplace: Path, record: Record) -> None:
    """Have Codex take the plugin in, and mend its config.toml. Raises `CodexFailed`, with nothing changed."""
    before, mode = read(codex.config), mode_of(codex.config)
    record.edited(codex.config, original_of(_without(before) if before is not None else None))
    record.codex_home = str(codex.home)
    record.made(make_directories(codex.home))  # Codex refuses a CODEX_HOME that is not there
    there = _directories(codex.home)
    add, install = register_commands(marketplace)
    try:
        codex.run(*add)
        try:
            codex.run(*install)
        except CodexFailed as problem:
            if _UNKNOWN_COMMAND not in problem.detail:
                raise
            manifest = str(marketplace / ".agents" / "plugins" / "marketplace.json")
            _ask(codex, "plugin/install", {"marketplacePath": manifest, "pluginName": PLUGIN})
    except CodexFailed as problem:
        with suppress(CodexFailed):
            codex.run(*UNREGISTER_COMMANDS[1])
        _put_back(codex.config, before, mode)
        if plugins_are_off(_text(before or b"")):
            raise CodexFailed(
                f"plugins are switched off in {codex.config} ([features] plugins = false)"
            ) from problem
        raise
    finally:
        record.made(sorted(_directories(codex.home) - there))
    written = read(codex.config)
    if written is not None:
        mended = with_entries(_text(before or b""), _text(written), str(marketplace))
        if mended is None and not is_toml(_text(written)):
            _put_back(codex.config, before, mode)
            raise CodexFailed(f"Codex wrote a {codex.config} that it cannot read; it is as it was before")
        _put_back(codex.config, written if mended is None else _bytes(mended), mode)


def unregister(codex: Codex | None, home: Path, record: Record) -> None:
    """Have Codex let the plugin go, and see to it ourselves where it cannot (or where there is no Codex any more)."""
    config = home / "config.toml"
    before, mode = read(config), mode_of(config)
    if codex is not None:
        for command in UNREGISTER_COMMANDS:
            with suppress(CodexFailed):  # 0.130 knows no `plugin remove`; a second `marketplace remove` fails
                codex.run(*command)
    shutil.rmtree(cache(home), ignore_errors=True)
    if before is not None:
        written = read(config) or b""
        text = without_entries(_text(before))
        mended = written if text is None else _bytes(text)
        if has_entries(_text(mended)):
            raise CodexFailed(
                f"{config} holds our entries in a way that cannot be taken out: remove what names {MARKETPLACE}"
            )
        _put_back(config, ended_as_before(mended, record.originals.pop(str(config), None)), mode)
    record.directories.append(str(cache(home).parent))


def _without(content: bytes | None) -> bytes:
    """A configuration before we were in it, also when we are installed over an older installation."""
    text = without_entries(_text(content or b""))
    return content or b"" if text is None else _bytes(text)


def _text(content: bytes) -> str:
    return content.decode(errors="surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _put_back(path: Path, content: bytes | None, mode: int | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
    elif content != read(path) or mode != mode_of(path):
        write(path, content, 0o600 if mode is None else mode)


def _directories(home: Path) -> set[Path]:
    """The directories Codex may make in its home when it takes a plugin in."""
    found = {home} if home.is_dir() else set()
    for name in (".tmp", "plugins", "tmp"):
        found |= {Path(each) for each, _, _ in os.walk(home / name)}
    return {each for each in found if not each.is_relative_to(cache(home))}


def _ask(codex: Codex, method: str, params: dict[str, str]) -> None:
    """Call an app-server of our own."""

    async def ask() -> None:
        environment = {**codex.environment, "CODEX_HOME": str(codex.home)}
        async with private_app_server(codex.program, environment) as server:
            await server.call(method, params)

    try:
        trio.run(ask)
    except* RelayError as group:
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise CodexFailed(f"{method}: {first}") from None
