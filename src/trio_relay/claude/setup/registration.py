"""The plugin is registered with Claude Code by Claude Code's own commands, and what they leave behind is taken away.

``claude plugin marketplace add|remove`` and ``claude plugin install|uninstall`` (2.1.197 and 2.1.329) write
``settings.json`` anew: in their own layout, and after the last ``remove`` with two empty objects that were not there. They
leave a copy of the plugin and their own empty lists in ``plugins/``. A home where nothing of it was before gets back
the very settings it had, unless somebody has changed them meanwhile: then only what is ours goes.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from trio_relay.claude.setup.plugin import MARKETPLACE, PLUGIN, PLUGIN_ID
from trio_relay.errors import NotFound, RelayError
from trio_relay.home.files import mode_of, read, remove_empty, write

#: How long one of Claude Code's commands may take, seconds.
_PATIENCE = 120.0
#: Where settings.json names what is ours.
_PLUGINS, _MARKETPLACES = "enabledPlugins", "extraKnownMarketplaces"
#: Claude Code's own lists, as they are when they are empty.
_LISTS: dict[str, Any] = {
    "known_marketplaces.json": ({},),
    "installed_plugins.json": ({}, {"version": 1, "plugins": {}}, {"version": 2, "plugins": {}}),
}


class ClaudeFailed(RelayError):  # noqa: N818  # named for what happened
    """A command of Claude Code failed; the detail holds its own words."""

    default_code = "claude_failed"


@dataclass(frozen=True, slots=True)
class Claude:
    """A Claude Code program and the home it works on (``CLAUDE_CONFIG_DIR``, else ``~/.claude``)."""

    program: str
    config: Path
    environment: Mapping[str, str]

    def run(self, *arguments: str) -> str:
        """Run one of its commands: what it said. Raises `ClaudeFailed`."""
        command = f"`claude {' '.join(arguments)}`"
        try:
            done = subprocess.run(  # noqa: S603  # the Claude Code that was found
                [self.program, *arguments],
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=_PATIENCE,
            )
        except subprocess.TimeoutExpired:
            raise ClaudeFailed(f"{command} gave no answer in {_PATIENCE:g} s") from None
        except OSError as problem:
            raise ClaudeFailed(f"{self.program} does not start: {problem.strerror}") from None
        if done.returncode:
            said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            raise ClaudeFailed(f"{command}: {' '.join(said[:3]) or 'it ended without a word'}")
        return done.stdout.strip()


def find_claude(search_path: str) -> str:
    """The path of Claude Code in `search_path`, written as PATH is. Raises `NotFound`."""
    found = shutil.which("claude", path=search_path)
    if found is None:
        raise NotFound(
            "there is no `claude` on PATH; install it with `npm install -g @anthropic-ai/claude-code`",
            code="claude_not_found",
        )
    return os.path.abspath(found)  # noqa: PTH100  # what a link leads to may move


class Before(msgspec.Struct, rename="camel"):
    """A home before the first installation: its settings (None: there were none), and which of Claude Code's files were."""

    settings: bytes | None = None
    files: list[str] = []


def before(config: Path) -> Before:
    """Look at a home."""
    plugins = config / "plugins"
    there = [plugins, *(plugins / name for name in ("cache", "data", "marketplaces", *_LISTS))]
    return Before(read(config / "settings.json"), [str(each) for each in there if each.exists()])


def register_commands(marketplace: Path) -> list[tuple[str, ...]]:
    """Claude Code's commands that register the plugin."""
    return [("plugin", "marketplace", "add", str(marketplace)), ("plugin", "install", PLUGIN_ID)]


UNREGISTER_COMMANDS = [
    ("plugin", "uninstall", PLUGIN_ID),
    ("plugin", "marketplace", "remove", MARKETPLACE),
]


def register(claude: Claude, marketplace: Path) -> None:
    """Have Claude Code take the plugin in, afresh: it keeps copies by version and paths. Raises `ClaudeFailed`."""
    if is_registered(claude.config):
        _let_go(claude)
    for command in register_commands(marketplace):
        claude.run(*command)


