"""The one-line installers and `start-live.sh`: which tool installs what, and what runs then."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts/install-codex.sh"

#: Says how it is called; as ``python3`` it can also make an environment.
_STUB = """#!/bin/sh
case "$1" in -c) exit 0;; esac
echo "$(basename "$0") $*" >> "$CALLS"
case "$*" in
  "tool dir --bin" | "environment --value PIPX_BIN_DIR") echo "$PROGRAMS";;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && cp "$0" "$3/bin/trio-relay";;
esac
"""


class Machine:
    """A machine with some of the tools."""

    def __init__(self, path: Path, tools: list[str]) -> None:
        self.path = path
        self.calls = path / "calls"
        self.programs = path / "programs"
        bin_directory = path / "bin"
        for directory in (bin_directory, self.programs):
            directory.mkdir()
        for place in [*(bin_directory / tool for tool in tools), self.programs / "trio-relay"]:
            place.write_text(_STUB)
            place.chmod(0o755)
        for tool in ("sh", "dirname", "basename", "grep", "mkdir", "cp", "cat"):
            (bin_directory / tool).symlink_to(shutil.which(tool) or tool)
        self.env = {
            "HOME": str(path),
            "PATH": str(bin_directory),
            "CALLS": str(self.calls),
            "PROGRAMS": str(self.programs),
        }

    def run(self, script: Path, *arguments: str, **more: str) -> list[str]:
        done = subprocess.run(
            ["/bin/sh", script, *arguments],
            env=self.env | more,
            cwd=self.path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return self.calls.read_text().splitlines()


@pytest.mark.parametrize(
    ("tools", "expected"),
    [
        (
            ["uv", "pipx", "python3"],
            [f"uv tool install --quiet --force --python >=3.11 {ROOT}", "uv tool dir --bin"],
        ),
        (
            ["pipx", "python3"],
            [f"pipx install --quiet --force {ROOT}", "pipx environment --value PIPX_BIN_DIR"],
        ),
        (
            ["python3"],
            [
                "python3 -m venv HOME/.local/share/trio-relay/venv",
                f"python -m pip install -qq --disable-pip-version-check --upgrade {ROOT}",
            ],
        ),
    ],
    ids=["uv", "pipx", "pip"],
)
def test_the_best_tool_there_is_installs_the_checkout(
    tmp_path: Path, tools: list[str], expected: list[str]
) -> None:
    calls = Machine(tmp_path, tools).run(SCRIPT, "--alias")
    expected = [line.replace("HOME", str(tmp_path)) for line in expected]
    assert calls == [*expected, "trio-relay install codex --alias"]


def test_alone_it_installs_the_release(tmp_path: Path) -> None:
    alone = tmp_path / "elsewhere/install-codex.sh"
    alone.parent.mkdir()
    shutil.copy(SCRIPT, alone)
    assert Machine(tmp_path, ["uv"]).run(alone)[0].endswith(" trio-relay")


def test_another_source_can_be_named(tmp_path: Path) -> None:
    calls = Machine(tmp_path, ["uv"]).run(SCRIPT, TRIO_RELAY_SOURCE="trio-relay==0.1.0")
    assert calls[0].endswith(" trio-relay==0.1.0")


def test_without_any_of_them_it_says_what_is_missing(tmp_path: Path) -> None:
    machine = Machine(tmp_path, [])
    done = subprocess.run(
        ["/bin/sh", SCRIPT], env=machine.env, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Python 3.11" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["ws://127.0.0.1:4501"]])
def test_start_live_runs_the_sidecar_where_it_is_called(tmp_path: Path, arguments: list[str]) -> None:
    root = tmp_path / "checkout"
    (root / "scripts").mkdir(parents=True)
    (root / ".venv/bin").mkdir(parents=True)
    shutil.copy(ROOT / "scripts/start-live.sh", root / "scripts")
    (root / "scripts/environment.sh").write_text("ensure_environment() { test -d scripts; }\n")
    python = root / ".venv/bin/python"
    python.write_text('#!/bin/sh\necho "$*" "$CODEX_APP_SERVER_URL" "$PWD"\n')
    python.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", root / "scripts/start-live.sh", *arguments],
        env={"PATH": os.environ["PATH"], "CODEX_APP_SERVER_URL": "unix:///of/the/environment"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    url = arguments[0] if arguments else "unix:///of/the/environment"
    assert done.stdout == f"-P -m trio_relay sidecar codex {url} {tmp_path}\n"
