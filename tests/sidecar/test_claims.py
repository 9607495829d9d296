"""Claimable messages: claimed right before they go, renewed while the turn runs, finished with it."""

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from support.fake_codex_thread import Said
from support.mock_model import Failure, Text, shell
from support.sidecar import Stage
from trio_relay.core.model import Rung
from trio_relay.core.wire import AgentRegistration, SentMessage
from trio_relay.settings import AgentSettings, SidecarSettings
from trio_relay.sidecar.state_file import State
from trio_relay.sidecar.whoami import identify


async def work(stage: Stage, to: str) -> SentMessage:
    return await stage.send(to, "whoever can", claimable=True)


async def test_claimed_work_is_kept_while_the_turn_runs_and_completed_with_it(stage: Stage) -> None:
    stage.fake.model.script = [shell("sleep 1000"), Text("Done.")]  # many times the 90 s a claim lasts
    async with stage.sidecar() as bob:
        sent = await work(stage, bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.IN_CONTEXT)
        await trio.sleep(500)
        assert (await stage.relay.message(sent.id)).claimed_by == bob.agent_id
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert (await stage.evidence(sent.id, bob.agent_id))["settled"]["claim"] == "completed"
        assert [reply.body for reply in await stage.replies()] == ["Done."]


async def test_of_several_agents_one_gets_the_work(stage: Stage) -> None:
    settings: dict[str, Any] = {"thread_mode": "start"}
    async with stage.sidecar(name="b", **settings) as bob, stage.sidecar(name="c", **settings) as carol:
        sent = await work(stage, "cap:chat")
        agents = {bob.agent_id, carol.agent_id}
        for agent in agents:
            await stage.until(sent.id, agent, Rung.SETTLED)
        delivered = [stage.fake.thread(each.thread_id).client_ids for each in (bob, carol)]
        assert sorted(delivered) == [[], [f"relay:{sent.id}"]]
        assert len(await stage.replies()) == 1


async def test_work_whose_turn_fails_is_given_to_another(stage: Stage) -> None:
    stage.fake.model.script = [Failure(500), Text("I could.")]
    async with stage.sidecar(name="b", thread_mode="start") as bob:
        sent = await work(stage, "cap:chat")
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert (await stage.evidence(sent.id, bob.agent_id))["settled"]["claim"] == "released"
        async with stage.sidecar(name="c", thread_mode="start") as carol:
            await stage.until(sent.id, carol.agent_id, Rung.SETTLED)
            assert (await stage.evidence(sent.id, carol.agent_id))["settled"]["claim"] == "completed"


async def test_work_somebody_else_holds_is_left_to_them_and_taken_when_they_give_it_back(
    stage: Stage,
) -> None:
    async with stage.sidecar() as bob:
        thread = stage.fake.thread(bob.thread_id)
        await stage.relay.register(AgentRegistration(id="carol", capabilities=["chat"], instance_id="c"))
        stage.fake.model.script = [shell("sleep 10"), Text("The person's."), Text("Mine now.")]
        thread.accept(stage.fake.memory.process, Said("the person's work", None))
        await trio.sleep(1)
        sent = await stage.send("cap:chat", claimable=True, meta={"delivery": "start"})
        claimed = await stage.relay.claim(sent.id, "carol")
        await trio.sleep(30)
        assert await stage.rung(sent.id, bob.agent_id) is Rung.QUEUED
        assert bob.state.pending_count == 0
        await stage.relay.release(sent.id, "carol", claimed.lease_token)
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert [reply.body for reply in await stage.replies()] == ["Mine now."]


async def test_a_claim_is_not_kept_for_work_that_cannot_be_delivered(stage: Stage) -> None:
    async with stage.sidecar() as bob:

        async def refuse(method: str, _: dict[str, Any]) -> None:
            if method == "turn/start":
                stage.fake.memory.draining = True

        stage.fake.before_call = refuse
        sent = await work(stage, bob.agent_id)
        while not stage.fake.memory.draining:
            await trio.sleep(0.1)
        await trio.sleep(1)
        assert (await stage.relay.message(sent.id)).claimed_by is None
        stage.fake.before_call = None
        stage.fake.memory.draining = False
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert stage.fake.thread(bob.thread_id).client_ids == [f"relay:{sent.id}"]
        assert (await stage.evidence(sent.id, bob.agent_id))["settled"]["claim"] == "completed"


