"""The wheel as a user installs it: in an environment of its own, with an empty home, away from the sources."""

import json
import os
import subprocess
from pathlib import Path
from urllib.request import urlopen

import pytest

import trio_relay
from support.commands import clean_environment, serving_relay

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src" / "trio_relay"


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter of the environment that holds the wheel."""
    wanted = Path(os.environ.get("TRIO_RELAY_TEST_WHEEL", ROOT / ".tools" / "wheel" / "bin" / "python"))
    if not wanted.exists():
        pytest.fail(
            f"there is no {wanted}: scripts/test builds the wheel and installs it there", pytrace=False
        )
    return wanted


@pytest.fixture(scope="module")
def installed(python: Path) -> Path:
    """Where the wheel's package lies."""
    code = "import trio_relay, pathlib; print(pathlib.Path(trio_relay.__file__).parent)"
    return Path(run(python, "-c", code, cwd=Path("/")).strip())


def run(program: Path, *arguments: str, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run([program, *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def files_of(package: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(package)): file.read_bytes()
        for file in package.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def test_it_holds_the_whole_package_and_nothing_of_the_sources_is_imported(installed: Path) -> None:
    assert SOURCES not in [installed, *installed.parents]
    found, expected = files_of(installed), files_of(SOURCES)
    for beside in ("profiles", "skills", "docs"):
        expected |= {f"{beside}/{name}": content for name, content in files_of(ROOT / beside).items()}
    assert sorted(found) == sorted(expected)
    stale = [name for name in expected if found[name] != expected[name]]
    assert stale == [], "the wheel is not of these sources: scripts/test builds it anew"


@pytest.mark.parametrize("program", ["trio-relay", "agent-relay", "codex-relay", "agent-relay-codex"])
def test_every_program_is_there(python: Path, tmp_path: Path, program: str) -> None:
    env = clean_environment(tmp_path)
    assert (
        run(python.with_name(program), "--version", cwd=tmp_path, env=env).split()[-1]
        == trio_relay.__version__
    )
    assert run(python.with_name(program), "--help", cwd=tmp_path, env=env).startswith(f"Usage: {program} ")


def test_what_is_shipped_beside_the_code_is_found(python: Path, tmp_path: Path) -> None:
    env = clean_environment(tmp_path)
    shown = run(python.with_name("trio-relay"), "profile", "show", "reviewer", cwd=tmp_path, env=env)
    assert shown.startswith("reviewer, of ")
    code = "from trio_relay.home.skills import skill_files; print(*skill_files())"
    assert "pair/SKILL.md" in run(python, "-c", code, cwd=tmp_path, env=env).split()


def test_a_message_goes_through_a_relay_of_the_wheel(python: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    env = clean_environment(home)
    with serving_relay(env=env, cwd=elsewhere, python=str(python)) as relay:
        with urlopen(f"{relay.url}/healthz") as answer:
            assert json.load(answer) == {"status": "ok", "version": trio_relay.__version__}
        here = env | {"AGENT_RELAY_URL": relay.url}
        program = python.with_name("trio-relay")
        run(program, "send", "tag:anyone", "this opens a mailbox", "--from", "me", cwd=elsewhere, env=here)
        run(program, "send", "me", "it works", "--from", "you", cwd=elsewhere, env=here)
        [message] = json.loads(run(program, "inbox", "--agent", "me", "--json", cwd=elsewhere, env=here))
        assert relay.stop() == 0
    assert (message["from"], message["body"]) == ("you", "it works")
    assert [file.name for file in elsewhere.iterdir()] == ["serve.log"]


def test_it_installs_itself_into_a_home_and_out_of_it(python: Path, tmp_path: Path) -> None:
    env = clean_environment(tmp_path, PATH="/usr/bin:/bin", SHELL="/bin/bash")
    program = python.with_name("trio-relay")
    said = run(program, "install", "codex", "--alias", cwd=tmp_path, env=env)
    assert "Installed." in said
    shim = tmp_path / ".local/bin/codex-relay"
    assert run(shim, "--version", cwd=tmp_path, env=env).split()[-1] == trio_relay.__version__
    run(tmp_path / ".local/bin/agent-relay-codex", "uninstall", "--purge", cwd=tmp_path, env=env)
    assert list(tmp_path.iterdir()) == []


def test_what_it_gives_to_other_peoples_tests_works_without_what_ours_need(
    python: Path, tmp_path: Path
) -> None:
    program = """
import sys
from trio_relay.client.sync import connect
from trio_relay.testing import serve_relay

with serve_relay() as served, connect(served.url) as relay, relay.agent("ann"):
    print([agent.id for agent in relay.agents()])
assert not {"pytest", "hypothesis"} & set(sys.modules)
"""
    env = clean_environment(tmp_path)
    assert run(python, "-c", program, cwd=tmp_path, env=env) == "['ann']\n"
