"""A message reaches the thread, and the answer comes back."""

from typing import Any

import pytest
import trio

from support.fake_codex_thread import Said
from support.mock_model import Failure, Text, ToolCall, shell
from support.sidecar import Stage
from trio_relay.core.model import AgentStatus, Authority, Rung
from trio_relay.core.wire import SendRequest
from trio_relay.settings import AgentSettings


async def test_a_message_reaches_an_idle_thread_and_the_answer_comes_back(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        stage.fake.model.script = Text("The migration is fine.")
        sent = await stage.send(bob.agent_id, "check the migration", subject="Friday")
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)

        thread = stage.fake.thread(bob.thread_id)
        assert thread.client_ids == [f"relay:{sent.id}"]
        assert "check the migration" in thread.user_texts[0]
        assert await stage.ladder(sent.id, bob.agent_id) == [
            "accepted", "queued", "handed_off", "in_context", "answered", "settled"
        ]  # fmt: skip
        (reply,) = await stage.replies()
        assert (reply.body, reply.reply_to, reply.type, reply.sender) == (
            "The migration is fine.", sent.id, "reply", bob.agent_id
        )  # fmt: skip
        evidence = await stage.evidence(sent.id, bob.agent_id)
        turn = stage.fake.disk[bob.thread_id].turns[0]["id"]
        assert evidence["handed_off"] == {
            "attemptId": f"{bob.state.instance_id}:0",
            "threadId": bob.thread_id,
            "clientId": f"relay:{sent.id}",
            "mode": "start",
        }
        assert evidence["in_context"].keys() == {
            "threadId",
            "turnId",
            "itemId",
            "clientId",
            "proof",
            "mode",
        }
        assert evidence["in_context"]["turnId"] == turn
        assert evidence["answered"] == {"replyId": reply.id}
        assert evidence["settled"] == {"turn": "completed", "turnId": turn}
        assert bob.state.in_flight == []


