"""What `codex-relay` says before it starts anything."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from support.standin_codex import StandInCodex
from trio_relay.cli.codex import codex_tools, start

NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def codex(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandInCodex:
    for name in list(os.environ):
        if name.startswith(("AGENT_RELAY_", "CODEX_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return StandInCodex(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(start, arguments, prog_name="codex-relay")


def test_without_a_relay_it_says_how_to_start_one(codex: StandInCodex) -> None:
    result = run("--headless", "--relay-url", NOWHERE)
    assert result.exit_code == 4
    assert NOWHERE in result.output
    assert "trio-relay serve" in result.output
    assert "--no-relay-check" in result.output
    assert codex.starts() == []


def test_without_codex_it_says_how_to_get_it(codex: StandInCodex) -> None:
    codex.program.unlink()
    result = run("--headless", "--no-relay-check")
    assert result.exit_code == 127
    assert "npm install -g @openai/codex" in result.output


def test_without_a_terminal_it_names_headless(codex: StandInCodex) -> None:
    result = run("--no-relay-check")
    assert result.exit_code == 2
    assert "--headless" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--listen", "ws://0.0.0.0:4501"), "ws://127.0.0.1:PORT"),
        (("--listen", "ws://127.0.0.1:70000"), "ws://127.0.0.1:PORT"),
        (("--headless", "--", "-m", "gpt-5"), "no TUI"),
        (("--headless", "--thread-mode", "resume"), "CODEX_THREAD_ID"),
        (("--", "exec", "do it"), "opens no session"),
        (("--", "--add-dir", "/x"), "--add-dir"),
    ],
)
def test_what_cannot_be_meant_is_refused(codex: StandInCodex, arguments: tuple[str, ...], said: str) -> None:
    result = run("--no-relay-check", *arguments)
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert codex.starts() == []


def test_an_app_server_that_fails_is_told_in_its_own_words(codex: StandInCodex) -> None:
    codex.broken.touch()
    result = run("--no-relay-check", "--headless")
    assert result.exit_code == 1
    assert "Error: something is wrong" in result.output


def test_a_profile_that_is_missing_is_said(codex: StandInCodex) -> None:
    codex.broken.touch()
    result = run("--no-relay-check", "--headless", "--profile", "nobody")
    assert "profile 'nobody'" in result.output
    assert "profiles.json" in result.output


def test_the_older_program_starts_it_too() -> None:
    result = CliRunner().invoke(codex_tools, ["start", "--help"])
    assert "--headless" in result.output
