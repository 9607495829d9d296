"""Reading, answering, looking back, claiming, tasks, leases, events: the commands against a relay in a process."""

import json
import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import Result

from support.commands import ServingRelay, call, clean_environment, serving_relay
from trio_relay.client import RelayClient
from trio_relay.client.tasks import post_event
from trio_relay.core.model import AgentStatus
from trio_relay.core.wire import AgentRegistration
from trio_relay.core.wire_tasks import IntegrationEvent, Task

INTEGRATION = "a-token-of-an-integration-long-enough"


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingRelay]:
    """A relay with an integration."""
    home: Path = tmp_path_factory.mktemp("relay")
    integrations = json.dumps([{"name": "ci", "token": INTEGRATION}])
    with serving_relay(
        env=clean_environment(home, AGENT_RELAY_INTEGRATIONS=integrations), cwd=home
    ) as serving:
        yield serving


@pytest.fixture
def env(relay: ServingRelay, tmp_path: Path) -> dict[str, str]:
    """A person's terminal."""
    return {"AGENT_RELAY_URL": relay.url, "HOME": str(tmp_path), "USER": "ann", "LOGNAME": "ann"}


ME = f"ann@{platform.node().partition('.')[0] or 'localhost'}"


def ok(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def sent(env: dict[str, str], *words: str) -> int:
    found: int = json.loads(ok(call("send", *words, "--json", env=env)))["message"]["id"]
    return found


def ladder(env: dict[str, str], message_id: int) -> list[tuple[str, dict[str, Any]]]:
    steps = json.loads(ok(call("explain", str(message_id), "--json", env=env)))["timeline"]
    return [(step["what"], step["evidence"]) for step in steps]


def event(relay: ServingRelay, **fields: Any) -> Task:
    async def post() -> Task:
        async with RelayClient.open(relay.url, INTEGRATION) as client:
            return await post_event(client, IntegrationEvent(**fields))

    return trio.run(post)


def session(relay: ServingRelay, agent_id: str, thread: str) -> None:
    """Register an agent that is a session of a program."""

    async def join() -> None:
        async with RelayClient.open(relay.url) as client:
            await client.register(
                AgentRegistration(
                    id=agent_id,
                    rig="codex-live",
                    status=AgentStatus.IDLE,
                    ready=True,
                    instance_id="run-1",
                    meta={"threadId": thread},
                )
            )

    trio.run(join)


# Reading and answering


def test_reading_settles_a_message_in_ones_own_mailbox(env: dict[str, str]) -> None:
    ok(call("inbox", env=env))
    message = sent(env, ME, "is", "it", "done?", "--from", "ben", "--subject", "migration")
    assert ok(call("read", "--peek", env=env)).endswith("  Subject: migration\n  is it done?\n")
    assert [what for what, _ in ladder(env, message)][-1] == "queued"
    assert ok(call("read", env=env)).startswith(f"[{message}] ")
    assert ("settled", {"by": "read_mark"}) in ladder(env, message)
    assert call("read", env=env).stderr == f"Nothing unread for {ME}.\n"


def test_reading_another_agents_mail_says_nothing(env: dict[str, str], relay: ServingRelay) -> None:
    session(relay, "watched", "t-watched")
    message = sent(env, "watched", "psst", "--from", "ben")
    assert (
        json.loads(ok(call("read", str(message), "--agent", "watched", "--json", env=env)))["id"] == message
    )
    assert [what for what, _ in ladder(env, message)][-1] == "queued"


def test_a_session_reads_in_a_fence_and_proves_nothing_by_it(
    env: dict[str, str], relay: ServingRelay
) -> None:
    """What a command prints may go into a file or be cut off: that the model was shown it, others have to say."""
    session(relay, "reader", "t-reader")
    message = sent(env, "reader", "psst", "--from", "ben")
    told = ok(call("/read", str(message), env={**env, "CODEX_THREAD_ID": "t-reader"}))
    assert told.startswith(f"message {message} from peer ben to you")
    assert re.search(r"<<<(\w+)\npsst\n\1>>>\n\Z", told)
    assert [what for what, _ in ladder(env, message)][-1] == "queued"


def test_an_answer_goes_to_the_sender_and_counts(env: dict[str, str]) -> None:
    ok(call("inbox", env=env))
    question = sent(env, ME, "which port?", "--from", "ben")
    answer = json.loads(ok(call("reply", str(question), "port", "5432", "--json", env=env)))["message"]
    assert (answer["from"], answer["to"], answer["replyTo"], answer["body"]) == (
        ME,
        "ben",
        question,
        "port 5432",
    )
    assert "answered" in [what for what, _ in ladder(env, question)]
    told = ok(call("read", str(question), "--thread", env=env))
    assert told.index("which port?") < told.index("port 5432")
    own = call("reply", str(answer["id"]), "hm", env=env)
    assert (own.exit_code, "is your own" in own.stderr) == (2, True)


def test_waiting_for_an_answer_shows_the_ladder_and_the_answer(env: dict[str, str]) -> None:
    ok(call("inbox", "--agent", ME, env=env))
    question = sent(env, ME, "ready?", "--from", "ben")
    ok(call("reply", str(question), "yes", env=env))
    shown = call(*("send", "ben", "and now?", "--wait", "answered", "--timeout", "0.2"), env=env)
    assert (shown.exit_code, "  ben: queued\n" in shown.stdout) == (5, True)


def test_a_command_in_a_session_speaks_as_its_agent(env: dict[str, str], relay: ServingRelay) -> None:
    session(relay, "speaker", "t-speaker")
    within = {**env, "CODEX_THREAD_ID": "t-speaker"}
    assert json.loads(ok(call("send", "tag:x", "hi", "--json", env=within)))["message"]["from"] == "speaker"
    assert json.loads(ok(call("agent", "--json", env=within)))["id"] == "speaker"
    unknown = {**env, "CODEX_THREAD_ID": "t-nobody"}
    assert json.loads(ok(call("send", "tag:x", "hi", "--json", env=unknown)))["message"]["from"] == ME


# Looking back


def test_what_was_said_is_listed_and_found(env: dict[str, str]) -> None:
    first = sent(env, "tag:x", "the albatross has landed", "--from", "historian", "--subject", "bird")
    second = sent(env, "tag:x", "another albatross", "--from", "historian", "--channel", "zoo")
    lines = ok(call("history", "--from", "historian", env=env)).splitlines()
    assert [line.split("]")[0] for line in lines] == [f"[{first}", f"[{second}"]
    assert lines[0].endswith("historian → tag:x: bird")
    assert "the albatross has landed" in ok(call("search", "albatross", "landed", "--full", env=env))
    found = json.loads(ok(call("history", "--channel", "zoo", "--json", env=env)))
    assert [each["id"] for each in found] == [second]
    assert [
        each["id"]
        for each in json.loads(ok(call("search", "albatross", "--json", "--before", str(second), env=env)))
    ] == [first]
    assert call("search", "okapi", env=env).stderr == "No message holds that.\n"
    assert call("history", "--dead", "--channel", "zoo", env=env).exit_code == 2
    assert call("history", "--dead", env=env).stderr == "Nothing was said.\n"


def test_an_agent_is_shown_in_full_and_removed(env: dict[str, str], relay: ServingRelay) -> None:
    session(relay, "leaver", "t-leaver")
    sent(env, "leaver", "wait", "--from", "ben")
    shown = ok(call("agent", "leaver", env=env))
    assert "  status       idle, last heard of 0 s ago" in shown
    assert "  unread       1" in shown
    assert "  instance     run-1, epoch 1" in shown
    assert (
        ok(call("agent", "leaver", "--remove", env=env))
        == "leaver is removed; 1 unread message ends as dead.\n"
    )
    assert call("agent", "leaver", env=env).exit_code == 3
    assert call("agent", "--remove", env=env).exit_code == 2


def test_a_message_is_taken_back_while_nobody_has_it(env: dict[str, str]) -> None:
    ok(call("send", "tag:x", "hi", "--from", "late", env=env))
    message = sent(env, "late", "never mind")
    assert (
        ok(call("retract", str(message), "--reason", "by phone", env=env))
        == f"Message {message} is taken back from late.\n"
    )
    assert call("retract", str(message), "--from", "other", env=env).exit_code == 3
    assert call("redrive", str(message), env=env).exit_code == 3


def test_no_thread_is_parked(env: dict[str, str]) -> None:
    assert call("threads", env=env).stderr == "No conversation waits for a person.\n"
    assert json.loads(ok(call("threads", "--json", env=env))) == []
    assert call("threads", "resume", "1", env=env).exit_code == 3


# Work for exactly one


def test_work_is_claimed_given_back_and_completed(env: dict[str, str]) -> None:
    ok(call("inbox", env=env))
    work = str(sent(env, ME, "who fixes CI?", "--from", "ben", "--claimable"))
    assert f"`trio-relay complete {work}`" in ok(call("claim", work, env=env))
    other = call("claim", work, "--from", "carl", env=env)
    assert (other.exit_code, f"is claimed by '{ME}'" in other.stderr) == (3, True)
    assert ok(call("release", work, env=env)) == f"Message {work} is free again.\n"
    lease = json.loads(ok(call("claim", work, "--for", "60", "--json", env=env)))["leaseToken"]
    assert call("complete", work, "--lease", "stale", env=env).exit_code == 3
    assert (
        ok(call("complete", work, "--lease", lease, "--data", '{"ok": true}', env=env))
        == f"Message {work} is done.\n"
    )
    assert call("claim", work, env=env).exit_code == 3


def test_a_command_is_run_with_the_claim_and_completes_it(env: dict[str, str]) -> None:
    ok(call("inbox", env=env))
    work = str(sent(env, ME, "make it so", "--from", "ben", "--claimable"))
    look = f"import os, sys; sys.exit(7 if os.environ['TRIO_RELAY_MESSAGE'] == '{work}' else 9)"
    assert call("claim", work, "--", sys.executable, "-c", look, env=env).exit_code == 7
    assert json.loads(ok(call("read", work, "--peek", "--json", env=env)))["claimedBy"] is None
    ok(call("claim", work, "--", sys.executable, "-c", "pass", env=env))
    assert "completed" in ok(call("events", "--types", "message.*", "--last", "5", env=env))
    assert call("claim", work, env=env).exit_code == 3


def test_a_task_is_claimed_worked_on_and_ended(env: dict[str, str], relay: ServingRelay) -> None:
    ok(call("inbox", env=env))
    task = str(event(relay, title="Build is red", body="on main\nsince 9:00", target=ME, severity="high").id)
    assert "Build is red" in ok(call("tasks", "--status", "open", env=env))
    assert call("tasks", "--source", "nobody", env=env).stderr == "No task matches.\n"
    assert "is yours until" in ok(call("claim", f"task:{task}", env=env))
    assert ok(call("task", task, "--progress", "2 of 5", env=env)) == f"Task {task} is in_progress.\n"
    shown = ok(call("task", task, env=env))
    assert shown.startswith(f"Task {task}: Build is red\n  status     in_progress, held by {ME} until ")
    assert "  progress   2 of 5\n" in shown
    assert "  since 9:00\n" in shown
    refused = call("task", task, "done", "--from", "carl", env=env)
    assert refused.exit_code == 3
    assert ok(call("task", task, "done", "--result", "Fixed.", env=env)) == f"Task {task} is done.\n"
    document = json.loads(ok(call("task", task, "--json", env=env)))
    assert [each["type"] for each in document["history"]] == ["created", "claimed", "status", "status"]
    assert (document["task"]["result"], document["callbacks"]) == ("Fixed.", [])
    ended = call("claim", f"task:{task}", env=env)
    assert ended.exit_code == 3


def test_an_operator_overrules_the_holder(env: dict[str, str], relay: ServingRelay) -> None:
    ok(call("inbox", env=env))
    task = str(event(relay, title="Disk is full", target=ME).id)
    ok(call("claim", f"task:{task}", env=env))
    assert ok(call("task", task, "open", "--overrule", env=env)) == f"Task {task} is open.\n"


@pytest.mark.parametrize(
    "words",
    [
        ["claim", "x3"],
        ["claim", "pair:3"],
        ["complete", "1", "text", "--data", "{}"],
        ["complete", "1", "--data", "{"],
        ["task", "1", "--overrule"],
        ["task", "1", "done", "--result", "x", "--data", "{}"],
        ["task", "1", "finished"],
        ["events", "--types", "nonsense"],
        ["events", "--agent", "ben"],
        ["claim", "1", "--json", "--", "true"],
    ],
)
def test_what_cannot_be_meant_is_said(env: dict[str, str], words: list[str]) -> None:
    result = call(*words, env=env)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: " in result.stderr


# Leases


def test_a_lease_is_taken_listed_and_given_back(env: dict[str, str]) -> None:
    assert "is yours until" in ok(call("leases", "take", "file:src/**", env=env))
    held = call("leases", "take", "file:src/a.py", "--from", "ben", env=env)
    assert (held.exit_code, held.stderr.startswith(f"trio-relay: {ME} holds file:src/** until ")) == (3, True)
    assert [
        each["holder"] for each in json.loads(ok(call("leases", "--key", "file:src/a.py", "--json", env=env)))
    ] == [ME]
    assert "file:src/**" in ok(call("leases", "--holder", ME, env=env))
    assert ok(call("leases", "release", "file:src/**", env=env)) == "file:src/** is free again.\n"
    assert call("leases", "release", "file:src/**", env=env).exit_code == 3
    assert call("leases", env=env).stderr == "Nothing is held.\n"


def test_a_command_runs_while_the_lease_is_held(env: dict[str, str]) -> None:
    code = (
        "import os, subprocess, sys\n"
        "held = subprocess.run([sys.executable, '-m', 'trio_relay', 'leases', '--json'], capture_output=True)\n"
        "sys.exit(7 if os.environ['TRIO_RELAY_LEASE'].encode() in held.stdout else 9)"
    )
    assert call("leases", "run", "migration", "--", sys.executable, "-c", code, env=env).exit_code == 7
    assert call("leases", env=env).stderr == "Nothing is held.\n"
    missing = call("leases", "run", "migration", "--", "/no/such/program", env=env)
    assert (missing.exit_code, missing.stderr) == (127, "trio-relay: no program '/no/such/program'\n")
    ok(call("leases", "take", "migration", "--from", "ben", env=env))
    waited = call("leases", "run", "migration", "--wait", "0", "--", "true", env=env)
    assert (waited.exit_code, "'ben' holds 'migration'" in waited.stderr) == (3, True)
    ok(call("leases", "release", "migration", "--from", "ben", env=env))


# Events


def test_the_last_events_are_told(env: dict[str, str]) -> None:
    message = sent(env, "tag:nobody-yet", "hello", "--from", "eve")
    lines = ok(call("events", "--last", "3", env=env)).splitlines()
    assert len(lines) == 3
    assert lines[-1].endswith(f"message.new            [{message}] eve → tag:nobody-yet: hello")
    [last] = json.loads(ok(call("events", "--last", "1", "--json", env=env)))
    assert (last["kind"], last["data"]["id"]) == ("message.new", message)
    assert (
        call("events", "--since", str(last["id"]), env=env).stderr == "Nothing of that has happened lately.\n"
    )
    again = json.loads(
        ok(call("events", "--since", str(last["id"] - 1), "--types", "message.*", "--json", env=env))
    )
    assert [each["id"] for each in again] == [last["id"]]
