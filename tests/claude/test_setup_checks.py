"""What the doctor says of Claude Code: each fault by its name, with what mends it."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from trio_relay import __version__
from trio_relay.claude.setup.checks import INSTALL, check_claude, check_plugin
from trio_relay.claude.setup.install import Home
from trio_relay.claude.setup.plugin import MARKETPLACE, PLUGIN_ID, marketplace
from trio_relay.claude.setup.registration import Claude


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with the plugin, as Claude Code leaves it, and a program that only says a version."""
    config = tmp_path / ".claude"
    (config / "plugins").mkdir(parents=True)
    settings = {"enabledPlugins": {PLUGIN_ID: True}, "extraKnownMarketplaces": {MARKETPLACE: {}}}
    (config / "settings.json").write_text(json.dumps(settings))
    listed = {"version": 2, "plugins": {PLUGIN_ID: [{"version": __version__}]}}
    (config / "plugins/installed_plugins.json").write_text(json.dumps(listed))
    data = tmp_path / "data"
    for name, content in marketplace(sys.executable, {}).items():
        path = data / "marketplace" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return Home(data, tmp_path / "state", config, sys.executable, {}, says(tmp_path, "2.1.329 (Claude Code)"))


def says(tmp_path: Path, version: str, code: int = 0) -> Claude:
    program = tmp_path / "claude"
    program.write_text(f"#!/bin/sh\necho '{version}'\nexit {code}\n")
    program.chmod(0o755)
    return Claude(str(program), tmp_path / ".claude", {"PATH": "/bin:/usr/bin"})


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_is_well_is_said_in_a_line(home: Home) -> None:
    assert check_plugin(home).ok is True
    found = check_claude(home)
    assert (found.ok, found.detail.endswith("hears messages by a monitor")) == (True, True)


@pytest.mark.parametrize(
    ("said", "code", "expected"),
    [
        ("2.1.197 (Claude Code)", 0, "by its hooks, having no monitors"),
        ("2.0.9 (Claude Code)", 0, "2.0.9 is too old"),
        ("hello", 0, "does not say its version"),
        ("broken", 1, "`claude --version`: broken"),
    ],
)
def test_versions(home: Home, tmp_path: Path, said: str, code: int, expected: str) -> None:
    found = check_claude(replace(home, claude=says(tmp_path, said, code)))
    assert expected in found.detail
    assert (found.fix is None) is (found.ok is True)


def test_a_machine_without_claude_code_is_not_broken(home: Home, tmp_path: Path) -> None:
    none = replace(home, claude=None, config=tmp_path / "nowhere")
    assert [check_claude(none).ok, check_plugin(none).ok] == [None, None]
    assert check_claude(replace(home, claude=None)).ok is False


FAULTS: dict[str, tuple[Callable[[Home], None], str, str]] = {
    "off": (
        lambda home: edit(home.config / "settings.json", enabledPlugins={PLUGIN_ID: False}),
        "switched off",
        "claude plugin enable",
    ),
    "no hooks": (
        lambda home: edit(home.config / "settings.json", disableAllHooks=True),
        "disableAllHooks",
        "remove that line",
    ),
    "older": (
        lambda home: edit(
            home.config / "plugins/installed_plugins.json", plugins={PLUGIN_ID: [{"version": "0.0.1"}]}
        ),
        "has version 0.0.1",
        INSTALL,
    ),
    "not taken in": (
        lambda home: (home.config / "plugins/installed_plugins.json").unlink(),
        "has version None",
        INSTALL,
    ),
    "moved": (
        lambda home: (home.marketplace / "plugins/agent-relay/hooks/hooks.json").unlink(),
        "which is gone",
        INSTALL,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_with_its_fix(home: Home, fault: str) -> None:
    breaks, detail, fix = FAULTS[fault]
    breaks(home)
    found = check_plugin(home)
    assert found.ok is False
    assert detail in found.detail
    assert fix in (found.fix or "")
