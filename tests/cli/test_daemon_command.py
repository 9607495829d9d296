"""``trio-relay daemon``: files that systemd and launchd understand, and nothing left behind.

There is no session of systemd in a container, and no launchd on Linux: programs of their names stand on PATH, and note
what they are asked. What they are given is held to the real systemd-analyze, and to plistlib.
"""

import json
import os
import plistlib
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.commands import call
from trio_relay.cli.operating import notify
from trio_relay.cli.operating.services import (
    MARK,
    Wish,
    env_file_of,
    is_ours,
    launchd,
    plist,
    quoted,
    systemd,
    unit,
)
from trio_relay.cli.shared import programs

UNIT = Path(".config/systemd/user/trio-relay.service")
AGENT = Path("Library/LaunchAgents/trio-relay.plist")
FAKE = """#!/bin/sh
echo "${0##*/} $*" >> "$FAKE_LOG"
case "$*" in
  *"show --property"*) echo "ActiveState=active" ; echo "SubState=running" ;;
  "print "*) echo "state = running" ;;
  *"$FAKE_FAILS"*) [ -z "$FAKE_FAILS" ] || { echo "it is broken" >&2; exit 4; } ;;
esac
"""


class Machine:
    """A home with settings, and a PATH with a service manager that notes what it is asked."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.calls_file = home.parent / "calls"

    def calls(self) -> list[str]:
        """What it was asked since the last time."""
        lines = self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        self.calls_file.unlink(missing_ok=True)
        return lines

    def files(self) -> set[str]:
        """Everything there is in the home."""
        return {str(each.relative_to(self.home)) for each in self.home.rglob("*")}


@pytest.fixture
def on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Machine]:
    """Give a machine with these programs on PATH."""

    def machine(*names: str, platform: str = "linux") -> Machine:
        home, bin_ = tmp_path / "a home", tmp_path / "bin"
        home.mkdir()
        bin_.mkdir()
        for name in names:
            (bin_ / name).write_text(FAKE)
            (bin_ / name).chmod(0o755)
        for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "AGENT_RELAY_TOKEN", "AGENT_RELAY_URL"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv("PATH", str(bin_))
        monkeypatch.setenv("FAKE_LOG", str(tmp_path / "calls"))
        monkeypatch.setenv("FAKE_FAILS", "nothing at all")
        monkeypatch.setattr(sys, "platform", platform)
        assert call("setup", "--yes", "--port", "9").exit_code == 0
        return Machine(home)

    return machine


def test_on_systemd_it_is_installed_and_removed_without_a_trace(on: Callable[..., Machine]) -> None:
    machine = on("systemctl")
    before = machine.files()
    done = call("daemon", "install")
    assert (done.exit_code, done.stderr) == (0, "")
    assert machine.calls() == [
        "systemctl --user daemon-reload",
        "systemctl --user enable trio-relay.service",
        "systemctl --user restart trio-relay.service",
    ]
    assert "loginctl enable-linger" in done.stdout
    assert stat.S_IMODE((machine.home / UNIT).stat().st_mode) == 0o644
    assert is_ours((machine.home / UNIT).read_bytes())
    assert call("daemon", "install").exit_code == 0  # again: no error
    machine.calls()

    for verb in ("start", "stop", "restart", "enable", "disable"):
        assert call("daemon", verb).exit_code == 0
        assert machine.calls() == [f"systemctl --user {verb} trio-relay.service"]

    assert call("daemon", "uninstall").exit_code == 0
    assert machine.calls() == [
        "systemctl --user disable --now trio-relay.service",
        "systemctl --user daemon-reload",
        "systemctl --user reset-failed trio-relay.service",
    ]
    assert machine.files() == before
    nothing = call("daemon", "uninstall")
    assert (nothing.exit_code, nothing.stderr, machine.calls()) == (0, "Nothing is installed.\n", [])


def test_on_launchd_too(on: Callable[..., Machine]) -> None:
    machine = on("launchctl", platform="darwin")
    before, target = machine.files(), f"gui/{os.getuid()}/trio-relay"
    assert call("daemon", "install").exit_code == 0
    assert machine.calls() == [
        f"launchctl bootout {target}",
        f"launchctl enable {target}",
        f"launchctl bootstrap gui/{os.getuid()} {machine.home / AGENT}",
    ]
    for verb, asked in (("start", "kickstart"), ("stop", "kill SIGTERM"), ("restart", "kickstart -k")):
        assert call("daemon", verb).exit_code == 0
        assert machine.calls() == [f"launchctl {asked} {target}"]
    assert json.loads(call("daemon", "status", "--json").stdout)["running"] is True
    machine.calls()
    assert call("daemon", "uninstall").exit_code == 0
    assert machine.calls() == [f"launchctl bootout {target}"]
    logs = {str(Path("Library/Logs/trio-relay")), str(Path("Library/Logs")), "Library"}
    assert machine.files() == before | logs


def test_what_was_done_is_told_to_a_script(on: Callable[..., Machine]) -> None:
    machine = on("systemctl")
    where = {"file": str(machine.home / UNIT), "manager": "systemd"}

    def told(*arguments: str) -> Any:
        done = call("daemon", *arguments, "--json")
        assert (done.exit_code, done.stderr) == (0, "")
        return json.loads(done.stdout)

    planned = told("install", "--dry-run")
    assert (planned["done"], (machine.home / UNIT).exists()) == (None, False)
    assert told("install") == {"done": "install", **where}
    assert planned["content"] == (machine.home / UNIT).read_text()
    assert planned["commands"] == machine.calls()
    for verb in ("start", "stop", "restart", "enable", "disable"):
        assert told(verb) == {"done": verb, **where}
    machine.calls()
    planned = told("uninstall", "--dry-run")
    assert (planned["done"], machine.calls()) == (None, [])
    assert told("uninstall") == {"done": "uninstall", **where}
    assert told("uninstall") == {"done": None, **where}


def test_a_dry_run_prints_the_exact_file_and_commands_and_does_nothing(on: Callable[..., Machine]) -> None:
    machine = on("systemctl")
    before = machine.files()
    shown = call("daemon", "install", "--dry-run").stdout
    assert (machine.files(), machine.calls()) == (before, [])
    assert call("daemon", "install").exit_code == 0
    content = (machine.home / UNIT).read_text()
    indented = "".join(f"  {line}\n" for line in content.splitlines())
    assert shown == f"{machine.home / UNIT}:\n\n{indented}\n" + "\n".join(machine.calls()) + "\n"
    dry = call("daemon", "uninstall", "--dry-run").stdout
    assert (dry.splitlines()[0], machine.calls()) == ("systemctl --user disable --now trio-relay.service", [])
    assert (machine.home / UNIT).exists()


def test_a_file_of_others_is_left_alone(on: Callable[..., Machine]) -> None:
    machine = on("systemctl")
    theirs = machine.home / UNIT
    theirs.parent.mkdir(parents=True)
    theirs.write_text("[Service]\nExecStart=/usr/bin/other\n")
    for verb in ("install", "uninstall"):
        refused = call("daemon", verb)
        assert (refused.exit_code, machine.calls()) == (3, [])
        assert "--force" in refused.stderr
    assert theirs.read_text() == "[Service]\nExecStart=/usr/bin/other\n"
    assert call("daemon", "install", "--force").exit_code == 0
    assert MARK in theirs.read_text()


def test_what_fails_half_way_leaves_what_was_there(
    on: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = on("systemctl")
    before = machine.files()
    monkeypatch.setenv("FAKE_FAILS", "restart")
    failed = call("daemon", "install")
    assert (failed.exit_code, failed.stderr.count("\n")) == (1, 1)
    assert "`systemctl --user restart trio-relay.service` failed (4): it is broken" in failed.stderr
    assert "serve --quiet --env-file" in failed.stderr
    assert machine.files() == before


def test_where_there_is_no_service_manager_the_command_is_said(on: Callable[..., Machine]) -> None:
    machine = on()
    refused = call("daemon", "install")
    assert refused.exit_code == 1
    assert (
        f"-m trio_relay serve --quiet --env-file '{machine.home}/.config/trio-relay/relay.env'"
        in refused.stderr
    )


def test_without_settings_setup_comes_first(on: Callable[..., Machine]) -> None:
    machine = on("systemctl")
    shutil.rmtree(machine.home / ".config")
    refused = call("daemon", "install")
    assert (refused.exit_code, machine.calls()) == (2, [])
    assert "setup` first" in refused.stderr
    for verb in ("start", "logs"):
        assert call("daemon", verb).exit_code == 3


def test_a_program_in_a_cache_is_no_service(
    on: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = on("systemctl")
    monkeypatch.setattr(sys, "executable", "/home/u/.cache/uv/archive-v0/x/bin/python")
    refused = call("daemon", "install")
    assert (refused.exit_code, machine.calls()) == (2, [])
    assert "uv tool install trio-relay" in refused.stderr


@pytest.mark.parametrize(
    ("python", "passing"),
    [
        ("/home/u/.local/share/uv/tools/trio-relay/bin/python", False),
        ("/home/u/.local/share/pipx/venvs/trio-relay/bin/python", False),
        ("/home/u/.local/pipx/venvs/trio-relay/bin/python", False),
        ("/home/u/uv/.venv/bin/python", False),
        ("/home/u/.cache/uv/archive-v0/abc/bin/python", True),
        ("/home/u/.cache/pipx/0123/bin/python", True),
        ("/home/u/.local/pipx/.cache/0123/bin/python", True),
    ],
)
def test_environments_that_stay_are_told_from_those_that_do_not(python: str, *, passing: bool) -> None:
    assert programs.is_passing(Path(python)) is passing


def test_the_interpreter_of_the_environment_is_started_and_not_what_it_links_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    link = tmp_path / "python"
    link.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(link))
    assert programs.lasting_command() == [str(link), "-P", "-m", "trio_relay"]


def test_status_says_whether_it_runs_and_answers(on: Callable[..., Machine]) -> None:
    machine = on("systemctl")
    absent = call("daemon", "status")
    assert (absent.exit_code, machine.calls()) == (1, [])
    assert absent.stdout.startswith("service  not installed\n")
    assert call("daemon", "install").exit_code == 0
    deaf = call("daemon", "status")
    assert (deaf.exit_code, deaf.stdout.splitlines()[1]) == (1, "relay    runs, and does not answer yet")
    assert json.loads(call("daemon", "status", "--json").stdout) == {
        "installed": True,
        "running": True,
        "version": None,
        "file": str(machine.home / UNIT),
        "manager": "systemd",
    }


def test_logs_are_the_journal_s_or_the_file_s() -> None:
    wish = Wish(("/x/python",), Path("/x/relay.env"))
    journal = systemd(wish, Path("/home/u/.config"))
    assert journal.logs(5, follow=True) == (
        *("journalctl", "--user", "--unit", "trio-relay.service", "--lines", "5", "-f"),
    )
    assert journal.logs(5, follow=False)[-1] == "--no-pager"
    file = launchd(wish, Path("/Users/u"), 501)
    assert file.logs(5, follow=False) == ("tail", "-n", "5", "/Users/u/Library/Logs/trio-relay/relay.log")


HARD = ["plain", "with space", 'a"b', "a'b", "100%n", "$HOME", "a\\b", "ü", "semi;colon", "# x"]


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """It finds the program, whatever stands in the path, and has nothing to say about the rest."""
    assert shutil.which("systemd-analyze"), ".ci/run installs systemd, which has systemd-analyze"
    for number, name in enumerate(HARD):
        program = tmp_path / str(number) / name / "python"
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        file = tmp_path / str(number) / "trio-relay.service"
        wish = Wish((str(program), "-m", "trio_relay"), tmp_path / name / "relay.env")
        file.write_text(unit(wish))
        checked = subprocess.run(
            ["systemd-analyze", "--user", "verify", str(file)],
            capture_output=True,
            text=True,
            check=False,
            env={"HOME": str(tmp_path), "PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(tmp_path)},
        )
        ours = [line for line in checked.stderr.splitlines() if "trio-relay" in line]
        assert (checked.returncode, ours) == (0, []), checked.stderr


@pytest.mark.parametrize("name", HARD)
def test_the_files_say_where_the_settings_are(name: str) -> None:
    wish = Wish(("/x y/python", "-m", "trio_relay"), Path(f"/etc/{name}/relay.env"))
    assert env_file_of("systemd", unit(wish).encode()) == wish.env_file
    assert env_file_of("launchd", plist(wish, Path("/log"))) == wish.env_file


def test_what_is_no_service_file_names_no_settings() -> None:
    for content in (b"", b"ExecStart=/x", b"<plist", b'ExecStart="', b"\xff"):
        assert env_file_of("systemd", content) is None
        assert env_file_of("launchd", content) is None


def test_words_are_quoted_where_systemd_would_read_them_otherwise() -> None:
    assert [quoted(word) for word in ("/a/b", "/a b", "50%", "$X", "")] == [
        "/a/b",
        '"/a b"',
        '"50%%"',
        '"$$X"',
        '""',
    ]


def test_the_property_list_is_one() -> None:
    content = plist(Wish(("/x y/python", "-m", "trio_relay"), Path("/e&<>/relay.env")), Path("/l/relay.log"))
    assert is_ours(content)
    read = plistlib.loads(content)
    assert read["ProgramArguments"] == [
        *("/x y/python", "-m", "trio_relay", "serve", "--quiet", "--env-file", "/e&<>/relay.env"),
    ]
    assert (read["Label"], read["RunAtLoad"], read["KeepAlive"]) == (
        "trio-relay",
        True,
        {"SuccessfulExit": False},
    )
    assert (read["StandardErrorPath"], read["Umask"]) == ("/l/relay.log", 0o077)


def test_the_manager_is_told_when_it_waits_and_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        for value in ("", "vsock:2:1", str(tmp_path / "nobody")):
            monkeypatch.setenv("NOTIFY_SOCKET", value)
            notify.tell_manager("READY=1")
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        notify.tell_manager("READY=1")
        assert manager.recv(100) == b"READY=1"