async def test_a_lone_message_waits_for_company_at_most_fifty_milliseconds(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        sent = await stage.send(bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        (receipt,) = await stage.relay.receipts(sent.id)
        at = {str(step.state): step.at for step in receipt.steps}
        assert at["handed_off"] - at["accepted"] <= 50


async def test_a_burst_becomes_one_turn_and_each_sender_gets_one_reply_a_conversation(stage: Stage) -> None:
    await stage.join("carol")
    async with stage.sidecar() as bob:
        first = await stage.send(bob.agent_id, "one")
        second = await stage.send(bob.agent_id, "two", reply_to=first.id)
        other = await stage.send(bob.agent_id, "three", sender="carol")
        apart = await stage.send(bob.agent_id, "four")
        for sent in (first, second, other, apart):
            await stage.until(sent.id, bob.agent_id, Rung.SETTLED)

        ids = ",".join(str(sent.id) for sent in (first, second, other, apart))
        assert stage.fake.thread(bob.thread_id).client_ids == [f"relay:{ids}"]
        assert [reply.reply_to for reply in await stage.replies()] == [second.id, apart.id]
        (to_carol,) = await stage.replies("carol")
        assert to_carol.reply_to == other.id
        evidence = await stage.evidence(first.id, bob.agent_id)
        assert evidence["answered"] == {"replyId": (await stage.replies())[0].id}


async def test_a_message_to_a_busy_thread_is_steered_into_the_running_turn(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        stage.fake.model.script = [shell("sleep 30"), Text("Did both.")]
        first = await stage.send(bob.agent_id, "first")
        await stage.until(first.id, bob.agent_id, Rung.IN_CONTEXT)
        second = await stage.send(bob.agent_id, "second")
        await stage.until(second.id, bob.agent_id, Rung.HANDED_OFF)
        assert (await stage.relay.agent(bob.agent_id)).status is AgentStatus.BUSY
        for sent in (first, second):
            await stage.until(sent.id, bob.agent_id, Rung.SETTLED)

        assert len(stage.fake.disk[bob.thread_id].turns) == 1
        assert (await stage.evidence(second.id, bob.agent_id))["handed_off"]["mode"] == "steer"
        assert [(reply.reply_to, reply.body) for reply in await stage.replies()] == [
            (first.id, "Did both."),
            (second.id, "Did both."),
        ]


async def test_an_urgent_message_interrupts_and_what_the_interrupt_lost_is_delivered_again(
    stage: Stage,
) -> None:
    async with stage.sidecar(agent=AgentSettings(may_interrupt=(Authority.PEER,))) as bob:
        stage.fake.model.script = [shell("sleep 1000"), Text("Stopped."), Text("And the rest.")]
        first = await stage.send(bob.agent_id, "long work")
        await stage.until(first.id, bob.agent_id, Rung.IN_CONTEXT)
        steered = await stage.send(bob.agent_id, "a detail")
        await stage.until(steered.id, bob.agent_id, Rung.HANDED_OFF)  # waits for the tool: not in context
        urgent = await stage.send(bob.agent_id, "stop!", meta={"priority": "urgent"})
        for sent in (first, steered, urgent):
            await stage.until(sent.id, bob.agent_id, Rung.SETTLED)

        thread = stage.fake.thread(bob.thread_id)
        assert sorted(thread.client_ids) == sorted(f"relay:{sent.id}" for sent in (first, steered, urgent))
        assert (await stage.evidence(first.id, bob.agent_id))["settled"]["turn"] == "interrupted"
        assert (await stage.evidence(urgent.id, bob.agent_id))["handed_off"]["mode"] == "interrupt"
        again = await stage.evidence(steered.id, bob.agent_id)
        assert again["handed_off"]["after"] == "not seen in context"
        assert {reply.reply_to for reply in await stage.replies()} == {steered.id, urgent.id}


async def test_a_message_that_wants_a_turn_of_its_own_waits_for_the_end_of_the_running_one(
    stage: Stage,
) -> None:
    async with stage.sidecar() as bob:
        stage.fake.model.script = [shell("sleep 30"), Text("First."), Text("Second.")]
        first = await stage.send(bob.agent_id, "first")
        await stage.until(first.id, bob.agent_id, Rung.IN_CONTEXT)
        second = await stage.send(bob.agent_id, "second", meta={"delivery": "start"})
        await stage.until(second.id, bob.agent_id, Rung.SETTLED)
        assert [turn["status"] for turn in stage.fake.disk[bob.thread_id].turns] == ["completed"] * 2
        assert [reply.body for reply in await stage.replies()] == ["First.", "Second."]
        (receipt,) = await stage.relay.receipts(second.id)
        assert receipt.attempts == 1  # waiting for a busy thread is no attempt


@pytest.mark.parametrize("meanwhile", ["ended", "another turn"])
async def test_a_steer_that_comes_too_late_still_arrives_once(stage: Stage, meanwhile: str) -> None:
    async with stage.sidecar() as bob:
        stage.fake.model.script = [shell("sleep 1000"), Text("Done.")]
        first = await stage.send(bob.agent_id, "first")
        await stage.until(first.id, bob.agent_id, Rung.IN_CONTEXT)
        thread = stage.fake.thread(bob.thread_id)

        async def person_acts(method: str, params: dict[str, Any]) -> None:
            if method == "turn/steer":
                stage.fake.before_call = None
                thread.interrupt(params["expectedTurnId"])
                if meanwhile == "another turn":
                    thread.accept(stage.fake.memory.process, Said("never mind", None))

        stage.fake.before_call = person_acts
        second = await stage.send(bob.agent_id, "second")
        await stage.until(second.id, bob.agent_id, Rung.SETTLED)
        assert thread.client_ids == [f"relay:{first.id}", f"relay:{second.id}"]
        mode = "start" if meanwhile == "ended" else "steer"
        assert (await stage.evidence(second.id, bob.agent_id))["in_context"]["mode"] == mode


@pytest.mark.parametrize("final", ["NO_REPLY", "  NO_REPLY\n"])
async def test_nothing_is_answered_when_the_model_says_so(stage: Stage, final: str) -> None:
    async with stage.sidecar() as bob:
        stage.fake.model.script = Text(final)
        sent = await stage.send(bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert "answered" not in await stage.ladder(sent.id, bob.agent_id)
        assert await stage.replies() == []


async def test_an_acknowledgement_wakes_nobody(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        sent = await stage.send(bob.agent_id, "Thanks!", type="ack")
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert (await stage.evidence(sent.id, bob.agent_id))["settled"] == {
            "skipped": "silent",
            "type": "ack",
        }
        assert stage.fake.thread(bob.thread_id).user_texts == []


async def test_a_message_withdrawn_in_the_last_moment_is_not_delivered(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        stage.fake.model.script = [shell("sleep 30"), Text("First."), Text("Second.")]
        first = await stage.send(bob.agent_id, "first")
        await stage.until(first.id, bob.agent_id, Rung.IN_CONTEXT)
        own = {"delivery": "start"}
        second = await stage.send(bob.agent_id, "deploy!", meta=own)
        third = await stage.send(bob.agent_id, "no, do not deploy", meta=own, supersedes=second.id)
        await stage.until(third.id, bob.agent_id, Rung.SETTLED)
        assert await stage.rung(second.id, bob.agent_id) is Rung.RETRACTED
        assert stage.fake.thread(bob.thread_id).client_ids == [f"relay:{first.id}", f"relay:{third.id}"]


async def test_a_batch_goes_without_the_one_that_was_withdrawn(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        stage.fake.model.script = [shell("sleep 30"), Text("Done.")]
        first = await stage.send(bob.agent_id, "first")
        await stage.until(first.id, bob.agent_id, Rung.IN_CONTEXT)
        batch = [await stage.send(bob.agent_id, f"number {number}") for number in range(3)]
        await stage.relay.delete(batch[1].id)
        await stage.until(batch[2].id, bob.agent_id, Rung.SETTLED)
        ids = f"relay:{batch[0].id},{batch[2].id}"
        assert stage.fake.thread(bob.thread_id).client_ids == [f"relay:{first.id}", ids]


async def test_what_is_lost_again_and_again_is_dead_with_the_reason(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        thread = stage.fake.thread(bob.thread_id)
        stage.fake.model.script = lambda _: shell("sleep 1000")

        async def person_begins_anew() -> None:
            thread.accept(stage.fake.memory.process, Said("the person's work", None))
            while thread.turn is None or not thread.turn.begun:
                await trio.sleep(0.01)

        async def person_interrupts(method: str, _: dict[str, Any]) -> None:
            if method == "turn/steer" and thread.turn is not None:
                thread.interrupt(thread.turn.id)
                await person_begins_anew()

        await person_begins_anew()
        stage.fake.before_answer = person_interrupts
        sent = await stage.send(bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.DEAD)
        (receipt,) = await stage.relay.receipts(sent.id)
        assert receipt.attempts == 5
        assert receipt.steps[-1].evidence["after"] == "not seen in context"
        assert thread.client_ids == []
        assert bob.state.in_flight == []


async def test_a_canary_proves_the_way_without_waking_the_model(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        sent = await stage.send(bob.agent_id, type="canary")
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert await stage.ladder(sent.id, bob.agent_id) == ["accepted", "queued", "handed_off", "settled"]
        assert (await stage.evidence(sent.id, bob.agent_id))["settled"] == {
            "canary": "the thread is there",
            "threadId": bob.thread_id,
            "thread": "idle",
        }
        assert stage.fake.model.requests == []


async def test_automatic_replies_can_be_turned_off(stage: Stage) -> None:
    async with stage.sidecar(auto_reply="off") as bob:
        sent = await stage.send(bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert await stage.replies() == []
        assert "NO_REPLY" not in stage.fake.thread(bob.thread_id).user_texts[0]


async def test_what_the_model_has_answered_itself_is_not_answered_again(stage: Stage) -> None:
    async with stage.sidecar() as bob:

        async def answer_by_tool(_: dict[str, Any]) -> str:
            await stage.relay.send(
                SendRequest(sender=bob.agent_id, to="alice", body="by tool", reply_to=sent.id)
            )
            return "sent"

        stage.fake.tools["relay_send"] = answer_by_tool
        stage.fake.model.script = [ToolCall("relay_send", {}), Text("I have answered.")]
        sent = await stage.send(bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert [reply.body for reply in await stage.replies()] == ["by tool"]


async def test_a_failed_turn_is_told_as_it_was_and_the_next_one_works(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        stage.fake.model.script = [Failure(500, "overloaded"), Text("Better now.")]
        sent = await stage.send(bob.agent_id, "first")
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert await stage.ladder(sent.id, bob.agent_id) == [
            "accepted", "queued", "handed_off", "in_context", "settled"
        ]  # fmt: skip
        evidence = await stage.evidence(sent.id, bob.agent_id)
        assert evidence["settled"]["turn"] == "failed"
        assert evidence["settled"]["error"] == "overloaded"
        second = await stage.send(bob.agent_id, "second")
        await stage.until(second.id, bob.agent_id, Rung.SETTLED)
        assert [reply.reply_to for reply in await stage.replies()] == [second.id]
        assert stage.fake.thread(bob.thread_id).client_ids == [f"relay:{sent.id}", f"relay:{second.id}"]


async def test_messages_on_other_channels_are_settled_and_not_polled_again(stage: Stage) -> None:
    async with stage.sidecar(agent=AgentSettings(channels=("ops",))) as bob:
        sent = await stage.send(bob.agent_id, channel="dev")
        heard = await stage.send(bob.agent_id, channel="ops")
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        await stage.until(heard.id, bob.agent_id, Rung.SETTLED)
        assert (await stage.evidence(sent.id, bob.agent_id))["settled"] == {
            "skipped": "channel",
            "channel": "dev",
        }
        assert stage.fake.thread(bob.thread_id).client_ids == [f"relay:{heard.id}"]
        assert await stage.relay.inbox(bob.agent_id, unread=True) == []


async def test_a_message_codex_cannot_take_is_dead_with_the_reason(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        sent = await stage.send(bob.agent_id, "\u200b" * 150_000)  # each is written out as eight characters
        await stage.until(sent.id, bob.agent_id, Rung.DEAD)
        evidence = await stage.evidence(sent.id, bob.agent_id)
        assert evidence["dead"]["reason"] == "too long for Codex"
        assert evidence["dead"]["limit"] == 1_048_576


async def test_a_person_s_own_turns_are_left_alone(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        thread = stage.fake.thread(bob.thread_id)
        thread.accept(stage.fake.memory.process, Said("the person types", None))
        await trio.sleep(5)
        assert await stage.replies() == []
        assert (await stage.relay.agent(bob.agent_id)).status is AgentStatus.IDLE


async def test_the_thread_knows_from_the_start_who_it_is(stage: Stage) -> None:
    settings = AgentSettings(label="Bob", tags=("backend",), channels=("ops",))
    async with stage.sidecar(agent=settings) as bob:
        sent = await stage.send(bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        developer = stage.fake.model.requests[0].texts("developer")
        (context,) = developer
        for words in (bob.agent_id, "Bob", "backend", "ops", "NO_REPLY"):
            assert words in context


async def test_what_a_thread_refuses_is_not_passed_over_when_later_messages_go(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        thread = stage.fake.thread(bob.thread_id)
        refused = 0

        async def refuse_the_first(method: str, params: dict[str, Any]) -> None:
            nonlocal refused
            if (
                method == "turn/start"
                and params["clientUserMessageId"] == f"relay:{first.id}"
                and refused < 3
            ):
                refused += 1
                params["input"] = []

        stage.fake.before_call = refuse_the_first
        first = await stage.send(bob.agent_id, "first")
        await stage.until(first.id, bob.agent_id, Rung.HANDED_OFF)
        await trio.sleep(1)
        second = await stage.send(bob.agent_id, "second")
        follow_up = await stage.send(bob.agent_id, "and to the first", reply_to=first.id)
        for sent in (second, first, follow_up):
            await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert (refused, thread.client_ids) == (
            3,
            [f"relay:{each.id}" for each in (second, first, follow_up)],
        )
        (receipt,) = await stage.relay.receipts(first.id)
        assert receipt.attempts == 4


async def test_a_steer_that_fails_is_tried_as_a_start_once_and_then_later(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        stage.fake.model.script = [shell("sleep 60"), Text("Done.")]
        first = await stage.send(bob.agent_id, "first")
        await stage.until(first.id, bob.agent_id, Rung.IN_CONTEXT)
        calls: list[tuple[str, float]] = []

        async def refuse(method: str, params: dict[str, Any]) -> None:
            if method in {"turn/steer", "turn/start"}:
                calls.append((method, trio.current_time()))
                if len(calls) <= 4:
                    params["input"] = []

        stage.fake.before_call = refuse
        second = await stage.send(bob.agent_id, "second")
        await stage.until(second.id, bob.agent_id, Rung.SETTLED)
        begun = calls[0][1]
        assert [(method, round(at - begun)) for method, at in calls] == [
            ("turn/steer", 0), ("turn/start", 0), ("turn/steer", 2), ("turn/start", 2), ("turn/steer", 4)
        ]  # fmt: skip
        (receipt,) = await stage.relay.receipts(second.id)
        assert receipt.attempts == 1  # waiting for a busy thread is no attempt
