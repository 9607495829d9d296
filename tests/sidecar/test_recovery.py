"""Whatever goes away and comes back, nothing is lost and nothing is said twice."""

from typing import Any

import httpx2
import trio

from support.fake_app_server import fake_app_server
from support.fake_codex_thread import Said
from support.mock_model import Text, shell
from support.relay import CuttableTransport
from support.sidecar import Stage, interrupted_and_said_again
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.core.wire import AgentRegistration
from trio_relay.sidecar.run import Exit


async def test_what_arrived_while_it_was_down_is_delivered(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        first = await stage.send(bob.agent_id)
        await stage.until(first.id, bob.agent_id, Rung.SETTLED)
    missed = [await stage.send(bob.agent_id, f"missed {number}") for number in range(3)]
    async with stage.sidecar() as again:
        assert (again.agent_id, again.thread_id) == (bob.agent_id, bob.thread_id)
        for sent in missed:
            await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
    ids = ",".join(str(sent.id) for sent in missed)
    assert stage.fake.thread(bob.thread_id).client_ids == [f"relay:{first.id}", f"relay:{ids}"]


async def test_an_app_server_that_dies_before_its_answer_is_asked_what_it_did(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        died: list[float] = []

        async def die(method: str, _: dict[str, Any]) -> None:
            if method == "turn/start" and not died:
                died.append(trio.current_time())
                await trio.sleep(1)  # the turn has run and is over, its answer was never sent
                await stage.fake.kill()
                await stage.fake.start()

        stage.fake.before_answer = die
        sent = await stage.send(bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert stage.fake.disk[bob.thread_id].items[0]["item"]["clientId"] == f"relay:{sent.id}"
        users = [e for e in stage.fake.disk[bob.thread_id].items if e["item"]["type"] == "userMessage"]
        assert len(users) == 1
        assert len(await stage.replies()) == 1


async def test_a_call_that_is_carried_out_late_is_waited_for(stage: Stage) -> None:
    async with stage.sidecar(reconnect_initial=0.1) as bob:
        fake = stage.fake
        thread = fake.thread(bob.thread_id)

        async def late(params: dict[str, Any]) -> None:
            await trio.sleep(0.9)
            thread.accept(
                fake.memory.process, Said(params["input"][0]["text"], params["clientUserMessageId"])
            )

        async def hang(method: str, params: dict[str, Any]) -> None:
            if method == "turn/start":
                fake.before_call = None
                fake.memory.process.start_soon(late, params)
                await bob.cut()
                await trio.sleep_forever()

        fake.before_call = hang
        sent = await stage.send(bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        await trio.sleep(5)
        assert thread.client_ids == [f"relay:{sent.id}"]
        (receipt,) = await stage.relay.receipts(sent.id)
        assert receipt.attempts == 1


async def test_a_turn_that_runs_on_while_the_sidecar_is_away_is_answered_when_it_is_back(
    stage: Stage,
) -> None:
    stage.fake.model.script = [shell("sleep 100"), Text("Here is the result.")]
    async with stage.sidecar() as bob:
        sent = await stage.send(bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.IN_CONTEXT)
    assert await stage.replies() == []
    async with stage.sidecar() as bob:  # the turn still runs
        await trio.sleep(20)
        assert (await stage.relay.agent(bob.agent_id)).status is AgentStatus.BUSY
    await trio.sleep(200)  # it ends with nobody there
    async with stage.sidecar() as bob:
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert [reply.body for reply in await stage.replies()] == ["Here is the result."]
        assert stage.fake.thread(bob.thread_id).client_ids == [f"relay:{sent.id}"]


async def test_an_app_server_killed_in_the_middle_of_a_turn_comes_back_with_the_same_thread(
    stage: Stage,
) -> None:
    async with stage.sidecar() as bob:
        stage.fake.model.script = [shell("sleep 100"), Text("Never said."), Text("Better.")]
        sent = await stage.send(bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.IN_CONTEXT)
        await stage.fake.kill()
        await trio.sleep(5)
        agent = await stage.relay.agent(bob.agent_id)
        assert (agent.status, agent.ready) == (AgentStatus.ONLINE, False)
        assert "cannot be reached" in (agent.ready_reason or "")
        waiting = await stage.send(bob.agent_id, "meanwhile")
        stage.fake.model.script = Text("Better.")
        await stage.fake.start()
        for each in (sent, waiting):
            await stage.until(each.id, bob.agent_id, Rung.SETTLED)
        assert (await stage.evidence(sent.id, bob.agent_id))["settled"]["turn"] == "interrupted"
        assert stage.fake.thread(bob.thread_id).client_ids == [f"relay:{sent.id}", f"relay:{waiting.id}"]
        assert [reply.reply_to for reply in await stage.replies()] == [waiting.id]


async def test_an_app_server_that_drains_takes_the_message_after_its_restart(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        stage.fake.model.script = [shell("sleep 3"), Text("One."), Text("Two.")]
        first = await stage.send(bob.agent_id)
        await stage.until(first.id, bob.agent_id, Rung.IN_CONTEXT)
        stage.fake.drain()
        second = await stage.send(bob.agent_id)
        while stage.fake.running:
            await trio.sleep(0.1)
        await stage.fake.start()
        await stage.until(second.id, bob.agent_id, Rung.SETTLED)
        (receipt,) = await stage.relay.receipts(second.id)
        assert receipt.attempts == 1


async def test_a_person_s_interrupt_does_not_lose_what_was_accepted(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        sent = await interrupted_and_said_again(stage, bob)
        assert stage.fake.thread(bob.thread_id).client_ids == [f"relay:{sent.id}"]
        (receipt,) = await stage.relay.receipts(sent.id)
        assert receipt.attempts == 2


class ForgetfulTransport(CuttableTransport):
    """Does every request, and loses the answer of the first that sends a message."""

    lost = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        if request.method == "POST" and request.url.path == "/api/messages" and not self.lost:
            self.lost += 1
            raise httpx2.ReadError("the answer was lost", request=request)
        return response


async def test_a_reply_whose_answer_was_lost_is_there_once(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        forgetful = ForgetfulTransport(stage.room.app)
        bob.transport.handle_async_request = forgetful.handle_async_request  # type: ignore[method-assign]
        sent = await stage.send(bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert forgetful.lost == 1
        assert len(await stage.replies()) == 1


async def test_a_relay_that_is_away_for_a_while_hears_everything_afterwards(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        stage.fake.model.script = [shell("sleep 30"), Text("Done meanwhile.")]
        sent = await stage.send(bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.IN_CONTEXT)
        bob.transport.broken = True
        await trio.sleep(60)
        bob.transport.broken = False
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert [reply.body for reply in await stage.replies()] == ["Done meanwhile."]


async def test_it_starts_without_relay_and_app_server_and_finds_both(stage: Stage) -> None:
    await stage.fake.kill()
    stage.room.transport.broken = False
    async with stage.sidecar(ready=False) as bob:
        bob.transport.broken = True
        await trio.sleep(100)
        bob.transport.broken = False
        await trio.sleep(100)
        await stage.fake.start()
        await bob.ready()
        sent = await stage.send(bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)


async def test_an_agent_the_relay_has_forgotten_registers_again_and_goes_on(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        stage.fake.model.script = [shell("sleep 100"), Text("Done.")]
        sent = await stage.send(bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.IN_CONTEXT)
        await stage.relay.remove_agent(bob.agent_id)
        await trio.sleep(35)  # until the next heartbeat at the latest
        agent = await stage.relay.agent(bob.agent_id)
        assert agent.ready
        later = await stage.send(bob.agent_id, "later")
        await stage.until(later.id, bob.agent_id, Rung.SETTLED)
        assert stage.fake.thread(bob.thread_id).client_ids == [f"relay:{sent.id}", f"relay:{later.id}"]


async def test_a_replaced_instance_stops_and_says_who_replaced_it(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        await stage.relay.register(AgentRegistration(id=bob.agent_id, instance_id="newer", machine="desk"))
        await bob.done.wait()
        assert bob.exit_code == Exit.REPLACED
        assert bob.state.status == "replaced"
        assert bob.state.reason == "replaced by instance newer, epoch 2, on desk"
        agent = await stage.relay.agent(bob.agent_id)
        assert (agent.instance_id, agent.status) == (
            "newer",
            AgentStatus.ONLINE,
        )  # not called offline by the old one


async def test_a_second_sidecar_of_the_same_thread_takes_over_without_saying_anything_twice(
    stage: Stage,
) -> None:
    async with stage.sidecar(name="one") as old:
        stage.fake.model.script = [shell("sleep 50"), Text("Done.")]
        sent = await stage.send(old.agent_id)
        await stage.until(sent.id, old.agent_id, Rung.IN_CONTEXT)
        steered = await stage.send(old.agent_id)
        await stage.until(steered.id, old.agent_id, Rung.HANDED_OFF)
        old.state_path.with_name("two.json").write_bytes(old.state_path.read_bytes())
        async with stage.sidecar(name="two") as new:
            await old.done.wait()
            assert old.exit_code == Exit.REPLACED
            for each in (sent, steered):
                await stage.until(each.id, new.agent_id, Rung.SETTLED)
            thread = stage.fake.thread(new.thread_id)
            assert thread.client_ids == [f"relay:{sent.id}", f"relay:{steered.id}"]
            assert len(await stage.replies()) == 2


async def test_without_its_state_file_it_still_says_nothing_twice(stage: Stage) -> None:
    async with stage.sidecar(ready=False, thread_mode="start") as bob:
        await bob.ready()
        thread_id = bob.thread_id
    async with stage.sidecar(name="a", thread_mode="resume", thread_id=thread_id) as bob:
        stage.fake.model.script = [shell("sleep 50"), Text("Done.")]
        sent = [await stage.send(bob.agent_id) for _ in range(2)]
        await stage.until(sent[0].id, bob.agent_id, Rung.IN_CONTEXT)
        late = await stage.send(bob.agent_id)
        await stage.until(late.id, bob.agent_id, Rung.HANDED_OFF)
    async with stage.sidecar(name="b", thread_mode="resume", thread_id=thread_id) as again:
        assert again.agent_id == bob.agent_id
        for each in (*sent, late):
            await stage.until(each.id, bob.agent_id, Rung.SETTLED)
        ids = ",".join(str(each.id) for each in sent)
        assert stage.fake.thread(thread_id).client_ids == [f"relay:{ids}", f"relay:{late.id}"]


async def test_a_codex_older_than_any_that_was_tried_is_refused_with_the_reason(stage: Stage) -> None:
    async with fake_app_server(version="0.129.0") as old:
        stage.fake = old
        async with stage.sidecar(ready=False) as bob:
            await trio.sleep(5)
            assert bob.state.reason == "Codex 0.129 is too old: 0.130 or newer is needed"
            assert not (await stage.relay.agent(bob.agent_id)).ready
