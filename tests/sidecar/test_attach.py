"""Which thread a sidecar attaches to, and what it does when it cannot have it."""

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from support.mock_model import Text, shell
from support.sidecar import Stage
from trio_relay.core.model import Rung
from trio_relay.settings import AgentSettings, SidecarSettings
from trio_relay.sidecar.state_file import State, StateFile
from trio_relay.sidecar.whoami import identify


async def fresh_thread(stage: Stage) -> str:
    """Have a person's terminal start a thread: in memory only, without a turn."""
    client = stage.fake.memory.join(lambda _: None)
    client.initialized = True
    frame = {"id": 1, "method": "thread/start", "params": {"cwd": "/home/ann/shop"}}
    thread_id: str = stage.fake.memory.answer(client, frame)["result"]["thread"]["id"]
    return thread_id


def introductions(stage: Stage) -> list[str]:
    return [params["threadId"] for method, params in stage.fake.calls if method == "thread/inject_items"]


async def test_a_fresh_thread_of_a_terminal_is_introduced_and_joined(stage: Stage) -> None:
    thread_id = await fresh_thread(stage)
    async with stage.sidecar(thread_mode="resume", thread_id=thread_id) as bob:
        sent = await stage.send(bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert bob.thread_id == thread_id
        assert stage.fake.thread(thread_id).client_ids == [f"relay:{sent.id}"]
        assert bob.agent_id.endswith(thread_id[-8:])
    assert introductions(stage) == [thread_id]


async def test_a_thread_is_introduced_once_and_not_at_every_connection(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        await bob.cut()
        await trio.sleep(10)
    async with stage.sidecar():
        pass
    assert introductions(stage) == [bob.thread_id]


async def test_a_compacted_thread_is_introduced_again_when_the_turn_is_over(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        thread = stage.fake.thread(bob.thread_id)
        await thread.compact()
        assert introductions(stage) == [bob.thread_id]
        sent = await stage.send(bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert introductions(stage) == [bob.thread_id] * 2
        assert "You are connected to a message relay" in str(thread.rollout.history)
        await bob.cut()
        await trio.sleep(10)
    assert introductions(stage) == [bob.thread_id] * 2


async def test_a_thread_in_use_is_introduced_when_it_is_joined(stage: Stage) -> None:
    async with stage.sidecar(name="first") as one:
        thread_id = one.thread_id
        sent = await stage.send(one.agent_id)
        await stage.until(sent.id, one.agent_id, Rung.SETTLED)
    async with stage.sidecar(name="second", thread_mode="resume", thread_id=thread_id):
        pass
    assert introductions(stage) == [thread_id, thread_id]


async def test_start_starts_another_thread_under_another_name(stage: Stage) -> None:
    async with stage.sidecar(thread_mode="start") as one:
        first = (one.agent_id, one.thread_id)
    async with stage.sidecar(thread_mode="start") as two:
        assert two.thread_id != first[1]
        assert two.agent_id != first[0]


async def test_a_thread_that_is_gone_is_replaced_by_a_new_one_if_none_was_asked_for(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        agent, thread_id = bob.agent_id, bob.thread_id
    await stage.fake.kill()
    stage.fake.disk.clear()
    await stage.fake.start()
    sent = await stage.send(agent)
    async with stage.sidecar() as bob:
        assert bob.agent_id == agent
        assert bob.thread_id != thread_id
        await stage.until(sent.id, agent, Rung.SETTLED)


async def test_a_thread_that_was_asked_for_and_is_gone_is_an_outage_with_a_reason(stage: Stage) -> None:
    missing = "019a0000-0000-7000-8000-00000000dead"
    async with stage.sidecar(ready=False, thread_mode="resume", thread_id=missing) as bob:
        await trio.sleep(30)
        agent = await stage.relay.agent(bob.agent_id)
        assert not agent.ready
        assert agent.ready_reason is not None
        assert missing in agent.ready_reason
        tried = len([method for method, _ in stage.fake.calls if method == "thread/resume"])
        assert tried < 40  # with pauses that grow
    assert [method for method, _ in stage.fake.calls if method == "thread/start"] == []


async def test_messages_in_context_of_a_thread_that_is_gone_are_settled_as_unknown(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        stage.fake.model.script = [shell("sleep 1000"), Text("Done.")]
        sent = await stage.send(bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.IN_CONTEXT)
    await stage.fake.kill()
    stage.fake.disk.clear()
    await stage.fake.start()
    async with stage.sidecar() as bob:
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert (await stage.evidence(sent.id, bob.agent_id))["settled"]["turn"] == "unknown"
        assert stage.fake.thread(bob.thread_id).client_ids == []


async def test_the_wishes_for_a_new_thread_are_passed_on(stage: Stage) -> None:
    async with stage.sidecar(agent=AgentSettings(approval="read-only"), model="gpt-x"):
        pass
    (start,) = [params for method, params in stage.fake.calls if method == "thread/start"]
    assert start == {
        "cwd": "/home/ann/shop",
        "model": "gpt-x",
        "approvalPolicy": "never",
        "sandbox": "read-only",
    }


def test_the_state_file_is_private_atomic_and_forgiving(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state.json"
    book = StateFile.open(path, lambda: 12.5)
    book.update(agent_id="bob", cursor=3)
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["agentId"] == "bob"
    assert json.loads(path.read_text())["updatedAt"] == 12_500
    assert [each.name for each in path.parent.iterdir()] == ["state.json"]
    assert StateFile.open(path, lambda: 0).state.cursor == 3
    for damaged in ("", "{", '{"cursor": "three"}', "\udcff"):
        path.write_text(damaged, errors="surrogateescape")
        assert StateFile.open(path, lambda: 0).state == State()


def who(settings: AgentSettings, tmp_path: Path) -> Any:
    return identify(settings, SidecarSettings(), State(), host="h", cwd=str(tmp_path), instance_id="i" * 8)


def test_a_profile_gives_the_identity_and_a_missing_one_only_a_warning(tmp_path: Path, capsys: Any) -> None:
    profiles = tmp_path / "profiles.json"
    profiles.write_text('{"reviewer": {"label": "Rita", "tags": ["review"], "approval": "guarded"}}')
    rita = who(AgentSettings(profile="reviewer", profiles_file=str(profiles)), tmp_path)
    assert (rita.resolved.label, rita.approval, rita.approval_policy) == ("Rita", "guarded", "on-request")
    assert rita.registration("online", "t").meta["profile"] == "reviewer"
    for name, path, says in [
        ("nobody", profiles, "(which has: reviewer)"),
        ("x", tmp_path / "missing.json", "cannot be read"),
    ]:
        plain = who(AgentSettings(profile=name, profiles_file=str(path)), tmp_path)
        assert plain.resolved.capabilities == ("chat",)
        assert says in capsys.readouterr().out


@pytest.mark.parametrize(
    ("policy", "sandbox", "mode"),
    [("never", "workspace-write", "open"), ("on-request", None, "guarded"), (None, "read-only", "read-only")],
)
def test_the_approval_mode_is_derived_from_what_the_launcher_was_told(
    tmp_path: Path, policy: str | None, sandbox: str | None, mode: str
) -> None:
    sidecar = SidecarSettings(approval_policy=policy, sandbox=sandbox)
    me = identify(AgentSettings(), sidecar, State(), host="h", cwd=str(tmp_path), instance_id="i")
    assert me.approval == mode
    assert (me.approval_policy, me.sandbox) == (policy, sandbox)
