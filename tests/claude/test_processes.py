"""Hooks, monitor and waiter as Claude Code runs them: processes, by the commands of the plugin's files.

Claude Code itself is played by a process that only lives; tests/e2e has the real one.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from support.commands import ServingRelay, clean_environment
from support.processes import processes_of, until
from trio_relay.claude.hook_client import claude_pid, is_attended, is_private, socket_path, version
from trio_relay.claude.setup.plugin import marketplace
from trio_relay.client import RelayClient
from trio_relay.core.model import AgentStatus
from trio_relay.core.wire import Agent, AgentRegistration, SendRequest

PATIENCE = 60


@dataclass
class Pretended:
    """A Claude Code that is only a process, with the plugin's commands."""

    home: Path
    relay_url: str
    ai_agent: str
    process: "subprocess.Popen[bytes]"
    session: str = field(default_factory=lambda: str(uuid.uuid4()))
    files: dict[str, bytes] = field(default_factory=lambda: marketplace(sys.executable, {}))

    @property
    def environment(self) -> dict[str, str]:
        return clean_environment(
            self.home,
            AGENT_RELAY_URL=self.relay_url,
            AI_AGENT=self.ai_agent,
            CLAUDE_PID=str(self.process.pid),
            CLAUDE_CODE_SESSION_ID=self.session,
            CLAUDE_CODE_ENTRYPOINT="cli",
        )

    def command(self, event: str, number: int = 0) -> list[str]:
        """The command of a hook: the first, or the waiter."""
        hooks = json.loads(self.files["plugins/agent-relay/hooks/hooks.json"])["hooks"]
        return shlex.split(hooks[event][0]["hooks"][number]["command"])

    def monitor(self) -> "subprocess.Popen[str]":
        """Start the monitor as Claude Code does, through a shell."""
        plugin = "plugins/agent-relay"
        [described] = json.loads(self.files[f"{plugin}/monitors/monitors.json"])
        script = self.home / "monitors/keep.sh"
        script.parent.mkdir(exist_ok=True)
        script.write_bytes(self.files[f"{plugin}/monitors/keep.sh"])
        command = described["command"].replace("${CLAUDE_PLUGIN_ROOT}", str(self.home))
        return subprocess.Popen(
            ["sh", "-c", command],
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def hook(self, event: str, **said: Any) -> "subprocess.CompletedProcess[str]":
        """Run a hook to its end."""
        given = json.dumps({"hook_event_name": event, "session_id": self.session, **said})
        env = self.environment | {"CLAUDE_ENV_FILE": str(self.home / "exported")}
        return subprocess.run(
            self.command(event),
            input=given,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )

    def waiter(self, **env: str) -> "subprocess.Popen[str]":
        """Start the waiter of a session that starts."""
        return subprocess.Popen(
            self.command("SessionStart", 1),
            env=self.environment | env,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def kill(self) -> None:
        """End it as SIGKILL does."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def claude(relay: ServingRelay, tmp_path: Path) -> Iterator[Pretended]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield Pretended(tmp_path, relay.url, "claude-code_2-1-329_harness", process)
        process.kill()
    for left in processes_of(tmp_path):
        os.kill(left.pid, signal.SIGKILL)
        pytest.fail(f"left behind: {left}")


async def there(
    relay: RelayClient, session: str, status: AgentStatus, *, besides: str | None = None
) -> Agent:
    """The session's agent, once it is so; another instance than `besides`."""
    with trio.fail_after(PATIENCE):
        while True:
            for agent in await relay.agents(thread=session):
                if agent.status is status and agent.instance_id != besides:
                    return agent
            await trio.sleep(0.05)


async def write(relay: RelayClient, to: str, text: str) -> int:
    await relay.register(AgentRegistration(id="alice", status=AgentStatus.IDLE))
    return (await relay.send(SendRequest(sender="alice", to=to, body=text))).id


async def line_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return await trio.to_thread.run_sync(process.stdout.readline, abandon_on_cancel=True)


async def gone(claude: Pretended) -> None:
    """Nothing of the session is left, neither process nor file."""
    with trio.fail_after(PATIENCE):
        await until(lambda: not processes_of(claude.home))
    path = Path(socket_path(claude.process.pid))
    assert not path.exists()
    assert not path.with_suffix(".lock").exists()
    assert list(claude.home.rglob(f"{claude.process.pid}.json")) == []


async def test_a_session_with_a_monitor(claude: Pretended) -> None:
    """No keeper, a keeper, another that waits and takes its place, and the end of Claude Code by kill -9."""
    for event in ("UserPromptSubmit", "PreToolUse", "SessionEnd"):
        done = claude.hook(event)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), (
            "nobody is there, and nobody hears of it"
        )

    async with RelayClient.open(claude.relay_url) as relay:
        first = claude.monitor()
        agent = await there(relay, claude.session, AgentStatus.IDLE)
        second = claude.monitor()
        started = claude.hook("SessionStart", source="startup")
        said = json.loads(started.stdout)["hookSpecificOutput"]
        assert f"You are agent {agent.id}" in said["additionalContext"]
        assert (claude.home / "exported").read_text() == f"export AGENT_RELAY_CLAUDE_AGENT={agent.id}\n"

        allowed = claude.hook("PreToolUse", tool_name="Bash", tool_input={"command": "trio-relay read 1"})
        assert json.loads(allowed.stdout)["hookSpecificOutput"]["permissionDecision"] == "allow"
        assert claude.hook("UserPromptSubmit", prompt="go").stdout == ""
        await there(relay, claude.session, AgentStatus.BUSY)
        assert claude.hook("Stop").stdout == ""

        number = await write(relay, agent.id, "hello")
        assert (await line_of(first)).startswith(f'relay message {number} from peer alice: "hello"')

        os.killpg(first.pid, signal.SIGTERM)  # as Claude Code stops a monitor: the whole group
        first.communicate(timeout=PATIENCE)
        now = await there(relay, claude.session, AgentStatus.IDLE, besides=agent.instance_id)
        assert now.id == agent.id
        assert str(number) in await line_of(second), "nobody has fetched it"

        claude.kill()
        second.communicate(timeout=PATIENCE)
        assert second.returncode == 0
        await there(relay, claude.session, AgentStatus.OFFLINE)
    await gone(claude)


def test_a_monitor_that_is_stopped_between_two_keepers_starts_no_third(tmp_path: Path) -> None:
    files = marketplace(sys.executable, {})
    script, crash = tmp_path / "keep.sh", tmp_path / "crash.sh"
    script.write_bytes(files["plugins/agent-relay/monitors/keep.sh"])
    # Its pause is long enough to be stopped in: the shell's `sleep` is this one.
    crash.write_text("echo keeper\nexit 1\n")
    (tmp_path / "sleep").write_text("#!/bin/sh\necho pausing\nexec /bin/sleep 600\n")
    (tmp_path / "sleep").chmod(0o700)
    with subprocess.Popen(
        ["sh", str(script), "sh", str(crash)],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "CLAUDE_PID": str(os.getpid())},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as keep:
        assert keep.stdout is not None
        assert [keep.stdout.readline(), keep.stdout.readline()] == ["keeper\n", "pausing\n"]
        os.killpg(keep.pid, signal.SIGTERM)
        assert keep.communicate(timeout=PATIENCE)[0] == ""
        assert keep.returncode == 0


async def test_a_session_without_monitors_is_woken_by_its_waiter(claude: Pretended) -> None:
    claude.ai_agent = "claude-code_2-1-197_harness"
    async with RelayClient.open(claude.relay_url) as relay:
        waiter = claude.waiter()
        agent = await there(relay, claude.session, AgentStatus.IDLE)
        number = await write(relay, agent.id, "hello")
        said = await trio.to_thread.run_sync(lambda: waiter.communicate(timeout=PATIENCE))
        assert (waiter.returncode, said[0]) == (2, "")
        assert said[1].startswith(f'relay message {number} from peer alice: "hello"')
        claude.kill()
        await there(relay, claude.session, AgentStatus.OFFLINE)
    await gone(claude)


@pytest.mark.parametrize(
    "env",
    [
        {"CLAUDE_CODE_ENTRYPOINT": "sdk-cli"},
        {"CLAUDE_CODE_SESSION_ATTENDED": "0"},
        {"AI_AGENT": "claude-code_2-1-310_harness"},
    ],
    ids=["print", "unattended", "with monitors"],
)
def test_no_waiter_waits_where_it_would_hold_up_or_double(claude: Pretended, env: dict[str, str]) -> None:
    waiter = claude.waiter(**({"AI_AGENT": "claude-code_2-1-197_harness"} | env))
    assert waiter.communicate(timeout=PATIENCE) == ("", "")
    assert waiter.returncode == 0
    assert processes_of(claude.home) == []


def test_without_a_claude_code_a_hook_does_nothing(claude: Pretended) -> None:
    env = claude.environment
    del env["CLAUDE_PID"]
    done = subprocess.run(claude.command("Stop"), input=b"{}", env=env, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    monitor = subprocess.run(
        [sys.executable, "-m", "trio_relay", "sidecar", "claude"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert monitor.returncode == 2
    assert "no process of a Claude Code session" in monitor.stderr


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("claude-code_2-1-329_harness", (2, 1, 329)),
        ("claude-code_2-1-197_harness", (2, 1, 197)),
        ("claude-code", None),
        ("claude-code_new_harness", None),
        ("codex_2-1-1", None),
        ("", None),
    ],
)
def test_the_version_is_read_from_what_claude_code_says(told: str, expected: tuple[int, ...] | None) -> None:
    assert version({"AI_AGENT": told}) == expected


def test_who_is_attended() -> None:
    assert is_attended({"CLAUDE_CODE_ENTRYPOINT": "cli"})
    assert not is_attended({"CLAUDE_CODE_ENTRYPOINT": "cli", "CLAUDE_CODE_SESSION_ATTENDED": "0"})
    assert not is_attended({})


def test_the_process_is_found_by_what_it_says_or_among_the_parents(tmp_path: Path) -> None:
    assert claude_pid({"CLAUDE_PID": "42"}, 1) == 42
    assert claude_pid({"CLAUDE_PID": "x"}, 2**22 + 1) is None
    named = tmp_path / "claude"
    named.symlink_to(sys.executable)
    ask = (
        "import os, subprocess, sys; open('/proc/self/comm', 'w').write('claude'); "
        f"subprocess.run(['sh', '-c', '{sys.executable} -c \"$0\"; true', sys.argv[1]])"
    )
    find = (
        "import os; from trio_relay.claude.hook_client import claude_pid; "
        "print(claude_pid({}, os.getppid()) in (os.getppid(), __import__('subprocess').os.getppid()) "
        "or claude_pid({}, os.getppid()) is not None)"
    )
    done = subprocess.run([sys.executable, "-c", ask, find], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_only_a_directory_of_its_users_alone_is_trusted(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir(mode=0o700)
    assert is_private(str(own / "socket"))
    own.chmod(0o750)
    assert not is_private(str(own / "socket"))
    (tmp_path / "link").symlink_to(tmp_path)
    assert not is_private(str(tmp_path / "link" / "socket"))
    assert not is_private(str(tmp_path / "nowhere" / "socket"))
