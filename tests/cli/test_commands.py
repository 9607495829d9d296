"""The commands against a relay in a process of its own."""

import json
import subprocess
import sys
import unicodedata
from importlib.metadata import distribution
from pathlib import Path

import pytest
import trio
from click.testing import Result

from support.commands import ServingRelay, call, clean_environment, run_command
from trio_relay import __version__
from trio_relay.cli.main import COMMANDS, cli
from trio_relay.client import RelayClient

NOWHERE = {"AGENT_RELAY_URL": "http://127.0.0.1:9"}


def ok(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_message_reaches_the_inbox_it_was_sent_to(env: dict[str, str]) -> None:
    ok(call("inbox", env=env))  # opens this user's mailbox
    me = json.loads(ok(call("agents", "--json", env=env)))[0]["id"]
    sent = ok(call("send", me, "check the migration", "--from", "ci", "--subject", "please", env=env))
    assert sent.splitlines()[1] == f"  {me}: offline: it waits in the inbox"
    shown = ok(call("inbox", env=env))
    assert "  ci  (to " in shown
    assert shown.endswith("  Subject: please\n  check the migration\n")


def test_looking_changes_nothing_but_marking_does(env: dict[str, str]) -> None:
    ok(call("send", "reader", "one", "--from", "writer", "--allow-unknown", env=env))
    ok(call("inbox", "--agent", "writer", env=env))
    ok(call("send", "writer", "two", "--from", "reader", env=env))
    assert ok(call("inbox", "--agent", "writer", env=env)) == ok(call("inbox", "--agent", "writer", env=env))
    assert "two" in ok(call("inbox", "--agent", "writer", "--mark-read", env=env))
    after = call("inbox", "--agent", "writer", env=env)
    assert (after.stdout, after.stderr) == ("", "Nothing unread for writer.\n")
    assert "(to writer, read)" in ok(call("inbox", "--agent", "writer", "--all", env=env))


def test_json_is_what_the_relay_said(env: dict[str, str]) -> None:
    ok(call("send", "tag:x", "-", "--from", "anna", env=env, stdin="this opens anna's mailbox"))
    sent = json.loads(
        ok(
            call(
                *(
                    "send",
                    "anna",
                    "-",
                    "--from",
                    "ben",
                    "--urgent",
                    "--delivery",
                    "idle",
                    "--claimable",
                    "--channel",
                    "db",
                    "--json",
                ),
                env=env,
                stdin="from a pipe",
            )
        )
    )
    message = sent["message"]
    assert (message["body"], message["meta"], message["claimable"]) == (
        "from a pipe",
        {"priority": "urgent", "delivery": "idle"},
        True,
    )
    assert message["recipients"] == [{"agentId": "anna", "verdict": "offline_queued"}]
    [arrived] = json.loads(ok(call("inbox", "--agent", "anna", "--json", env=env)))
    assert (arrived["id"], arrived["channel"], arrived["state"]) == (message["id"], "db", "queued")
    reply = json.loads(
        ok(call("send", "ben", "done", "--from", "anna", "--reply-to", str(message["id"]), "--json", env=env))
    )
    assert reply["message"]["threadId"] == message["id"]


def test_the_same_key_sends_once(env: dict[str, str]) -> None:
    command = ("send", "tag:nobody", "deploy", "--from", "ci", "--key", "build-7", "--json")
    first, again = (json.loads(ok(call(*command, env=env)))["message"]["id"] for _ in range(2))
    assert first == again
    other = call("send", "tag:nobody", "another", "--from", "ci", "--key", "build-7", env=env)
    assert other.exit_code == 3


def test_an_unknown_recipient_is_refused_and_nothing_is_kept(env: dict[str, str]) -> None:
    result = call("send", "nobody-here", "hello?", env=env)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("trio-relay: no agent 'nobody-here' is registered")


def test_a_target_nobody_matches_is_parked_and_says_so(env: dict[str, str]) -> None:
    assert "it waits for the first who does" in ok(call("send", "tag:night-shift", "hello?", env=env))


def test_waiting_for_a_rung_that_does_not_come_exits_5(env: dict[str, str]) -> None:
    ok(call("send", "tag:x", "hi", "--from", "sleeper", env=env))
    result = call("send", "sleeper", "wake up", "--wait", "in_context", "--timeout", "0.3", env=env)
    assert result.exit_code == 5
    assert "  sleeper: queued\n" in result.stdout
    assert result.stderr.endswith("is not in_context after 0.3 s\n")


def test_the_agents_are_listed_and_filtered(env: dict[str, str]) -> None:
    ok(call("send", "tag:x", "hi", "--from", "listed", env=env))
    assert "listed" in ok(call("agents", env=env))
    assert "listed" not in ok(call("agents", "--ready", env=env))
    assert ok(call("agents", "--tag", "no-such-tag", env=env)) == "No agent matches.\n"
    assert "listed" in {
        agent["id"] for agent in json.loads(ok(call("agents", "--status", "offline", "--json", env=env)))
    }


def test_status_says_how_the_relay_is_doing(env: dict[str, str], relay: ServingRelay) -> None:
    text = ok(call("status", env=env))
    assert text.startswith(f"relay       {relay.url} ready, version {__version__}, up ")
    document = json.loads(ok(call("status", "--json", env=env)))
    assert (document["url"], document["ready"], document["stats"]["version"]) == (
        relay.url,
        True,
        __version__,
    )


HOSTILE = "\x1b]0;pwned\x07\x1b[2J \x9b31m \u202e txt.exe [bold]x[/bold] :smile:"


async def label_agents(url: str) -> None:
    async with RelayClient.open(url) as client:
        for agent in await client.agents():
            await client.set_label(agent.id, HOSTILE)


def test_hostile_text_never_reaches_the_terminal(env: dict[str, str], relay: ServingRelay) -> None:
    ok(call("send", "tag:x", "hi", "--from", "evil[red]", env=env))
    ok(call("send", "evil[red]", HOSTILE, "--subject", HOSTILE, "--from", "other", env=env))
    trio.run(label_agents, relay.url)
    outputs = [
        call("inbox", "--agent", "evil[red]", env=env),
        call("inbox", "--agent", "evil[red]", "--json", env=env),
        call("agents", env=env),
        call("agents", "--json", env=env),
        call("send", "evil[red]", "x", "--wait", "in_context", "--timeout", "0.1", env=env),
        call("send", f"tag:{HOSTILE}", "x", env=env),
        call("send", f"unknown{HOSTILE}", "x", env=env),
        call("inbox", "--agent", f"unknown{HOSTILE}", env=env),
        call("status", env={"AGENT_RELAY_URL": f"http://127.0.0.1:9/{HOSTILE}"}),
    ]
    for result in outputs:
        obeyed = {char for char in result.output if unicodedata.category(char) == "Cc" or char == "\u202e"}
        assert obeyed <= {"\n"}, result.output
    assert "[bold]x[/bold] :smile:" in outputs[0].output
    assert "evil[red]" in outputs[2].output


@pytest.mark.parametrize(
    "command", [["status"], ["agents"], ["inbox"], ["send", "x", "y"], ["status", "--json"]]
)
def test_without_a_relay_every_command_says_so_and_exits_4(command: list[str]) -> None:
    result = call(*command, env=NOWHERE)
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.startswith("trio-relay: the relay at http://127.0.0.1:9 cannot be reached")
    assert result.stderr.count("\n") == 1
    assert "trio-relay serve" in result.stderr


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1", "nonsense", "http://", "http://h:port", "http://127.0.0.1\x1b"]
)
def test_what_is_no_relay_url_is_bad_input(url: str) -> None:
    result = call("status", "--relay-url", url)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)


