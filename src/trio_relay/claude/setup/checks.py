"""What can be wrong with the plugin in Claude Code on this machine, and what mends it. Nothing is changed."""

import json
import re
import shlex
import shutil
from pathlib import Path

from trio_relay import __version__
from trio_relay.claude.hook_client import MONITORS_SINCE
from trio_relay.claude.setup.install import Home
from trio_relay.claude.setup.plugin import PLUGIN, PLUGIN_ID
from trio_relay.claude.setup.registration import (
    ClaudeFailed,
    hooks_are_off,
    installed_version,
    is_enabled,
    is_registered,
)
from trio_relay.home.files import read
from trio_relay.home.finding import Finding

INSTALL = "trio-relay install claude"
#: The oldest Claude Code this was tried with.
OLDEST = (2, 1, 197)
_NEWEST = "npm install -g @anthropic-ai/claude-code@latest"
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")


def claude_findings(home: Home) -> list[Finding]:
    """Look at Claude Code, and at the plugin in it."""
    return [check_claude(home), check_plugin(home)]


def check_claude(home: Home) -> Finding:
    """Whether there is a Claude Code that we know; a machine may well have none."""
    if home.claude is None:
        if not is_registered(home.config):
            return Finding("claude", None, "there is no `claude` on PATH")
        return Finding("claude", False, "it has the plugin, and there is no `claude` on PATH", _NEWEST)
    program = home.claude.program
    try:
        said = home.claude.run("--version")
    except ClaudeFailed as problem:
        return Finding("claude", False, problem.detail, _NEWEST)
    found = _VERSION.search(said)
    if found is None:
        return Finding("claude", False, f"{program} does not say its version but {said[:80]!r}", _NEWEST)
    version = tuple(map(int, found.groups()))
    if version < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        return Finding("claude", False, f"{found[0]} is too old: {oldest} is the oldest that works", _NEWEST)
    way = "a monitor" if version >= MONITORS_SINCE else "its hooks, having no monitors"
    return Finding("claude", True, f"{found[0]} at {program}; hears messages by {way}")


def check_plugin(home: Home) -> Finding:
    """Whether the plugin is there, switched on, and of this installation."""
    if not is_registered(home.config):
        return Finding("cc-plugin", None, f"not installed ({INSTALL}): its sessions hear nothing")
    settings = home.config / "settings.json"
    version = installed_version(home.config)
    if version != __version__:
        return Finding(
            "cc-plugin", False, f"Claude Code has version {version}, this is {__version__}", INSTALL
        )
    if not is_enabled(home.config):
        fix = f"claude plugin enable {PLUGIN_ID}"
        return Finding("cc-plugin", False, f"it is switched off in {settings}", fix)
    if hooks_are_off(home.config):
        detail = f"disableAllHooks in {settings} switches hooks and monitors off"
        return Finding("cc-plugin", False, detail, "remove that line")
    program = _program(home.marketplace)
    if program is None or shutil.which(program) is None:
        return Finding("cc-plugin", False, f"it starts {program or 'nothing'}, which is gone", INSTALL)
    return Finding("cc-plugin", True, f"{PLUGIN_ID} {version}")


def _program(marketplace: Path) -> str | None:
    """The program the plugin's hooks start."""
    try:
        described = json.loads(read(marketplace / f"plugins/{PLUGIN}/hooks/hooks.json") or b"")
        return shlex.split(described["hooks"]["SessionStart"][0]["hooks"][0]["command"])[0]
    except (ValueError, KeyError, IndexError, TypeError):
        return None
