"""Before Codex starts: a relay is offered where none answers, versions that differ are said, and what is Codex's is left to it."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from support.canned_http import http_server
from support.commands import clean_environment
from support.ports import own_port
from support.tmux import terminal
from trio_relay import __version__
from trio_relay.cli.sessions.preflight import differences
from trio_relay.client.http import RelayClient

CODEX_RELAY = (sys.executable, "-c", "from trio_relay.cli.codex import main; main()")
_CODEX = '#!/bin/sh\necho "codex: $*"\ncase $* in *--listen*) exit 9;; esac\n'


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A home with something that says how it is called in Codex's place, and a relay's address where none is."""
    program = tmp_path / "bin/codex"
    program.parent.mkdir()
    program.write_text(_CODEX)
    program.chmod(0o755)
    return clean_environment(
        tmp_path,
        AGENT_RELAY_URL=f"http://127.0.0.1:{own_port()}",
        PATH=f"{program.parent}:{os.environ['PATH']}",
        TERM="xterm-256color",
    )


async def test_a_relay_is_started_for_who_wants_one(env: dict[str, str], tmp_path: Path) -> None:
    async with terminal([*CODEX_RELAY], env=env, cwd=tmp_path) as screen:
        await screen.shows("Start one now? [Y/n]")
        await screen.press("Enter")
        shown = await screen.shows("app-server ended")
    started = re.search(r"`kill (\d+)` stops it", shown.replace("\n", ""))
    assert started is not None, shown
    try:
        async with RelayClient.open(env["AGENT_RELAY_URL"]) as relay:
            assert await relay.ready()
        assert (tmp_path / ".local/state/trio-relay/relay.log").stat().st_mode & 0o777 == 0o600
    finally:
        os.kill(int(started[1]), signal.SIGTERM)


async def test_who_wants_none_is_told_what_to_do(env: dict[str, str], tmp_path: Path) -> None:
    async with terminal([*CODEX_RELAY], env=env, cwd=tmp_path) as screen:
        await screen.shows("Start one now? [Y/n]")
        await screen.type("n")
        await screen.shows("trio-relay serve")


async def test_a_relay_that_does_not_come_up_is_told_in_its_own_words(
    env: dict[str, str], tmp_path: Path
) -> None:
    async with terminal([*CODEX_RELAY], env=env | {"DB_PATH": "/dev/null/relay.db"}, cwd=tmp_path) as screen:
        await screen.shows("Start one now? [Y/n]")
        await screen.type("y")
        shown = await screen.shows("the relay did not start")
    assert "/dev/null" in shown


async def test_under_the_alias_codex_starts_without_a_relay(env: dict[str, str], tmp_path: Path) -> None:
    async with terminal([*CODEX_RELAY, "--as-codex", "--"], env=env, cwd=tmp_path) as screen:
        await screen.shows("Start one now? [Y/n]")
        await screen.type("n")
        await screen.shows("Codex starts without the relay")
        await screen.shows("app-server ended")


@pytest.mark.parametrize("arguments", [["exec", "do it"], ["--version"], ["--add-dir", "/x"], []])
def test_under_the_alias_what_is_codexs_goes_to_codex(
    env: dict[str, str], tmp_path: Path, arguments: list[str]
) -> None:
    done = subprocess.run(  # no terminal: so even no arguments mean no session
        [*CODEX_RELAY, "--as-codex", "--", *arguments],
        env=env,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"codex: {' '.join(arguments)}\n"


async def test_nobody_is_asked_without_a_terminal(env: dict[str, str], tmp_path: Path) -> None:
    with trio.fail_after(60):
        done = await trio.run_process(
            [*CODEX_RELAY, "--headless"], env=env, cwd=tmp_path, capture_stderr=True, check=False
        )
    assert done.returncode == 4
    assert b"Start one now" not in done.stderr


async def test_a_relay_of_another_version_is_said_once_at_the_start(
    env: dict[str, str], tmp_path: Path
) -> None:
    health = {"status": "ok", "version": "9.9.9"}
    with http_server({"/healthz": health, "/api/messages/cursor": {"latestId": 0, "latestSeq": 0}}) as url:
        done = await trio.run_process(
            [*CODEX_RELAY, "--headless", "--relay-url", url],
            env=env,
            cwd=tmp_path,
            capture_stderr=True,
            check=False,
        )
    assert done.stderr.count(b"9.9.9") == 1
    assert b"app-server ended" in done.stderr  # it went on


def test_versions_that_differ_are_said_with_what_mends_them(tmp_path: Path) -> None:
    assert list(differences(__version__, tmp_path)) == []
    assert list(differences(None, tmp_path)) == []
    plugin = tmp_path / "plugins/cache/trio-relay/agent-relay/0.0.1/.codex-plugin/plugin.json"
    plugin.parent.mkdir(parents=True)
    plugin.write_text("{}")
    relay, inside_codex = differences("9.9.9", tmp_path)
    assert "9.9.9" in relay
    assert "upgrade" in relay
    assert "0.0.1" in inside_codex
    assert "trio-relay install codex" in inside_codex
