"""What docs/delivery.md promises of `fyi`, `digest`, `idle` and `interrupt`."""

from typing import Any

import httpx2
import pytest
import trio

from support.fake_codex_thread import Said
from support.mock_model import Text, shell
from support.sidecar import Running, Stage
from trio_relay.core.model import Authority, Rung
from trio_relay.core.wire import SentMessage
from trio_relay.core.wire_rooms import RetractRequest, Withdrawal
from trio_relay.settings import AgentSettings

WINDOW = 60.0


async def send(stage: Stage, bob: Running, mode: str, body: str = "hello", **fields: Any) -> SentMessage:
    return await stage.send(bob.agent_id, body, meta={"delivery": mode}, **fields)


async def working(stage: Stage, bob: Running, seconds: int = 1000) -> SentMessage:
    """Have bob's model use a tool for a while; afterwards it answers at once."""
    stage.fake.model.script = [shell(f"sleep {seconds}"), *[Text("Done.")] * 20]
    sent = await stage.send(bob.agent_id, "work")
    await stage.until(sent.id, bob.agent_id, Rung.IN_CONTEXT)
    return sent


async def queued(stage: Stage, bob: Running) -> SentMessage:
    """Have a message wait in Codex's queue."""
    sent = await send(stage, bob, "idle")
    await stage.until(sent.id, bob.agent_id, Rung.HANDED_OFF)
    await trio.sleep(1)
    return sent


async def retract(stage: Stage, sent: SentMessage) -> Withdrawal:
    body = RetractRequest(sender="alice")
    return await stage.relay.call("POST", f"/api/messages/{sent.id}/retract", Withdrawal, body=body)


def turns(stage: Stage, bob: Running) -> list[str]:
    return [turn["status"] for turn in stage.fake.disk[bob.thread_id].turns]


def person_stops_everything(stage: Stage, bob: Running) -> None:
    thread = stage.fake.thread(bob.thread_id)
    assert thread.turn is not None
    thread.interrupt(thread.turn.id)