def test_a_token_no_header_can_carry_is_bad_input(env: dict[str, str]) -> None:
    result = call("status", env={**env, "AGENT_RELAY_TOKEN": "gehe\u00edm"})
    assert (result.exit_code, result.stdout) == (2, "")
    assert "gehe" not in result.stderr


def test_the_command_line_overrides_the_environment(relay: ServingRelay) -> None:
    ok(call("status", "--relay-url", relay.url, env=NOWHERE))


@pytest.mark.parametrize(
    "command",
    [
        ["frob"],
        ["send"],
        ["send", "x", "y", "--wait", "accepted"],
        ["serve", "--port", "70000"],
        ["inbox", "--frob"],
    ],
)
def test_a_wrong_command_line_exits_2(command: list[str]) -> None:
    result = call(*command)
    assert (result.exit_code, result.stdout) == (2, "")


def test_a_setting_that_cannot_be_used_is_reported_once(env: dict[str, str]) -> None:
    result = call("status", env={**env, "AGENT_RELAY_TAGS": "a"})
    assert result.stderr == ""
    result = call("serve", "--host", "192.0.2.1", env={"STALE_TTL_MS": "soon"})
    assert result.exit_code == 2
    assert result.stderr.count("STALE_TTL_MS is not usable") == 1


def test_version(relay: ServingRelay) -> None:
    assert ok(call("--version")) == f"trio-relay {__version__}\n"
    assert ok(call("version")) == f"{__version__}\n"


