"""What a compacted Codex session is told by the SessionStart hook, which disturbs none."""

import json
from typing import Any

import pytest

from support.commands import call
from support.relay import Room
from trio_relay.cli.sessions.hook import context_of
from trio_relay.core.model import AgentStatus
from trio_relay.core.wire import AgentRegistration

THREAD = "01a1fcc9-a402-7861-8e13-bc275d5cb744"


def run(given: Any) -> Any:
    text = given if isinstance(given, str) else json.dumps(given)
    env = {"AGENT_RELAY_URL": "http://127.0.0.1:1"}
    return call("hook", "codex", "session-start", env=env, stdin=text)


async def test_a_compacted_session_is_told_who_it_is(room: Room) -> None:
    meta = {"threadId": THREAD, "profile": "reviewer", "channels": ["ops"], "approvalMode": "guarded"}
    await room.relay.register(AgentRegistration(id="bob", tags=["codex"], meta=meta))
    text = await context_of(room.relay, "http://relay", THREAD, auto_reply=True)
    assert text is not None
    for part in ("as agent bob", "Profile: reviewer", "Channels: ops", "Approval mode guarded"):
        assert part in text


async def test_a_session_of_nobody_of_one_who_is_gone_or_of_two_is_told_nothing(room: Room) -> None:
    async def told() -> str | None:
        return await context_of(room.relay, "http://relay", THREAD, auto_reply=True)

    assert await told() is None
    await room.relay.register(AgentRegistration(id="bob", meta={"threadId": THREAD}))
    await room.relay.register(AgentRegistration(id="carol", meta={"threadId": THREAD}))
    assert await told() is None
    await room.relay.set_status("bob", AgentStatus.OFFLINE)
    await room.relay.set_status("carol", AgentStatus.OFFLINE)
    assert await told() is None


@pytest.mark.parametrize("source", ["startup", "resume", "clear"])
def test_a_session_that_begins_is_introduced_by_its_sidecar(source: str) -> None:
    result = run({"session_id": THREAD, "source": source, "cwd": "/"})
    assert (result.exit_code, result.output) == (0, "")


def test_without_the_relay_the_session_goes_on() -> None:
    result = run({"session_id": THREAD, "source": "compact"})
    assert (result.exit_code, result.stdout) == (0, "")
    assert "127.0.0.1:1" in result.stderr


@pytest.mark.parametrize(
    "given", ["", "no JSON", "[1]", "[" * 100_000, {"source": "compact"}, {"session_id": 7}]
)
def test_what_is_not_codex_s_input_disturbs_no_session(given: Any) -> None:
    result = run(given)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("trio-relay: standard input is not what Codex gives")