class TestFyi:
    async def test_it_wakes_nobody_and_is_shown_with_the_next_turn(self, stage: Stage) -> None:
        async with stage.sidecar() as bob:
            sent = await send(stage, bob, "fyi", "the build is green")
            await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
            assert turns(stage, bob) == []
            assert await stage.ladder(sent.id, bob.agent_id) == [
                "accepted", "queued", "handed_off", "in_context", "settled"
            ]  # fmt: skip
            evidence = await stage.evidence(sent.id, bob.agent_id)
            assert evidence["in_context"] == {
                "threadId": bob.thread_id,
                "itemId": f"relay:{sent.id}",
                "rollout": f"{bob.thread_id}.jsonl",
                "mode": "fyi",
            }
            assert evidence["settled"] == {"fyi": "wants no answer"}
            other = await stage.send(bob.agent_id, "what is new?")
            await stage.until(other.id, bob.agent_id, Rung.SETTLED)
            (request,) = stage.fake.model.requests
            (shown,) = [text for text in request.texts("user") if "the build is green" in text]
            assert shown.endswith("For your information; no reply is expected.")
            assert [reply.reply_to for reply in await stage.replies()] == [other.id]

    async def test_it_waits_for_the_end_of_a_turn_and_holds_up_nobody(self, stage: Stage) -> None:
        async with stage.sidecar() as bob:
            first = await working(stage, bob)
            sent = await send(stage, bob, "fyi", reply_to=first.id)
            after = await stage.send(bob.agent_id, "now", reply_to=first.id)
            await stage.until(after.id, bob.agent_id, Rung.HANDED_OFF)
            await trio.sleep(100)
            assert await stage.rung(sent.id, bob.agent_id) is Rung.QUEUED
            await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
            assert stage.fake.find_items(f"/{bob.thread_id}.jsonl", [f"relay:{sent.id}"])

    @pytest.mark.parametrize("end", ["completes", "is interrupted"])
    async def test_met_by_a_turn_it_is_called_in_context_only_when_it_is(
        self, stage: Stage, end: str
    ) -> None:
        async with stage.sidecar() as bob:
            thread = stage.fake.thread(bob.thread_id)
            stage.fake.model.script = [shell("sleep 50"), Text("Done.")]

            async def person_acts(method: str, _: dict[str, Any]) -> None:
                if method == "thread/inject_items":
                    stage.fake.before_call = None
                    thread.accept(stage.fake.memory.process, Said("my own work", None))

            stage.fake.before_call = person_acts
            sent = await send(stage, bob, "fyi", "the build is green")
            await stage.until(sent.id, bob.agent_id, Rung.HANDED_OFF)
            await trio.sleep(20)
            assert await stage.rung(sent.id, bob.agent_id) is Rung.HANDED_OFF
            if end == "is interrupted":
                # the first request took it along: what is lost must come while the tool runs
                stage.fake.disk[bob.thread_id].history = [
                    item for item in thread.rollout.history if item.get("id") != f"relay:{sent.id}"
                ]
                person_stops_everything(stage, bob)
            await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
            ids = [item.get("id") for item in thread.rollout.history]
            assert ids.count(f"relay:{sent.id}") == 1
            (receipt,) = await stage.relay.receipts(sent.id)
            assert receipt.attempts == (1 if end == "completes" else 2)

    async def test_where_its_file_cannot_be_read_nothing_is_claimed(self, stage: Stage) -> None:
        async with stage.sidecar() as bob:
            stage.fake.find_items = lambda *_: None  # type: ignore[method-assign]
            sent = await send(stage, bob, "fyi")
            await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
            assert "in_context" not in await stage.ladder(sent.id, bob.agent_id)
            evidence = await stage.evidence(sent.id, bob.agent_id)
            assert evidence["settled"]["unproven"] == "the thread's file cannot be read"

    async def test_whose_injection_was_never_answered_is_looked_for_in_the_file(self, stage: Stage) -> None:
        async with stage.sidecar() as bob:
            done = trio.Event()

            async def never_answer(method: str, _: dict[str, Any]) -> None:
                if method == "thread/inject_items":
                    done.set()
                    await trio.sleep_forever()

            stage.fake.before_answer = never_answer
            sent = await send(stage, bob, "fyi")
            await done.wait()
            stage.fake.before_answer = None
            await stage.fake.kill()
            await stage.fake.start()
            await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
            ids = [item.get("id") for item in stage.fake.disk[bob.thread_id].history]
            assert ids.count(f"relay:{sent.id}") == 1
            assert "in_context" in await stage.ladder(sent.id, bob.agent_id)