def _let_go(claude: Claude) -> None:
    for command in UNREGISTER_COMMANDS:
        with suppress(ClaudeFailed):  # one of the two may be gone already
            claude.run(*command)


def unregister(claude: Claude | None, config: Path, known: Before | None) -> None:
    """Have Claude Code let the plugin go, and see to what it leaves, also where there is no Claude Code any more."""
    if claude is not None:
        _let_go(claude)
    plugins = config / "plugins"
    shutil.rmtree(plugins / "cache" / MARKETPLACE, ignore_errors=True)
    shutil.rmtree(plugins / "data" / f"{PLUGIN}-{MARKETPLACE}", ignore_errors=True)
    _put_settings_back(config / "settings.json", known)
    for name in _LISTS:
        _forget_us(plugins / name)
    if known is None:
        return
    for name, empty in _LISTS.items():
        path = plugins / name
        if str(path) not in known.files and _object(path) in empty:
            path.unlink()
    made = [plugins, *(plugins / name for name in ("cache", "data", "marketplaces"))]
    remove_empty([each for each in made if str(each) not in known.files])


def _forget_us(path: Path) -> None:
    """Take what is ours out of one of Claude Code's lists, if it still is in there."""
    listed = _object(path)
    if listed is None:
        return
    entries = [listed, listed.get("plugins")]
    ours = [
        each.pop(name, None)
        for each in entries
        if isinstance(each, dict)
        for name in (MARKETPLACE, PLUGIN_ID)
    ]
    if any(each is not None for each in ours):
        write(path, json.dumps(listed, indent=2).encode(), mode_of(path) or 0o600)


def _put_settings_back(path: Path, known: Before | None) -> None:
    settings = _object(path)
    if settings is None:
        return
    had = _decoded(known.settings) if known is not None and known.settings is not None else {}
    for name, ours in ((_PLUGINS, PLUGIN_ID), (_MARKETPLACES, MARKETPLACE)):
        entries = settings.get(name)
        if isinstance(entries, dict):
            entries.pop(ours, None)
            if not entries and name not in (had or {}):
                del settings[name]
    if known is not None and settings == had:
        if known.settings is None:
            path.unlink()
        elif read(path) != known.settings:
            write(path, known.settings, mode_of(path) or 0o600)
    elif settings != _object(path):
        text = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
        write(path, text.encode(), mode_of(path) or 0o600)


def is_registered(config: Path) -> bool:
    """Whether Claude Code knows of the plugin, or of the place it comes from."""
    settings = _object(config / "settings.json") or {}
    named = [
        settings.get(_PLUGINS),
        settings.get(_MARKETPLACES),
        _object(config / "plugins/known_marketplaces.json"),
    ]
    return any(isinstance(each, dict) and {PLUGIN_ID, MARKETPLACE} & set(each) for each in named)


def is_enabled(config: Path) -> bool:
    """Whether the user's settings have the plugin switched on."""
    entries = (_object(config / "settings.json") or {}).get(_PLUGINS)
    return isinstance(entries, dict) and entries.get(PLUGIN_ID) is True


def hooks_are_off(config: Path) -> bool:
    """Whether the user has switched all hooks off, and with them monitors (``disableAllHooks``)."""
    return (_object(config / "settings.json") or {}).get("disableAllHooks") is True


def installed_version(config: Path) -> str | None:
    """The version of the plugin that Claude Code has taken in; None where it has none."""
    listed = (_object(config / "plugins/installed_plugins.json") or {}).get("plugins")
    entry = listed.get(PLUGIN_ID) if isinstance(listed, dict) else None
    found = entry[0] if isinstance(entry, list) and entry else entry
    version = found.get("version") if isinstance(found, dict) else None
    return version if isinstance(version, str) else None


def _object(path: Path) -> dict[str, Any] | None:
    """A JSON object in a file; None where there is none that can be read."""
    return _decoded(read(path) or b"")


def _decoded(content: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