async def test_a_claim_lost_to_a_silent_relay_is_not_completed(stage: Stage) -> None:
    stage.fake.model.script = [shell("sleep 300"), Text("Done.")]
    async with stage.sidecar() as bob:
        sent = await work(stage, bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.IN_CONTEXT)
        bob.transport.broken = True
        await trio.sleep(120)
        bob.transport.broken = False
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert (await stage.evidence(sent.id, bob.agent_id))["settled"]["claim"] == "lost"


async def test_work_is_claimed_as_soon_as_the_relay_can_be_asked(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        stage.fake.model.script = [shell("sleep 20"), Text("First."), Text("Second.")]
        first = await stage.send(bob.agent_id)
        await stage.until(first.id, bob.agent_id, Rung.IN_CONTEXT)
        sent = await stage.send(bob.agent_id, claimable=True, meta={"delivery": "start"})
        await trio.sleep(1)
        bob.transport.broken = True
        await trio.sleep(40)
        assert bob.state.pending_count == 1
        bob.transport.broken = False
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert (await stage.evidence(sent.id, bob.agent_id))["settled"]["claim"] == "completed"


async def test_going_away_gives_claims_back(stage: Stage) -> None:
    stage.fake.model.script = [shell("sleep 300"), Text("Done.")]
    async with stage.sidecar() as bob:
        sent = await work(stage, bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.IN_CONTEXT)
    assert (await stage.relay.message(sent.id)).claimed_by is None


async def test_an_agent_that_asks_a_person_is_offered_work_and_claims_nothing(stage: Stage) -> None:
    stage.fake.model.script = [Text("I have asked my user."), Text("They said yes."), Text("Hello.")]
    guarded = AgentSettings(approval="guarded")
    async with stage.sidecar(agent=guarded) as bob:
        sent = await work(stage, bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert (await stage.evidence(sent.id, bob.agent_id))["settled"]["claim"] == "offered"
        assert (await stage.relay.message(sent.id)).claimed_by is None
        assert await stage.replies() == []
        said = stage.fake.thread(bob.thread_id).user_texts[0]
        assert "claimable" in said
        assert "claimed by you" not in said
        assert "An offer: nothing is claimed for you" in said
        await stage.relay.claim(sent.id, bob.agent_id)  # its model does, with its tool
        ordinary = await stage.send(bob.agent_id, "hello")
        await stage.until(ordinary.id, bob.agent_id, Rung.SETTLED)
        assert [reply.body for reply in await stage.replies()] == ["They said yes."]
        held = await stage.relay.message(sent.id)
    assert held.claimed_by == bob.agent_id


async def test_work_somebody_else_holds_is_not_offered(stage: Stage) -> None:
    async with stage.sidecar(agent=AgentSettings(approval="guarded")) as bob:
        bob.transport.broken = True
        await stage.relay.register(AgentRegistration(id="carol", capabilities=["chat"], instance_id="c"))
        sent = await work(stage, "cap:chat")
        held = await stage.relay.claim(sent.id, "carol")
        bob.transport.broken = False
        await trio.sleep(20)
        assert stage.fake.thread(bob.thread_id).client_ids == []
        await stage.relay.release(sent.id, "carol", held.lease_token)
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)


@pytest.mark.parametrize(
    ("approval", "auto_claim", "offers"),
    [
        ("open", None, False),
        ("read-only", None, False),
        ("guarded", None, True),
        ("guarded", True, False),
        ("open", False, True),
    ],
)
def test_the_profile_has_the_last_word_on_what_is_claimed(
    tmp_path: Path, approval: str, auto_claim: bool | None, offers: bool
) -> None:
    profile = {"approval": approval} | ({} if auto_claim is None else {"autoClaim": auto_claim})
    (tmp_path / "p.json").write_text(json.dumps({"x": profile}))
    settings = AgentSettings(profile="x", profiles_file=str(tmp_path / "p.json"))
    me = identify(settings, SidecarSettings(), State(), host="box", cwd="/shop", instance_id="i")
    assert me.offers_work is offers