class TestDigest:
    async def test_what_gathers_within_a_window_is_one_turn(self, stage: Stage) -> None:
        async with stage.sidecar() as bob:
            sent = []
            for number in range(3):
                sent.append(await send(stage, bob, "digest", f"number {number}"))
                await trio.sleep(15)
            assert turns(stage, bob) == []
            await stage.until(sent[-1].id, bob.agent_id, Rung.IN_CONTEXT)
            (receipt,) = await stage.relay.receipts(sent[0].id)
            at = {str(step.state): step.at for step in receipt.steps}
            assert 0 <= at["handed_off"] - at["accepted"] - 1000 * WINDOW <= 50
            ids = ",".join(str(one.id) for one in sent)
            assert stage.fake.thread(bob.thread_id).client_ids == [f"relay:{ids}"]
            assert (await stage.evidence(sent[0].id, bob.agent_id))["in_context"]["mode"] == "digest"

    async def test_a_window_has_one_turn_for_them_at_most(self, stage: Stage) -> None:
        async with stage.sidecar() as bob:
            sent = []
            for number in range(40):
                sent.append(await send(stage, bob, "digest", f"number {number}"))
                await trio.sleep(10)
            await stage.until(sent[-1].id, bob.agent_id, Rung.SETTLED)
            assert len(turns(stage, bob)) <= 400 / WINDOW + 1

    async def test_it_goes_along_with_what_begins_a_turn_anyway(self, stage: Stage) -> None:
        async with stage.sidecar() as bob:
            digest = await send(stage, bob, "digest")
            await trio.sleep(5)
            other = await stage.send(bob.agent_id)
            await stage.until(digest.id, bob.agent_id, Rung.SETTLED)
            assert stage.fake.thread(bob.thread_id).client_ids == [f"relay:{digest.id},{other.id}"]
            (receipt,) = await stage.relay.receipts(other.id)
            at = {str(step.state): step.at for step in receipt.steps}
            assert at["handed_off"] - at["accepted"] <= 50

    async def test_it_disturbs_no_running_turn_and_holds_up_nobody(self, stage: Stage) -> None:
        async with stage.sidecar() as bob:
            first = await working(stage, bob, 300)
            digest = await send(stage, bob, "digest", reply_to=first.id)
            after = await stage.send(bob.agent_id, "now", reply_to=first.id)
            await stage.until(after.id, bob.agent_id, Rung.HANDED_OFF)
            await trio.sleep(200)
            assert await stage.rung(digest.id, bob.agent_id) is Rung.QUEUED
            await stage.until(digest.id, bob.agent_id, Rung.SETTLED)
            assert len(turns(stage, bob)) == 2

    async def test_one_that_is_withdrawn_while_it_gathers_is_left_out(self, stage: Stage) -> None:
        async with stage.sidecar() as bob:
            one, two = [await send(stage, bob, "digest", body) for body in ("one", "two")]
            await trio.sleep(5)
            await retract(stage, one)
            await stage.until(two.id, bob.agent_id, Rung.SETTLED)
            assert stage.fake.thread(bob.thread_id).client_ids == [f"relay:{two.id}"]


