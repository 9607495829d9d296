"""What we believe of turns: how they are told, what joins them, what is lost. See `check_app_server`."""

import pytest
import trio

from support.app_server_rig import OTHER_TURN, Check, Rig, held, person, tool_then
from support.mock_model import Failure, Text, shell
from trio_relay.codex.app_server import AppServer, Attached
from trio_relay.codex.protocol import (
    CallFailed,
    NoActiveTurn,
    StatusChanged,
    TurnEnded,
    TurnMismatch,
    TurnStarted,
    UserMessageSeen,
)


async def a_turn_is_told_in_order_and_idle_comes_before_its_end(rig: Rig) -> None:
    rig.model.script = Text("hello back")
    async with rig.thread() as (server, thread_id, watch):
        turn_id = await server.turn_start(thread_id, "hello", "relay:1")
        ended = await watch.ended(turn_id)
        assert ended == TurnEnded(turn_id, "completed", None, "hello back")
        [seen] = [e for e in watch.events if isinstance(e, UserMessageSeen)]
        assert watch.events == [
            StatusChanged("active"),
            TurnStarted(turn_id),
            UserMessageSeen("relay:1", turn_id, seen.item_id),
            StatusChanged("idle"),
            ended,
        ]
        assert watch.items("item/completed") == ["userMessage", "agentMessage"]
        assert not watch.view.active
        assert await server.turn_result(thread_id, turn_id) == ended
        assert not [n.method for n in watch.heard if "delta" in n.method.lower()]


async def a_message_told_is_in_the_history_while_its_turn_runs(rig: Rig) -> None:
    rig.model.script, hold = held()
    async with rig.thread() as (server, thread_id, watch), rig.connect() as other:
        turn_id = await server.turn_start(thread_id, "first", "relay:1")
        await watch.seen("relay:1")
        assert [m.client_id for m in await other.user_messages(thread_id)] == ["relay:1"]
        assert await other.turn_result(thread_id, turn_id) is None
        await watch.speaking()
        await server.turn_steer(thread_id, turn_id, "second", "relay:2")
        await watch.seen("relay:2")
        assert await other.user_messages(thread_id) == [
            e for e in watch.events if isinstance(e, UserMessageSeen)
        ]
        hold.set()
        await watch.ended(turn_id)


async def a_start_during_a_turn_joins_it(rig: Rig) -> None:
    rig.model.script, hold = held()
    async with rig.thread() as (server, thread_id, watch):
        turn_id = await server.turn_start(thread_id, "first", "relay:1")
        await watch.speaking()
        assert await server.turn_start(thread_id, "second", "relay:2") == turn_id
        await watch.seen("relay:2")
        hold.set()
        await watch.ended(turn_id)
        assert len([e for e in watch.events if isinstance(e, TurnStarted)]) == 1


