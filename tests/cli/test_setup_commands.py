"""`install`, `uninstall` and `alias` as they are called: what they say, and what they leave undone."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from support.codex_setup import everything_in
from support.commands import call, clean_environment
from trio_relay.cli.codex import codex_tools


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A home without Codex, whose shell is bash."""
    for name in (
        "AGENT_RELAY_CODEX_ALIAS",
        "CODEX_HOME",
        "XDG_DATA_HOME",
        "XDG_STATE_HOME",
        "XDG_CONFIG_HOME",
    ):
        monkeypatch.delenv(name, raising=False)
    return clean_environment(tmp_path, SHELL="/bin/bash", PATH="/usr/bin:/bin")


def codex_tools_call(*arguments: str, env: dict[str, str]) -> Result:
    return CliRunner().invoke(codex_tools, arguments, env=env, prog_name="agent-relay-codex")


def test_a_dry_run_names_everything_and_does_nothing(env: dict[str, str], tmp_path: Path) -> None:
    done = call("install", "codex", "--alias", "--dry-run", env=env)
    assert done.exit_code == 0
    assert f"write {tmp_path}/.local/bin/codex-relay: starts " in done.stdout
    assert f"add to {tmp_path}/.bashrc: " in done.stdout
    assert "Nothing was changed" in done.stdout
    assert everything_in(tmp_path) == {}


@pytest.mark.parametrize("entrance", ["trio-relay", "agent-relay-codex"])
def test_both_entrances_lead_to_the_same(env: dict[str, str], tmp_path: Path, entrance: str) -> None:
    if entrance == "trio-relay":
        done, again = call("install", "codex", env=env), call("install", "codex", env=env)
        gone = call("uninstall", "codex", env=env)
    else:
        done, again = codex_tools_call("install", env=env), codex_tools_call("install", env=env)
        gone = codex_tools_call("uninstall", env=env)
    assert "Installed." in done.stdout
    assert "there is no `codex` on PATH" in done.stdout
    assert f'export PATH="{tmp_path}/.local/bin:$PATH"' in done.stdout
    assert "Everything is in place." in again.stdout
    assert "Uninstalled." in gone.stdout
    assert "uninstall trio-relay" in gone.stdout
    assert everything_in(tmp_path) == {}


def test_what_was_changed_is_told_to_a_script(env: dict[str, str], tmp_path: Path) -> None:
    def told(*arguments: str) -> Any:
        done = call(*arguments, "--json", env=env)
        assert (done.exit_code, done.stderr) == (0, "")
        return json.loads(done.stdout)

    planned = told("install", "codex", "--dry-run")
    assert (planned["changed"], everything_in(tmp_path)) == (False, {})
    assert told("install", "codex") == {**planned, "changed": True}
    assert "there is no `codex` on PATH" in planned["notes"][0]
    assert told("install", "codex")["changed"] is False
    assert told("uninstall", "codex")["changed"] is True
    assert told("uninstall", "codex") == {"changed": False, "steps": [], "notes": []}
    assert told("uninstall", "claude") == {"changed": False, "steps": [], "notes": []}
    assert everything_in(tmp_path) == {}


def test_the_alias_question_can_be_answered_beforehand(env: dict[str, str], tmp_path: Path) -> None:
    call("install", "codex", env=env | {"AGENT_RELAY_CODEX_ALIAS": "1"})
    assert "alias codex=" in (tmp_path / ".bashrc").read_text()
    assert "Removed" in codex_tools_call("alias", "remove", env=env).stdout
    assert not (tmp_path / ".bashrc").exists()
    assert "There is no alias." in codex_tools_call("alias", "remove", env=env).stdout


def test_an_alias_goes_where_the_shell_reads_it(env: dict[str, str], tmp_path: Path) -> None:
    assert codex_tools_call("alias", "install", env=env | {"SHELL": "/usr/bin/fish"}).exit_code == 0
    assert (tmp_path / ".config/fish/config.fish").exists()
    again = codex_tools_call("alias", "install", "--shell", "fish", env=env)
    assert "there already" in again.stdout
    zsh = env | {"SHELL": "/bin/zsh", "ZDOTDIR": str(tmp_path / "zsh")}
    assert codex_tools_call("alias", "install", env=zsh).exit_code == 0
    assert (tmp_path / "zsh/.zshrc").exists()


def test_a_shell_we_do_not_know_is_refused_before_anything_is_done(
    env: dict[str, str], tmp_path: Path
) -> None:
    done = call("install", "codex", "--alias", env=env | {"SHELL": "/bin/tcsh"})
    assert done.exit_code == 2
    assert "'tcsh'" in done.stderr
    assert everything_in(tmp_path) == {}


def test_what_is_in_the_way_is_named(env: dict[str, str], tmp_path: Path) -> None:
    mine = tmp_path / ".local/bin/agent-relay"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine\n")
    done = call("install", "codex", env=env)
    assert done.exit_code == 3
    assert str(mine) in done.stderr
    assert "--force" in done.stderr
    assert mine.read_text() == "mine\n"


def test_a_home_that_cannot_be_written_is_said_in_one_line(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".local").write_text("a file\n")
    done = call("install", "codex", env=env)
    assert done.exit_code == 1
    assert str(tmp_path / ".local") in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_codex_refuses_leaves_the_programs_and_says_what_to_do(
    env: dict[str, str], tmp_path: Path
) -> None:
    codex = tmp_path / "bin/codex"
    codex.parent.mkdir()
    codex.write_text("#!/bin/sh\necho 'Error: not today' >&2\nexit 1\n")
    codex.chmod(0o755)
    done = call("install", "codex", env=env | {"PATH": f"{codex.parent}:/usr/bin:/bin"})
    assert done.exit_code == 1
    assert "not today" in done.stderr
    assert "--no-plugin" in done.stderr
    assert (tmp_path / ".local/bin/codex-relay").exists()
    assert "Installed." in call("install", "codex", "--no-plugin", "--alias", env=env).stdout