class TestIdle:
    async def test_it_waits_in_codex_s_queue_and_gets_a_turn_of_its_own(self, stage: Stage) -> None:
        async with stage.sidecar() as bob:
            first = await working(stage, bob)
            sent = [await send(stage, bob, "idle", f"number {number}") for number in range(2)]
            await stage.until(sent[1].id, bob.agent_id, Rung.HANDED_OFF)
            await trio.sleep(1)
            queue = stage.fake.disk[bob.thread_id].queue
            assert [entry["clientUserMessageId"] for entry in queue] == [f"relay:{one.id}" for one in sent]
            assert await stage.rung(sent[0].id, bob.agent_id) is Rung.HANDED_OFF
            for one in (first, *sent):
                await stage.until(one.id, bob.agent_id, Rung.SETTLED)
            assert turns(stage, bob) == ["completed"] * 3
            evidence = await stage.evidence(sent[0].id, bob.agent_id)
            assert evidence["handed_off"]["mode"] == evidence["in_context"]["mode"] == "idle"
            assert [reply.reply_to for reply in await stage.replies()] == [first.id, *(s.id for s in sent)]
            (receipt,) = await stage.relay.receipts(sent[1].id)
            assert receipt.attempts == 1

    async def test_what_follows_it_in_its_conversation_waits_for_it(self, stage: Stage) -> None:
        async with stage.sidecar() as bob:
            await working(stage, bob)
            idle = await send(stage, bob, "idle")
            after = await stage.send(bob.agent_id, "and this", reply_to=idle.id)
            also = await send(stage, bob, "idle", reply_to=after.id)
            await trio.sleep(100)
            assert await stage.rung(after.id, bob.agent_id) is Rung.QUEUED
            for sent in (idle, after, also):
                await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
            ids = stage.fake.thread(bob.thread_id).client_ids
            assert ids[1:] == [f"relay:{one.id}" for one in (idle, after, also)]

    async def test_a_queue_that_stands_still_after_an_interrupt_is_started(self, stage: Stage) -> None:
        async with stage.sidecar() as bob:
            await working(stage, bob)
            sent = [await send(stage, bob, "idle", f"number {number}") for number in range(2)]
            await stage.until(sent[1].id, bob.agent_id, Rung.HANDED_OFF)
            person_stops_everything(stage, bob)
            with trio.fail_after(10):
                for one in sent:
                    await stage.until(one.id, bob.agent_id, Rung.SETTLED)
            later = await send(stage, bob, "idle")
            with trio.fail_after(10):
                await stage.until(later.id, bob.agent_id, Rung.SETTLED)
            assert len(stage.fake.thread(bob.thread_id).client_ids) == 4

    @pytest.mark.parametrize("who", ["sidecar", "app-server"])
    async def test_it_outlives_a_kill_and_stands_there_once(self, stage: Stage, who: str) -> None:
        async with stage.sidecar() as bob:
            await working(stage, bob)
            sent = await queued(stage, bob)
            if who == "app-server":
                await stage.fake.kill()
                await stage.fake.start()
                await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        async with stage.sidecar() as bob:
            await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
            assert stage.fake.thread(bob.thread_id).client_ids.count(f"relay:{sent.id}") == 1
            (receipt,) = await stage.relay.receipts(sent.id)
            assert receipt.attempts == 1

    async def test_what_a_kill_lost_between_queue_and_turn_is_handed_off_again(self, stage: Stage) -> None:
        async with stage.sidecar() as bob:
            await working(stage, bob, 100)
            sent = await queued(stage, bob)
            stage.fake.disk[bob.thread_id].queue.clear()
            await stage.fake.kill()
            await stage.fake.start()
            await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
            assert stage.fake.thread(bob.thread_id).client_ids.count(f"relay:{sent.id}") == 1
            assert (await stage.evidence(sent.id, bob.agent_id))["handed_off"][
                "after"
            ] == "not seen in context"

    async def test_what_somebody_takes_out_of_the_queue_is_not_put_back(self, stage: Stage) -> None:
        async with stage.sidecar() as bob:
            await working(stage, bob, 100)
            sent = await queued(stage, bob)
            stage.fake.disk[bob.thread_id].queue.clear()
            stage.fake.thread(bob.thread_id).queue_changed()
            await stage.until(sent.id, bob.agent_id, Rung.DEAD)
            assert (await stage.evidence(sent.id, bob.agent_id))["dead"] == {
                "reason": "taken out of Codex's queue"
            }
            assert len(turns(stage, bob)) == 1

    @pytest.mark.parametrize("how", ["retracted", "superseded", "collapsed", "expired"])
    async def test_withdrawn_it_is_taken_out_of_the_queue(self, stage: Stage, how: str) -> None:
        async with stage.sidecar() as bob:
            first = await working(stage, bob)
            fields: Any = {"expired": {"ttl_ms": 5000}, "collapsed": {"collapse_key": "k"}}.get(how, {})
            sent = await send(stage, bob, "idle", "deploy!", **fields)
            await stage.until(sent.id, bob.agent_id, Rung.HANDED_OFF)
            await trio.sleep(10)
            newer = None
            match how:
                case "retracted":
                    assert (await retract(stage, sent)).too_late == [bob.agent_id]
                case "superseded":
                    newer = await send(stage, bob, "idle", "do not", supersedes=sent.id)
                case "collapsed":
                    newer = await send(stage, bob, "idle", "do not", collapse_key="k")
                case "expired":
                    await stage.room.service.expire()
            end = Rung.EXPIRED if how == "expired" else Rung.RETRACTED
            with trio.fail_after(5):
                await stage.until(sent.id, bob.agent_id, end)
            assert (await stage.evidence(sent.id, bob.agent_id))[end]["from"] == "Codex's queue"
            for one in filter(None, (first, newer)):
                await stage.until(one.id, bob.agent_id, Rung.SETTLED)
            assert stage.fake.thread(bob.thread_id).client_ids == [
                f"relay:{one.id}" for one in (first, newer) if one is not None
            ]
            assert bob.state.in_flight == []

    async def test_withdrawn_when_its_turn_has_begun_it_stays_and_the_receipt_says_so(
        self, stage: Stage
    ) -> None:
        async with stage.sidecar() as bob:
            stage.fake.model.script = [shell("sleep 100"), Text("Done.")]
            sent = await send(stage, bob, "idle")
            await stage.until(sent.id, bob.agent_id, Rung.IN_CONTEXT)
            await retract(stage, sent)
            await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
            assert "retracted" not in await stage.ladder(sent.id, bob.agent_id)

    async def test_withdrawn_while_the_sidecar_is_down_it_is_taken_out_by_the_next_one(
        self, stage: Stage
    ) -> None:
        async with stage.sidecar() as bob:
            await working(stage, bob)
            sent = await queued(stage, bob)
        await retract(stage, sent)
        async with stage.sidecar():
            await stage.until(sent.id, bob.agent_id, Rung.RETRACTED)
            assert stage.fake.disk[bob.thread_id].queue == []

    async def test_what_waits_for_the_end_of_a_turn_and_is_withdrawn_holds_up_nobody(
        self, stage: Stage
    ) -> None:
        async with stage.sidecar() as bob:
            await working(stage, bob)
            own = await send(stage, bob, "start")
            after = await stage.send(bob.agent_id, "and this", reply_to=own.id)
            await trio.sleep(5)
            await retract(stage, own)
            with trio.fail_after(5):
                await stage.until(after.id, bob.agent_id, Rung.HANDED_OFF)


