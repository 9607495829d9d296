"""Installing into a home and taking everything out again; Codex's own commands are Codex's own."""

import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from support.codex_setup import VERSIONS, everything_in, home_in, home_with_codex
from support.commands import clean_environment
from trio_relay import __version__
from trio_relay.codex.run_directory import run_directory
from trio_relay.codex.setup.alias import shell_of
from trio_relay.codex.setup.config_entries import PLUGIN_ID
from trio_relay.codex.setup.install import Home, Wishes, plan_install, plan_uninstall, take_out
from trio_relay.codex.setup.plugin import installed_version
from trio_relay.codex.setup.record import load
from trio_relay.codex.setup.registration import Codex, CodexFailed
from trio_relay.errors import Conflict, RelayError

pytestmark = pytest.mark.codex

OWNERS = {
    "none": None,
    "comments": b'# mine\n\nmodel = "x"   # trailing\n\n[projects."/a"]  # p\ntrust_level   =  \'trusted\'\n# the end\n\n',
    "last line without an end": b"# c\n[tui]\ntheme = 'x'",
    "windows": b'# c\r\nmodel = "x"\r\n\r\n[projects."/a"]\r\ntrust_level = "trusted"\r\n',
    "inline, which Codex breaks": b'# c\nplugins = { "a@b" = { enabled = false } } # inline\n\n[tui]\n',
}


def install(home: Home, wishes: Wishes | None = None) -> None:
    plan_install(home, wishes or Wishes()).take()


def uninstall(home: Home, *, purge: bool = False) -> None:
    take_out(plan_uninstall(home, purge=purge))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("config", OWNERS.values(), ids=list(OWNERS))
def test_install_and_uninstall_leave_the_home_as_it_was(
    tmp_path: Path, config: bytes | None, version: str | None
) -> None:
    home = home_with_codex(tmp_path / "home", version)
    file = home.codex_home / "config.toml"
    if config is not None:
        home.codex_home.mkdir()
        file.write_bytes(config)
        file.chmod(0o640)
    (tmp_path / "home/.bashrc").write_bytes(b"export A=1")
    before = everything_in(tmp_path / "home")
    wishes = Wishes(alias=shell_of("bash", home=tmp_path / "home"))

    install(home, wishes)
    first = everything_in(tmp_path / "home")
    install(home, wishes)
    assert sorted(everything_in(tmp_path / "home")) == sorted(first)
    assert tomllib.loads(file.read_text())["plugins"][PLUGIN_ID] == {"enabled": True}
    if config is not None and b"inline" not in config:
        assert file.read_bytes().startswith(config)
        assert file.stat().st_mode & 0o777 == 0o640
    assert installed_version(home.codex_home) == __version__

    uninstall(home)
    after = everything_in(tmp_path / "home")
    if config is None:
        after.pop(".codex", None)  # there stays what Codex keeps, if it ran (0.130)
    assert after == before
    assert plan_uninstall(home, purge=True).steps == []


def test_what_the_owner_and_codex_write_between_stays(tmp_path: Path) -> None:
    home = home_with_codex(tmp_path / "home")
    file = home.codex_home / "config.toml"
    home.codex_home.mkdir()
    file.write_text('# mine\nmodel = "x"\n')
    install(home)
    file.write_text(
        "# new first line\n" + file.read_text() + '\n[projects."/b"]  # from Codex\ntrust_level = "trusted"\n'
    )
    uninstall(home)
    assert file.read_text() == (
        '# new first line\n# mine\nmodel = "x"\n\n[projects."/b"]  # from Codex\ntrust_level = "trusted"\n'
    )


def test_it_is_taken_out_of_the_codex_home_it_was_put_into(tmp_path: Path) -> None:
    home = home_with_codex(tmp_path / "home")
    other = tmp_path / "home/other-codex"
    other.mkdir()
    install(home.with_codex_home(other))
    assert installed_version(other) == __version__
    uninstall(home)
    assert list(everything_in(tmp_path / "home")) == ["other-codex"]


def test_a_linked_config_stays_a_link(tmp_path: Path) -> None:
    home = home_with_codex(tmp_path / "home")
    dotfile = tmp_path / "dotfiles/codex.toml"
    dotfile.parent.mkdir()
    dotfile.write_bytes(b"# mine\r\n")
    home.codex_home.mkdir()
    (home.codex_home / "config.toml").symlink_to(dotfile)
    install(home)
    assert (home.codex_home / "config.toml").is_symlink()
    assert dotfile.read_bytes().startswith(b"# mine\r\n\r\n[")
    uninstall(home)
    assert (home.codex_home / "config.toml").is_symlink()
    assert dotfile.read_bytes() == b"# mine\r\n"


def test_a_plan_changes_nothing_and_names_every_file_and_command(tmp_path: Path) -> None:
    home = home_with_codex(tmp_path / "home")
    lines = plan_install(home, Wishes(hooks=True, alias=shell_of("zsh", home=tmp_path / "home"))).lines()
    assert everything_in(tmp_path / "home") == {}
    said = "\n".join(lines)
    assert f"run {home.codex.program if home.codex else ''} plugin add {PLUGIN_ID}" in said
    assert f"add to {tmp_path}/home/.zshrc: " in said
    install(home, Wishes(hooks=True))
    written = [path for path in (tmp_path / "home/.local").rglob("*") if path.is_file()]
    assert sorted(str(path) for path in written if path != home.record) == sorted(
        line.removeprefix("write ").partition(": ")[0] for line in lines if line.startswith("write ")
    )
    uninstall(home)


