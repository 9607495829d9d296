"""The launcher's tree without a TUI, with stand-ins for Codex and for the sidecar."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from support.processes import processes_of, until
from support.standin_codex import PORT, StandInCodex
from trio_relay.codex.app_process import AppServerFailed
from trio_relay.codex.arguments import (
    MCP_TOKEN_VARIABLE,
    CodexArguments,
    RelayTools,
    read_codex_arguments,
)
from trio_relay.codex.launcher import Launch, launch
from trio_relay.codex.run_directory import RunDirectory, run_directory

SIDECAR = """
import json, os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (open("farewell", "w").close(), sys.exit(0)))
with open("sidecars", "a") as file:
    told = {k: v for k, v in os.environ.items() if k.startswith(("CODEX_", "AGENT_RELAY_"))}
    print(json.dumps(told), file=file)
with open("plan") as file:
    plan = json.load(file)
number = len(open("sidecars").readlines())
if number <= len(plan):
    sys.exit(plan[number - 1])
while True:
    time.sleep(1000)
"""


class Place:
    """Where a launcher runs with stand-ins. `plan`: exit codes of the first sidecars; the next one stays."""

    def __init__(self, path: Path, run: RunDirectory) -> None:
        self.codex = StandInCodex(path)
        self.path = path
        self.run = run
        self.plan(())

    def plan(self, codes: tuple[int, ...]) -> None:
        (self.path / "plan").write_text(json.dumps(codes))

    def sidecars(self) -> list[dict[str, str]]:
        """What each sidecar found in its environment."""
        file = self.path / "sidecars"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def launch(self, arguments: CodexArguments | None = None, **more: Any) -> Launch:
        environment = {"HOME": str(self.path), "PATH": os.environ["PATH"], "AGENT_RELAY_URL": "http://relay"}
        return Launch(
            codex=str(self.codex.program),
            arguments=arguments or CodexArguments(),
            sidecar=(sys.executable, "-S", "-c", SIDECAR),
            environment=environment | more.pop("environment", {}),
            cwd=str(self.path),
            chance=lambda: 0.0,
            headless=True,
            **more,
        )


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with run_directory(tmp_path / "runs") as run:
        yield Place(tmp_path, run)


async def run_until_signal(place: Place, plan: Launch, *, sidecars: int) -> int:
    """Run until so many sidecars have started, then send SIGTERM; the exit code."""
    codes: list[int] = []

    async def run() -> None:
        codes.append((await launch(plan, place.run)).exit_code)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await until(lambda: len(place.sidecars()) >= sidecars)
            os.kill(os.getpid(), signal.SIGTERM)
    assert processes_of(place.path) == []
    return codes[0]


async def test_the_sidecar_is_told_all_it_needs(place: Place) -> None:
    arguments = read_codex_arguments(("-s", "read-only"))
    assert await run_until_signal(place, place.launch(arguments), sidecars=1) == 0
    (told,) = place.sidecars()
    assert told == {
        "AGENT_RELAY_URL": "http://relay",
        "AGENT_RELAY_CODEX_APPROVAL_POLICY": "never",
        "AGENT_RELAY_CODEX_CWD": str(place.path),
        "AGENT_RELAY_CODEX_SANDBOX": "read-only",
        "AGENT_RELAY_CODEX_STATE_PATH": str(place.run.state_file),
        "AGENT_RELAY_CODEX_TOOLS": "off",
        "CODEX_APP_SERVER_TOKEN_FILE": str(place.run.token_file),
        "CODEX_APP_SERVER_URL": f"ws://127.0.0.1:{PORT}",
        "CODEX_THREAD_MODE": "start",
    }


async def test_the_model_gets_the_relays_tools_and_no_command_line_shows_their_token(place: Place) -> None:
    plan = place.launch(tools=RelayTools("http://relay", "s3cret", 7))
    await run_until_signal(place, plan, sidecars=1)
    (began,) = place.codex.starts()
    assert 'mcp_servers.trio_relay={url = "http://relay/mcp"' in began
    assert f'bearer_token_env_var = "{MCP_TOKEN_VARIABLE}"' in began
    assert "s3cret" not in began
    (told,) = place.sidecars()
    assert (told["AGENT_RELAY_CODEX_TOOLS"], told["AGENT_RELAY_CODEX_TOKEN_ID"]) == ("on", "7")
    assert "s3cret" not in told.values(), "the sidecar has a credential of its own"


async def test_the_models_shell_finds_no_credential_that_speaks_for_others(place: Place) -> None:
    plan = place.launch(
        tools=RelayTools("http://relay", "session", 7), environment={"AGENT_RELAY_TOKEN": "everybodys"}
    )
    await run_until_signal(place, plan, sidecars=1)
    found = place.codex.environment()
    assert found["AGENT_RELAY_TOKEN"] == found[MCP_TOKEN_VARIABLE] == "session"
    assert "everybodys" not in found.values()
    assert place.sidecars()[0]["AGENT_RELAY_TOKEN"] == "everybodys"


async def test_a_sidecar_that_dies_is_started_again_and_takes_up_the_thread(place: Place) -> None:
    place.plan((1, 70))
    assert await run_until_signal(place, place.launch(), sidecars=3) == 0
    assert [told["CODEX_THREAD_MODE"] for told in place.sidecars()] == ["start", "auto", "auto"]


async def test_a_given_thread_stays_the_thread(place: Place) -> None:
    place.plan((1,))
    plan = place.launch(thread_mode="resume", thread_id="t-1", environment={"CODEX_THREAD_ID": "another"})
    await run_until_signal(place, plan, sidecars=2)
    assert [told["CODEX_THREAD_MODE"] for told in place.sidecars()] == ["resume", "resume"]
    assert [told["CODEX_THREAD_ID"] for told in place.sidecars()] == ["t-1", "t-1"]


async def test_a_state_file_of_the_users_own_is_used(place: Place) -> None:
    own = str(place.path / "own.json")
    plan = place.launch(environment={"AGENT_RELAY_CODEX_STATE_PATH": own})
    await run_until_signal(place, plan, sidecars=1)
    assert place.sidecars()[0]["AGENT_RELAY_CODEX_STATE_PATH"] == own


@pytest.mark.parametrize("code", [2, 3])
async def test_a_sidecar_the_relay_turned_away_is_not_started_again(place: Place, code: int) -> None:
    place.plan((1, code))
    with trio.fail_after(60):
        outcome = await launch(place.launch(), place.run)
    assert outcome.exit_code == code
    assert len(place.sidecars()) == 2
    assert len(outcome.notices) == 1
    assert processes_of(place.path) == []


async def test_an_app_server_that_does_not_come_up_is_an_error(place: Place) -> None:
    place.codex.broken.touch()
    with trio.fail_after(60), pytest.RaisesGroup(AppServerFailed, flatten_subgroups=True):
        await launch(place.launch(), place.run)
    assert place.sidecars() == []


async def test_the_sidecar_ends_first_and_in_its_own_time(place: Place) -> None:
    await run_until_signal(place, place.launch(), sidecars=1)
    assert (place.path / "farewell").exists()
