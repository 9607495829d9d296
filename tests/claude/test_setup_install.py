"""Installing into Claude Code and taking everything out again; Claude Code's own commands are its own."""

import json
import re
import stat
import sys
from pathlib import Path

import pytest

from support.claude import claude_program
from support.commands import clean_environment
from trio_relay import __version__
from trio_relay.claude.setup.install import Home, plan_install, plan_uninstall
from trio_relay.claude.setup.plugin import PLUGIN_ID
from trio_relay.claude.setup.registration import Claude, installed_version, is_enabled
from trio_relay.errors import Conflict, NotFound, RelayError
from trio_relay.home.skills import skill_files

#: What Claude Code keeps of itself whenever it runs, plugin or no plugin.
_OWN = re.compile(r"\.claude/(\.claude\.json(\..*)?|backups(/.*)?)|\.cache(/.*)?|\.local|\.local/share")

OWNERS = {
    "none": None,
    "their own layout": b'{\n    "permissions": {"defaultMode": "default"},\n\n  "model": "opus"}',
    "other plugins": b'{"enabledPlugins": {"a@b": false}, "extraKnownMarketplaces": {}}\n',
}


def home_with_claude(path: Path) -> Home:
    path.mkdir()
    config = path / ".claude"
    config.mkdir()
    environment = clean_environment(path) | {
        "CLAUDE_CONFIG_DIR": str(config),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
    }
    return Home(
        data=path / ".local/share/trio-relay/claude",
        state=path / ".local/state/trio-relay/claude",
        config=config,
        python=sys.executable,
        skills=skill_files(),
        claude=Claude(claude_program(), config, environment),
    )


def everything_in(home: Path) -> dict[str, tuple[str, bytes]]:
    return {
        str(path.relative_to(home)): (
            stat.filemode(path.lstat().st_mode),
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(home.rglob("*"))
        if not _OWN.fullmatch(str(path.relative_to(home)))
    }


@pytest.mark.parametrize("settings", OWNERS.values(), ids=list(OWNERS))
def test_install_and_uninstall_leave_the_home_as_it_was(tmp_path: Path, settings: bytes | None) -> None:
    home = home_with_claude(tmp_path / "home")
    file = home.config / "settings.json"
    if settings is not None:
        file.write_bytes(settings)
        file.chmod(0o640)
    before = everything_in(tmp_path / "home")

    plan_install(home).take()
    assert is_enabled(home.config)
    assert installed_version(home.config) == __version__
    had = json.loads(settings or b"{}")
    kept = json.loads(file.read_text())
    assert had.get("enabledPlugins", {}).items() <= kept.pop("enabledPlugins").items()
    del kept["extraKnownMarketplaces"]
    assert kept == {name: value for name, value in had.items() if name in kept}
    installed = everything_in(tmp_path / "home")
    plan_install(home).take()
    assert sorted(everything_in(tmp_path / "home")) == sorted(installed)

    plan_uninstall(home, purge=False).take()
    assert everything_in(tmp_path / "home") == before
    assert plan_uninstall(home, purge=True).steps == []


def test_claude_code_finds_every_part_of_the_plugin(tmp_path: Path) -> None:
    """It says nothing of a monitors.json it cannot read but that the list of what is provided is shorter."""
    home = home_with_claude(tmp_path / "home")
    plan_install(home).take()
    assert home.claude is not None
    plugin = home.marketplace / "plugins/agent-relay"
    said = home.claude.run("plugin", "validate", str(plugin))
    assert "✔ Validation passed" in said
    for part in (
        'monitors: agent-relay "exec ',
        "mcpServers: trio_relay stdio",
        "skills: agent-relay:pair",
        "bin: trio-relay",
        "hooks: SessionStart",
        "hooks: PermissionRequest",
    ):
        assert part in said
    [listed] = json.loads(home.claude.run("plugin", "list", "--json"))
    assert (listed["id"], listed["enabled"]) == (PLUGIN_ID, True)


def test_what_the_owner_changed_between_stays(tmp_path: Path) -> None:
    home = home_with_claude(tmp_path / "home")
    file = home.config / "settings.json"
    file.write_text('{"model": "opus"}')
    plan_install(home).take()
    settings = json.loads(file.read_text())
    file.write_text(json.dumps(settings | {"model": "sonnet"}))
    plan_uninstall(home, purge=False).take()
    assert json.loads(file.read_text()) == {"model": "sonnet"}


def test_without_claude_code_what_it_left_is_taken_out_all_the_same(tmp_path: Path) -> None:
    home = home_with_claude(tmp_path / "home")
    before = everything_in(tmp_path / "home")
    plan_install(home).take()
    gone = Home(home.data, home.state, home.config, home.python, home.skills, None)
    with pytest.raises(NotFound, match="no `claude` on PATH"):
        plan_install(gone)
    plan_uninstall(gone, purge=False).take()
    assert everything_in(tmp_path / "home") == before


def test_a_session_that_runs_keeps_its_state(tmp_path: Path) -> None:
    home = home_with_claude(tmp_path / "home")
    home.state.mkdir(parents=True)
    (home.state / "1.json").write_text("{}")
    with pytest.raises(Conflict, match="still running"):
        plan_uninstall(home, purge=True)
    (home.state / "1.json").rename(home.state / "4194305.json")
    plan_uninstall(home, purge=True).take()
    assert not home.state.exists()


def test_a_damaged_record_is_said_and_nothing_done(tmp_path: Path) -> None:
    home = home_with_claude(tmp_path / "home")
    home.data.mkdir(parents=True)
    home.record.write_text("{")
    with pytest.raises(RelayError, match="is damaged"):
        plan_uninstall(home, purge=False)