class TestInterrupt:
    async def test_a_peer_s_interrupt_joins_the_turn_and_its_receipt_says_so(self, stage: Stage) -> None:
        async with stage.sidecar() as bob:
            first = await working(stage, bob)
            sent = await send(stage, bob, "interrupt")
            await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
            assert turns(stage, bob) == ["completed"]
            evidence = await stage.evidence(sent.id, bob.agent_id)
            for rung in ("handed_off", "in_context"):
                assert (evidence[rung]["mode"], evidence[rung]["interruptRefused"]) == ("steer", "peer")
            assert "interruptRefused" not in (await stage.evidence(first.id, bob.agent_id))["in_context"]

    async def test_into_an_idle_thread_nothing_is_refused(self, stage: Stage) -> None:
        async with stage.sidecar() as bob:
            sent = await send(stage, bob, "interrupt")
            await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
            evidence = (await stage.evidence(sent.id, bob.agent_id))["in_context"]
            assert (evidence["mode"], "interruptRefused" in evidence) == ("start", False)

    async def test_who_may_stops_the_turn(self, stage: Stage) -> None:
        async with stage.sidecar(agent=AgentSettings(may_interrupt=(Authority.PEER,))) as bob:
            first = await working(stage, bob)
            waits = await send(stage, bob, "idle")
            sent = await send(stage, bob, "interrupt")
            for one in (first, sent, waits):
                await stage.until(one.id, bob.agent_id, Rung.SETTLED)
            assert turns(stage, bob) == ["interrupted", "completed", "completed"]
            assert (await stage.evidence(sent.id, bob.agent_id))["in_context"]["mode"] == "interrupt"


async def test_work_that_is_withdrawn_while_it_is_being_claimed_ends(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        carry = bob.transport.handle_async_request
        sent: SentMessage | None = None

        async def slow_claims(request: httpx2.Request) -> httpx2.Response:
            if request.url.path.endswith("/claim") and sent is not None:
                await trio.sleep(5)
            return await carry(request)

        bob.transport.handle_async_request = slow_claims  # type: ignore[method-assign]
        await working(stage, bob, 3)
        sent = await send(stage, bob, "start", claimable=True)
        await trio.sleep(5)
        await retract(stage, sent)
        await stage.until(sent.id, bob.agent_id, Rung.RETRACTED)
        after = await stage.send(bob.agent_id, "and this", reply_to=sent.id)
        await stage.until(after.id, bob.agent_id, Rung.SETTLED)
        assert bob.state.in_flight == []