async def two_starts_at_once_are_one_turn(rig: Rig) -> None:
    async with rig.thread() as (server, thread_id, watch):
        turns: list[str] = []

        async def start(number: int) -> None:
            turns.append(await server.turn_start(thread_id, f"text {number}", f"relay:{number}"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(start, 1)
            nursery.start_soon(start, 2)
        await watch.ended(turns[0])
        assert turns[0] == turns[1]
        assert sorted(watch.client_ids) == ["relay:1", "relay:2"]


async def a_steer_cuts_a_reply_off(rig: Rig) -> None:
    cut_off, hold = held()
    rig.model.script = [cut_off, Text("the second answer")]
    async with rig.thread() as (server, thread_id, watch):
        turn_id = await server.turn_start(thread_id, "first", "relay:1")
        await watch.speaking()
        assert await server.turn_steer(thread_id, turn_id, "wait, second", "relay:2") == turn_id
        ended = await watch.ended(turn_id)
        assert ended.final_text == "the second answer"
        assert watch.items("item/started").count("agentMessage") == 2
        assert watch.items("item/completed").count("agentMessage") == 1
        assert rig.model.requests[-1].contains("wait, second")
        hold.set()


async def a_steer_waits_for_a_tool_and_is_invisible_until_then(rig: Rig) -> None:
    gate = rig.gate()
    rig.model.script = tool_then(gate.call, Text("done"))
    async with rig.thread() as (server, thread_id, watch):
        turn_id = await server.turn_start(thread_id, "work", "relay:1")
        await watch.seen("relay:1")
        await gate.reached()
        await server.turn_steer(thread_id, turn_id, "more", "relay:2")
        assert [m.client_id for m in await server.user_messages(thread_id)] == ["relay:1"]
        gate.open()
        await watch.ended(turn_id)
        assert watch.client_ids == ["relay:1", "relay:2"]
        assert rig.model.requests[-1].contains("more")


async def a_steer_outlives_the_client_that_sent_it(rig: Rig) -> None:
    gate = rig.gate()
    rig.model.script = tool_then(gate.call, Text("done"))
    async with rig.thread() as (server, thread_id, watch):
        turn_id = await server.turn_start(thread_id, "work", "relay:1")
        await watch.seen("relay:1")
        async with rig.connect() as dying:
            await dying.turn_steer(thread_id, turn_id, "my last word", "relay:2")
        gate.open()
        await watch.ended(turn_id)
        assert watch.client_ids == ["relay:1", "relay:2"]


async def an_interrupt_loses_an_accepted_steer(rig: Rig) -> None:
    gate = rig.gate()
    rig.model.script = tool_then(gate.call, Text("never said"))
    async with rig.thread() as (server, thread_id, watch):
        turn_id = await server.turn_start(thread_id, "work", "relay:1")
        await watch.seen("relay:1")
        await gate.reached()
        await server.turn_steer(thread_id, turn_id, "lost words", "relay:2")
        await server.turn_start(thread_id, "lost as well", "relay:3")
        await server.turn_interrupt(thread_id, turn_id)
        assert (await watch.ended(turn_id)).status == "interrupted"
        rig.model.script = Text("new")
        turn_id = await server.turn_start(thread_id, "go on", "relay:4")
        await watch.ended(turn_id)
        assert watch.client_ids == ["relay:1", "relay:4"]
        assert [m.client_id for m in await server.user_messages(thread_id)] == ["relay:1", "relay:4"]
        assert not rig.model.requests[-1].contains("lost")
        assert rig.model.requests[-1].contains("<turn_aborted>")


async def a_start_right_after_an_interrupt_is_a_new_turn(rig: Rig) -> None:
    rig.model.script, _ = held()
    async with rig.thread() as (server, thread_id, watch):
        first = await server.turn_start(thread_id, "work", "relay:1")
        await watch.speaking()
        await server.turn_interrupt(thread_id, first)
        rig.model.script = Text("second answer")
        second = await server.turn_start(thread_id, "instead", "relay:2")
        assert second != first
        assert (await watch.ended(second)).final_text == "second answer"
        assert await server.turn_result(thread_id, first) == TurnEnded(first, "interrupted", None, None)


async def steers_and_interrupts_of_a_wrong_turn_are_refused(rig: Rig) -> None:
    rig.model.script, hold = held()
    async with rig.thread() as (server, thread_id, watch):
        for attempt in (
            server.turn_steer(thread_id, OTHER_TURN, "x", "relay:0"),
            server.turn_interrupt(thread_id, OTHER_TURN),
        ):
            with pytest.raises(NoActiveTurn):
                await attempt
        turn_id = await server.turn_start(thread_id, "work", "relay:1")
        await watch.seen("relay:1")
        for attempt in (
            server.turn_steer(thread_id, OTHER_TURN, "x", "relay:0"),
            server.turn_interrupt(thread_id, OTHER_TURN),
        ):
            with pytest.raises(TurnMismatch) as refused:
                await attempt
            assert refused.value.actual == turn_id
        hold.set()
        await watch.ended(turn_id)


async def a_client_id_is_not_deduplicated(rig: Rig) -> None:
    async with rig.thread() as (server, thread_id, watch):
        for _ in range(2):
            await watch.ended(await server.turn_start(thread_id, "again", "relay:1"))
        assert watch.client_ids == ["relay:1", "relay:1"]


async def a_second_client_hears_all_from_its_resume_on(rig: Rig) -> None:
    rig.model.script, hold = held()
    async with (
        rig.thread() as (server, thread_id, watch),
        rig.connect() as other,
        rig.watching(other, thread_id) as others,
    ):
        turn_id = await server.turn_start(thread_id, "first", "relay:1")
        await watch.speaking()
        await others.event(StatusChanged("active"))
        assert {n.method for n in others.heard} <= {"thread/status/changed", "thread/name/updated"}
        assert await other.thread_resume(thread_id) == Attached(thread_id, "active", turn_id)
        await other.turn_steer(thread_id, turn_id, "second", "relay:2")
        await others.seen("relay:2")
        hold.set()
        assert await others.ended(turn_id) == await watch.ended(turn_id)


async def an_unsubscribed_client_hears_only_the_status(rig: Rig) -> None:
    async with rig.thread() as (server, thread_id, watch), rig.connect() as other:
        await watch.ended(await server.turn_start(thread_id, "first", "relay:1"))
        await server.unsubscribe(thread_id)
        turn_id = await other.turn_start(thread_id, "second", "relay:2")  # no subscription is needed to speak
        await watch.until(lambda: watch.events.count(StatusChanged("idle")) == 2)
        assert watch.client_ids == ["relay:1"]
        assert (await server.turn_result(thread_id, turn_id)) is not None


async def a_failed_turn_leaves_a_thread_that_takes_the_next(rig: Rig) -> None:
    rig.model.script = Failure(400, "the model is unwell")
    async with rig.thread() as (server, thread_id, watch):
        turn_id = await server.turn_start(thread_id, "first", "relay:1")
        ended = await watch.ended(turn_id)
        assert (ended.status, ended.final_text) == ("failed", None)
        assert ended.error
        assert watch.view.status == "systemError"
        assert not watch.view.active
        assert (await server.thread_read(thread_id))["status"]["type"] == "systemError"
        assert await server.turn_result(thread_id, turn_id) == ended
        rig.model.script = Text("well again")
        turn_id = await server.turn_start(thread_id, "second", "relay:2")
        assert (await watch.ended(turn_id)).final_text == "well again"


async def what_a_turn_failed_of_is_told(rig: Rig) -> None:
    async with rig.thread() as (server, thread_id, watch):
        for failure, told in (
            (Failure(429, "no more", kind="usage_limit_reached"), "usageLimitExceeded"),
            (Failure(429), "responseTooManyFailedAttempts 429"),
            (Failure(401), "401"),
        ):
            rig.model.script = failure
            ended = await watch.ended(await server.turn_start(thread_id, "work", "relay:1"))
            assert ended.status == "failed"
            assert ended.failure is not None
            assert ended.failure.endswith(told)


async def a_review_takes_no_text(rig: Rig) -> None:
    async with rig.thread() as (server, thread_id, watch):
        await watch.ended(await _quick(rig, server, thread_id))
        rig.model.script, hold = held()
        target = {"type": "custom", "instructions": "look at it"}
        await server.call("review/start", {"threadId": thread_id, "target": target})
        await watch.until(lambda: watch.view.turn_id is not None)
        turn_id = watch.view.turn_id
        assert turn_id is not None
        with pytest.raises(TurnMismatch) as other:  # it is told under one id, and is another
            await server.turn_steer(thread_id, turn_id, "by the way", "relay:2")
        for attempt in (
            server.turn_steer(thread_id, other.value.actual, "by the way", "relay:2"),
            server.turn_start(thread_id, "by the way", "relay:3"),
        ):
            with pytest.raises(CallFailed) as refused:
                await attempt
            assert refused.value.closed_turn == "review"
        hold.set()
        await watch.until(lambda: not watch.view.active)
        assert "relay:2" not in watch.client_ids


async def _quick(rig: Rig, server: AppServer, thread_id: str) -> str:
    rig.model.script = Text("ready")
    return await server.turn_start(thread_id, "hello", "relay:1")


async def a_question_reaches_every_subscriber_and_the_first_answer_wins(rig: Rig) -> None:
    call = shell("true", sandbox_permissions="require_escalated", justification="please")
    rig.model.script = tool_then(call, Text("done"))
    async with rig.thread(approval_policy="on-request") as (server, thread_id, watch):
        await server.inject(thread_id, "context")
        async with person(rig, thread_id) as first, person(rig, thread_id) as second:
            turn_id = await server.turn_start(thread_id, "work", "relay:1")
            await watch.event(StatusChanged("active", ("waitingOnApproval",)))
            questions = [await one.question() for one in (first, second)]
            assert questions[0] == questions[1]
            assert questions[0]["method"] == "item/commandExecution/requestApproval"
            await server.turn_steer(thread_id, turn_id, "by the way", "relay:2")
            await first.answer(questions[0]["id"], {"result": {"decision": "accept"}})
            await second.hears("serverRequest/resolved")
            await second.answer(questions[0]["id"], {"result": {"decision": "decline"}})
            assert (await watch.ended(turn_id)).final_text == "done"
            assert watch.client_ids == ["relay:1", "relay:2"]
            assert server.lost is None


async def an_error_answer_rejects_a_question(rig: Rig) -> None:
    call = shell("true", sandbox_permissions="require_escalated", justification="please")
    rig.model.script = tool_then(call, Text("done"))
    async with rig.thread(approval_policy="on-request") as (server, thread_id, watch):
        await server.inject(thread_id, "context")
        async with person(rig, thread_id) as clumsy, person(rig, thread_id) as late:
            turn_id = await server.turn_start(thread_id, "work", "relay:1")
            question = await clumsy.question()
            assert await late.question() == question
            await clumsy.answer(question["id"], {"error": {"code": -32601, "message": "no such method"}})
            await late.hears("serverRequest/resolved")
            await late.answer(question["id"], {"result": {"decision": "accept"}})
            await watch.ended(turn_id)
            assert "reject" in str(rig.model.requests[-1].tool_outputs[-1]).lower()


async def too_long_a_text_is_refused(rig: Rig) -> None:
    async with rig.thread() as (server, thread_id, _):
        with pytest.raises(CallFailed) as refused:
            await server.turn_start(thread_id, "x" * 1_048_577, "relay:1")
        assert refused.value.too_large
        assert not refused.value.draining


async def the_longest_text_comes_through(rig: Rig) -> None:
    async with rig.thread() as (server, thread_id, watch):
        turn_id = await server.turn_start(thread_id, "x" * 1_048_576, "relay:1")
        await watch.ended(turn_id)
        assert [m.client_id for m in await server.user_messages(thread_id)] == ["relay:1"]


TURN_CHECKS: list[Check] = [
    a_turn_is_told_in_order_and_idle_comes_before_its_end,
    a_message_told_is_in_the_history_while_its_turn_runs,
    a_start_during_a_turn_joins_it,
    two_starts_at_once_are_one_turn,
    a_steer_cuts_a_reply_off,
    a_steer_waits_for_a_tool_and_is_invisible_until_then,
    a_steer_outlives_the_client_that_sent_it,
    an_interrupt_loses_an_accepted_steer,
    a_start_right_after_an_interrupt_is_a_new_turn,
    steers_and_interrupts_of_a_wrong_turn_are_refused,
    a_client_id_is_not_deduplicated,
    a_second_client_hears_all_from_its_resume_on,
    an_unsubscribed_client_hears_only_the_status,
    a_failed_turn_leaves_a_thread_that_takes_the_next,
    what_a_turn_failed_of_is_told,
    a_review_takes_no_text,
    a_question_reaches_every_subscriber_and_the_first_answer_wins,
    an_error_answer_rejects_a_question,
    too_long_a_text_is_refused,
    the_longest_text_comes_through,
]