def test_each_command_of_the_list_is_there() -> None:
    context = cli.make_context("trio-relay", ["version"])
    for name, entry in COMMANDS.items():
        command = cli.get_command(context, name)
        assert command is not None
        assert (command.name, len(entry.help) < 60) == (name, True)


def test_a_pipe_that_closes_early_is_no_error(env: dict[str, str], tmp_path: Path) -> None:
    command = f"{sys.executable} -m trio_relay status | true"
    whole = clean_environment(tmp_path, **env)
    done = subprocess.run(["/bin/sh", "-c", command], env=whole, capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_help_needs_no_event_loop(tmp_path: Path) -> None:
    code = "import sys\nfrom trio_relay.cli.main import cli\ncli(['--help'], standalone_mode=False)\n"
    code += "assert not {'trio', 'httpx2', 'quart', 'rich'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_what_only_calls_needs_no_event_loop_and_no_http_library(env: dict[str, str], tmp_path: Path) -> None:
    """They take half of the time a command has."""
    for words in (
        ["send", "tag:x", "hi"],
        ["inbox"],
        ["agents", "--json"],
        ["message", "tag:x", "hi", "--from", "a"],
    ):
        code = f"import sys\nfrom trio_relay.cli.main import cli\ncli({words!r}, standalone_mode=False)\n"
        code += (
            "needless = {'trio', 'anyio', 'httpx2', 'http.client', 'rich', 'asyncio', 'ssl', 'subprocess'}\n"
        )
        code += "assert not needless & set(sys.modules), needless & set(sys.modules)"
        whole = clean_environment(tmp_path, **env)
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=whole)


def test_a_sidecar_loads_nothing_of_the_servers() -> None:
    """One runs beside every session: what it does not need costs its memory once a session."""
    code = "import sys\nimport trio_relay.cli.main\nimport trio_relay.cli.sessions.sidecar\n"
    code += "needless = {'quart', 'hypercorn', 'sqlite3', 'psycopg', 'aiosql', 'mcp', 'pydantic', 'tomlkit', 'jinja2'}\n"
    code += "assert not needless & set(sys.modules), needless & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_agent_relay_is_the_same_program(tmp_path: Path) -> None:
    scripts = {entry.name: entry.value for entry in distribution("trio-relay").entry_points}
    assert scripts["agent-relay"] == scripts["trio-relay"] == "trio_relay.cli.main:main"


def test_python_m_is_the_program_too(tmp_path: Path) -> None:
    done = run_command("--version", env=clean_environment(tmp_path), cwd=tmp_path)
    assert (done.stdout, done.stderr) == (f"trio-relay {__version__}\n", "")