def test_the_programs_start_this_installation(tmp_path: Path) -> None:
    home = home_in(tmp_path / "home")
    install(home)
    for name in ("codex-relay", "agent-relay-codex", "trio-relay", "agent-relay"):
        done = subprocess.run(
            [home.bin / name, "--version"],
            env=clean_environment(tmp_path),
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split()[-1] == __version__


def test_what_is_not_ours_is_not_touched_without_force(tmp_path: Path) -> None:
    home = home_in(tmp_path / "home")
    home.bin.mkdir(parents=True)
    (home.bin / "trio-relay").write_text("somebody else's\n")
    before = everything_in(tmp_path / "home")
    with pytest.raises(Conflict, match="--force"):
        plan_install(home, Wishes())
    assert everything_in(tmp_path / "home") == before
    install(home, Wishes(force=True))
    assert "somebody" not in (home.bin / "trio-relay").read_text()
    uninstall(home)
    assert everything_in(tmp_path / "home") == before


def test_a_link_that_uv_or_pipx_made_is_left_to_them(tmp_path: Path) -> None:
    home = home_in(tmp_path / "home")
    home.bin.mkdir(parents=True)
    (home.bin / "codex-relay").symlink_to(home.scripts / "codex-relay")
    before = everything_in(tmp_path / "home")
    install(home)
    assert (home.bin / "codex-relay").is_symlink()
    uninstall(home)
    assert everything_in(tmp_path / "home") == before


def test_a_newer_version_takes_the_place_of_an_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = home_with_codex(tmp_path / "home")
    with monkeypatch.context() as older:
        older.setattr("trio_relay.codex.setup.plugin.__version__", "0.0.1")
        install(replace(home, scripts=Path("/an/older/environment")))
    assert installed_version(home.codex_home) == "0.0.1"
    install(home)
    assert installed_version(home.codex_home) == __version__
    assert str(home.scripts) in (home.bin / "codex-relay").read_text()


def test_what_codex_refuses_is_said_in_its_words_and_undone(tmp_path: Path) -> None:
    home = home_with_codex(tmp_path / "home")
    home.codex_home.mkdir()
    config = home.codex_home / "config.toml"
    config.write_text("model = = 'x'\n")
    with pytest.raises(CodexFailed, match=r"config\.toml"):
        install(home)
    assert config.read_text() == "model = = 'x'\n"
    uninstall(home)
    assert list(everything_in(tmp_path / "home")) == [".codex", ".codex/config.toml"]


def test_plugins_that_are_switched_off_are_named(tmp_path: Path) -> None:
    home = home_with_codex(tmp_path / "home")
    home.codex_home.mkdir()
    config = home.codex_home / "config.toml"
    config.write_text("[features]\nplugins = false\n")
    wishes = Wishes(alias=shell_of("bash", home=tmp_path / "home"))
    with pytest.raises(CodexFailed, match="switched off"):
        install(home, wishes)
    assert config.read_text() == "[features]\nplugins = false\n"
    assert (home.bin / "codex-relay").exists()
    assert (tmp_path / "home/.bashrc").exists()


def test_uninstalling_needs_no_codex_and_no_record(tmp_path: Path) -> None:
    home = home_with_codex(tmp_path / "home")
    home.codex_home.mkdir()
    config = home.codex_home / "config.toml"
    config.write_text("# mine\n")
    install(home, Wishes(alias=shell_of("fish", home=tmp_path / "home")))
    home.record.unlink()
    uninstall(replace(home, codex=None))
    left = {
        path: content for path, (mode, content) in everything_in(tmp_path / "home").items() if mode[0] == "-"
    }
    assert left == {".codex/config.toml": b"# mine\n", ".config/fish/config.fish": b""}


def test_a_damaged_record_is_said(tmp_path: Path) -> None:
    home = home_in(tmp_path / "home")
    install(home)
    home.record.write_text("{")
    with pytest.raises(RelayError, match=r"installed\.json is damaged"):
        plan_uninstall(home, purge=False)


def test_purge_removes_what_sessions_left_and_nothing_else(tmp_path: Path) -> None:
    home = home_in(tmp_path / "home")
    install(home)
    with run_directory(home.state / "runs"):
        with pytest.raises(Conflict, match="codex-relay"):
            plan_uninstall(home, purge=True)
        plan_uninstall(home, purge=False)
    (home.state / "relay.log").touch()
    uninstall(home, purge=True)
    assert everything_in(tmp_path / "home") == {}


def test_purge_spares_the_relays_messages_where_state_and_data_are_one_place(tmp_path: Path) -> None:
    home = home_in(tmp_path / "home")
    home = replace(home, state=home.data.parent)  # macOS
    install(home)
    (home.state / "runs").mkdir()
    (home.state / "relay.db").write_bytes(b"messages")
    uninstall(home, purge=True)
    assert [path.name for path in home.state.iterdir()] == ["relay.db"]


def test_everything_we_write_is_for_the_user_alone(tmp_path: Path) -> None:
    home = home_with_codex(tmp_path / "home")
    install(home)
    assert load(home.record).version == __version__
    ours = [path for path in home.data.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in ours} == {0o600}


def test_a_codex_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "codex"
    program.write_text("#!/bin/sh\nexec sleep 1000\n")
    program.chmod(0o755)
    monkeypatch.setattr("trio_relay.codex.setup.registration._PATIENCE", 0.01)
    with pytest.raises(CodexFailed, match="no answer"):
        Codex(str(program), tmp_path, clean_environment(tmp_path)).run("plugin", "list")
