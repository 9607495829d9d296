"""``trio-relay backup`` and ``restore`` as an operator runs them, beside a relay that works."""

import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import trio

from support.commands import call, clean_environment, run_command, serving_relay
from trio_relay.client import RelayClient
from trio_relay.core.wire import AgentRegistration, SendRequest
from trio_relay.store.migrations import migrate


def files(directory: Path) -> list[str]:
    return sorted(file.name for file in directory.iterdir() if file.suffix not in {".lock", ".log"})


async def send(relay: RelayClient, body: str) -> int:
    return (await relay.send(SendRequest(sender="ann", to="bob", body=body))).id


async def test_a_room_at_work_is_copied_and_put_back(tmp_path: Path) -> None:
    env = clean_environment(tmp_path, DB_PATH=str(tmp_path / "relay.db"))
    accepted: list[int] = []

    async def talk(url: str) -> None:
        async with RelayClient.open(url) as relay:
            while True:
                accepted.append(await send(relay, "x" * 5000))

    with serving_relay(env=env, cwd=tmp_path) as serving, trio.fail_after(60):
        async with RelayClient.open(serving.url) as relay, trio.open_nursery() as nursery:
            await relay.register(AgentRegistration(id="bob"))
            for _ in range(3):
                nursery.start_soon(talk, serving.url)
            while len(accepted) < 20:
                await trio.sleep(0.01)
            before = len(accepted)
            done = await trio.to_thread.run_sync(
                lambda: run_command("backup", "copy.db", "--json", env=env, cwd=tmp_path)
            )
            nursery.cancel_scope.cancel()
        busy = await trio.to_thread.run_sync(lambda: run_command("restore", "copy.db", env=env, cwd=tmp_path))
        assert (busy.returncode, busy.stdout) == (3, "")
        assert "already serves" in busy.stderr
        assert await trio.to_thread.run_sync(serving.stop) == 0
    assert done.returncode == 0, done.stderr  # where it takes long it also says how far it is
    copied = json.loads(done.stdout)
    assert before <= copied["messages"] <= len(accepted)
    assert copied["newestMessage"] == copied["messages"]

    put_back = run_command("restore", "copy.db", "--json", env=env, cwd=tmp_path)
    assert put_back.returncode == 0, put_back.stderr
    restored = json.loads(put_back.stdout)
    assert restored["messages"] == copied["messages"]
    assert Path(restored["kept"]).name.startswith("relay.db.before-restore-")
    with serving_relay(env=env, cwd=tmp_path) as serving:
        async with RelayClient.open(serving.url) as relay:
            waiting = await relay.inbox("bob", limit=1000)
            assert len(waiting) == min(1000, copied["messages"])
            assert await send(relay, "after") > accepted[-1]
    assert files(tmp_path) == ["copy.db", "relay.db", Path(restored["kept"]).name]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Settings that name the database of an empty room."""
    path = tmp_path / "relay.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection)
    return {"DB_PATH": str(path), "DATABASE_URL": ""}


def test_people_are_told_what_there_is_and_what_to_look_at(tmp_path: Path, env: dict[str, str]) -> None:
    copy = tmp_path / "copy.db"
    done = call("backup", str(copy), env=env)
    assert done.stdout.startswith(f"{copy}: 0 messages, 0 agents, 0.")
    checked = call("restore", "--check", str(copy))
    assert checked.stdout.startswith(f"{copy} is whole: 0 messages")
    again = call("backup", str(copy), env=env)
    assert (again.exit_code, again.stderr) == (2, f"trio-relay: {copy} exists; --force replaces it\n")
    assert call("backup", str(copy), "--force", env=env).exit_code == 0
    put_back = call("restore", str(copy), env=env)
    assert "What was there is kept as" in put_back.stdout
    assert put_back.stdout.endswith("see `trio-relay tokens list`.\n")


@pytest.mark.parametrize(
    ("command", "file", "code", "says"),
    [
        ("backup", "copy.db", 1, "there is no database at"),
        ("restore", "notes.txt", 2, "notes.txt is damaged, or no database"),
        ("restore", "nothing.db", 2, "does not exist"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    tmp_path: Path, command: str, file: str, code: int, says: str
) -> None:
    (tmp_path / "notes.txt").write_text("these are notes" * 100)
    env = {"DB_PATH": str(tmp_path / "relay.db"), "DATABASE_URL": ""}
    done = call(command, str(tmp_path / file), env=env)
    assert (done.exit_code, done.stdout) == (code, "")
    assert says in done.stderr.splitlines()[-1]
    assert files(tmp_path) == ["notes.txt"]


def test_sigterm_stops_a_copy_tidily(tmp_path: Path, env: dict[str, str]) -> None:
    """The copy waits on a pipe that is its progress; there the signal finds it."""
    script = (
        "import sys, trio_relay.cli.shared.progress as progress\n"
        "def wait(self, done, of):\n"
        "    print('copying', flush=True)\n"
        "    sys.stdin.read()\n"
        "progress.Progress.__call__ = wait\n"
        "from trio_relay.cli.main import cli\n"
        "cli(['backup', 'copy.db'])\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        env=clean_environment(tmp_path, **env),
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "copying\n"
        assert len(files(tmp_path)) > 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 130
    assert files(tmp_path) == ["relay.db"]
