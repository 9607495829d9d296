"""Trouble that would waste messages: they are held back, senders hear why, and it is over by itself."""

from typing import Any

import pytest
import trio

from support.mock_model import Failure, Text
from support.sidecar import Running, Stage
from trio_relay.codex.protocol import TurnEnded
from trio_relay.core.model import Rung
from trio_relay.core.wire import Agent
from trio_relay.sidecar.trouble import FIRST_PAUSE, lasting_failure

QUOTA = Failure(429, "You have used up your quota.", kind="usage_limit_reached")


async def agent_of(stage: Stage, bob: Running) -> Agent:
    """The agent as the relay has it, once that has settled."""
    await trio.sleep(1)
    return await stage.relay.agent(bob.agent_id)


def turns(stage: Stage) -> int:
    return len([method for method, _ in stage.fake.calls if method == "turn/start"])


async def test_without_quota_messages_wait_and_senders_hear_why(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        stage.fake.model.script = QUOTA
        first = await stage.send(bob.agent_id)
        await stage.until(first.id, bob.agent_id, Rung.SETTLED)
        assert (await stage.evidence(first.id, bob.agent_id))["settled"]["turn"] == "failed"
        agent = await agent_of(stage, bob)
        assert not agent.ready
        assert agent.ready_reason == "Codex has used up its quota: You have used up your quota."
        second = await stage.send(bob.agent_id, "meanwhile")
        assert [one.verdict for one in second.recipients] == ["deaf"]
        stage.fake.model.script = Text("Well again.")
        await trio.sleep(FIRST_PAUSE - 5)
        assert await stage.rung(second.id, bob.agent_id) is Rung.QUEUED
        await stage.until(second.id, bob.agent_id, Rung.SETTLED)
        assert [reply.body for reply in await stage.replies()] == ["Well again."]
        assert (await agent_of(stage, bob)).ready


async def test_it_is_over_without_a_message_too(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        stage.fake.model.script = QUOTA
        sent = await stage.send(bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert not (await agent_of(stage, bob)).ready
        await trio.sleep(FIRST_PAUSE)
        assert (await agent_of(stage, bob)).ready


async def test_a_turn_of_the_person_that_completes_ends_it(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        stage.fake.model.script = [QUOTA, Text("Works.")]
        sent = await stage.send(bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert not (await agent_of(stage, bob)).ready
        frame = {"threadId": bob.thread_id, "input": [{"type": "text", "text": "and now?"}]}
        client = stage.fake.memory.join(lambda _: None)
        client.initialized = True
        stage.fake.memory.answer(client, {"id": 1, "method": "turn/start", "params": frame})
        assert (await agent_of(stage, bob)).ready


async def test_an_hour_without_quota_costs_few_turns(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        stage.fake.model.script = QUOTA
        with trio.move_on_after(3600):
            while True:
                await stage.send(bob.agent_id)
                await trio.sleep(60)
        assert (
            len(stage.fake.model.requests) == turns(stage) == 10
        )  # pauses of 30, 60, 120, 240, 480, 600, ... s


async def test_a_review_is_not_disturbed_and_what_waited_comes_after_it(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        hold = trio.Event()
        stage.fake.model.script = [Text("Looks good.", hold=hold), Text("Done.")]
        thread = stage.fake.thread(bob.thread_id)
        thread.review(stage.fake.memory.process, "look at it")
        await trio.sleep(1)
        sent = await stage.send(bob.agent_id)
        agent = await agent_of(stage, bob)
        assert (agent.ready, agent.ready_reason) == (False, "a review runs and takes no messages")
        asked = len(stage.fake.calls)
        await trio.sleep(600)
        assert len(stage.fake.calls) == asked, "nobody knocks while it runs"
        hold.set()
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert thread.client_ids == [f"relay:{sent.id}"]
        assert (await agent_of(stage, bob)).ready
        (receipt,) = await stage.relay.receipts(sent.id)
        assert receipt.attempts == 1


@pytest.mark.parametrize("mode", ["auto", "resume"])
async def test_a_thread_another_server_writes_to_is_waited_for(stage: Stage, mode: str) -> None:
    async with stage.sidecar() as bob:
        thread_id = bob.thread_id
    stage.fake.disk[thread_id].written_elsewhere = True
    await stage.fake.kill()
    await stage.fake.start()
    given: dict[str, Any] = {"thread_id": thread_id} if mode == "resume" else {}
    async with stage.sidecar(ready=False, thread_mode=mode, **given) as bob:
        await trio.sleep(600)
        agent = await stage.relay.agent(bob.agent_id)
        assert agent.ready_reason == (
            f"the app-server gives no thread: thread {thread_id} already has an active writer"
        )
        sent = await stage.send(bob.agent_id)
        assert [one.verdict for one in sent.recipients] == ["deaf"]
        tried = len([method for method, _ in stage.fake.calls if method == "thread/resume"])
        assert tried < 600 / 10 * 1.5
        assert not [m for m, _ in stage.fake.calls[-50:] if m == "thread/start"]
        stage.fake.disk[thread_id].written_elsewhere = False
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert bob.thread_id == thread_id


async def test_an_app_server_that_refuses_us_is_asked_again_with_pauses(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        stage.fake.token = "another one now"
        await bob.cut()
        dialled = 0
        dial = stage.fake.dial

        async def counted() -> trio.abc.Stream:
            nonlocal dialled
            dialled += 1
            return await dial()

        stage.fake.dial = counted  # type: ignore[method-assign]
        await trio.sleep(600)
        agent = await stage.relay.agent(bob.agent_id)
        assert agent.ready_reason == "the app-server refused the connection with HTTP status 401"
        assert 600 / 10 * 0.5 < dialled < 600 / 10 * 2.5
        stage.fake.token = None
        sent = await stage.send(bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert (await agent_of(stage, bob)).ready


async def test_a_thread_that_is_closed_is_opened_again(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        sent = await stage.send(bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        del stage.fake.memory.threads[bob.thread_id]
        stage.fake.memory.broadcast("thread/closed", {"threadId": bob.thread_id})
        sent = await stage.send(bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert (await agent_of(stage, bob)).ready


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ("usageLimitExceeded", "Codex has used up its quota: no"),
        ("unauthorized", "Codex is not logged in: no"),
        ("httpConnectionFailed 401", "Codex is not logged in: no"),
        ("responseTooManyFailedAttempts 429", "the model's provider takes no more requests now: no"),
        ("serverOverloaded", "the model's provider is overloaded: no"),
        ("httpConnectionFailed 500", None),
        ("contextWindowExceeded", None),
        ("other", None),
        (None, None),
    ],
)
def test_only_what_the_next_turn_would_meet_as_well_is_trouble(
    failure: str | None, reason: str | None
) -> None:
    assert lasting_failure(TurnEnded("t", "failed", "no", None, failure)) == reason
    assert lasting_failure(TurnEnded("t", "interrupted", "no", None, failure)) is None
