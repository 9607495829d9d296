"""What we believe of a thread's queue and of items injected into its history. See `check_app_server`."""

from collections.abc import Callable

import pytest
import trio

from support.app_server_rig import OTHER_TURN, Check, Rig, Watch, held
from support.mock_model import Failure, Text
from trio_relay.codex.app_server import AppServer, Queued
from trio_relay.codex.protocol import CallFailed, QueueChanged, TurnEnded


async def _working(
    rig: Rig, server: AppServer, thread_id: str, watch: Watch
) -> tuple[str, Callable[[], None]]:
    """Begin a turn that uses a tool until the gate opens; whatever is said after it is answered at once."""
    gate = rig.gate()
    rig.model.script = gate.call
    turn_id = await server.turn_start(thread_id, "work", f"relay:{turn_number(watch)}")
    await gate.reached()
    rig.model.script = Text("done")
    return turn_id, gate.open


def turn_number(watch: Watch) -> int:
    return 1000 + len(watch.client_ids)


async def _paused(rig: Rig, server: AppServer, thread_id: str, watch: Watch, *texts: str) -> list[Queued]:
    """Queue texts behind a turn and interrupt it."""
    turn_id, _ = await _working(rig, server, thread_id, watch)
    queued = [await server.queue_add(thread_id, text, text) for text in texts]
    await server.turn_interrupt(thread_id, turn_id)
    await watch.ended(turn_id)
    return queued


async def _shown(server: AppServer, thread_id: str) -> list[str]:
    """The texts of ours in the thread, apart from those that only began a turn."""
    seen = await server.user_messages(thread_id)
    return [one.client_id for one in seen if not one.client_id.startswith("relay:10")]


async def what_is_queued_waits_for_the_turn_and_gets_one_of_its_own(rig: Rig) -> None:
    async with rig.thread() as (server, thread_id, watch):
        assert await server.queue_list(thread_id) == []
        _, finish = await _working(rig, server, thread_id, watch)
        one, two, three = [await server.queue_add(thread_id, f"text {n}", f"relay:{n}") for n in (1, 2, 3)]
        assert await server.queue_list(thread_id) == [one, two, three]
        assert await _shown(server, thread_id) == []
        assert await server.queue_delete(thread_id, two.submission_id)
        assert not await server.queue_delete(thread_id, two.submission_id)
        with pytest.raises(CallFailed, match="active or pending turn"):
            await server.queue_start(thread_id, one.submission_id)
        finish()
        await watch.seen("relay:3")
        await watch.until(lambda: len(ends(watch)) == 3)
        assert await _shown(server, thread_id) == ["relay:1", "relay:3"]
        assert await server.queue_list(thread_id) == []
        assert len({seen.turn_id for seen in await server.user_messages(thread_id)}) == 3
        assert QueueChanged() in watch.events


async def an_idle_thread_takes_a_queued_text_at_once(rig: Rig) -> None:
    async with rig.thread() as (server, thread_id, watch):
        await server.queue_add(thread_id, "hello", "relay:1")
        await watch.seen("relay:1")
        assert await server.queue_list(thread_id) == []


async def an_interrupt_stops_the_queue_until_somebody_starts_it(rig: Rig) -> None:
    async with rig.thread() as (server, thread_id, watch):
        await _paused(rig, server, thread_id, watch, "one")
        late = await server.queue_add(thread_id, "two", "two")
        await trio.sleep(0.3)
        assert [each.client_id for each in await server.queue_list(thread_id)] == ["one", "two"]
        with pytest.raises(CallFailed, match="not found"):
            await server.queue_start(thread_id, OTHER_TURN)
        turn_id = await server.queue_start(thread_id, late.submission_id)
        await watch.ended(turn_id)
        await watch.seen("one")
        assert await _shown(server, thread_id) == ["two", "one"]


async def an_interrupt_stops_an_empty_queue_as_well_and_a_turn_sets_it_going(rig: Rig) -> None:
    async with rig.thread() as (server, thread_id, watch):
        await _paused(rig, server, thread_id, watch)
        await server.queue_add(thread_id, "one", "one")
        await trio.sleep(0.3)
        assert len(await server.queue_list(thread_id)) == 1
        await watch.ended(await server.turn_start(thread_id, "something else", "two"))
        await watch.seen("one")


async def a_failed_turn_does_not_stop_the_queue(rig: Rig) -> None:
    async with rig.thread() as (server, thread_id, watch):
        turn_id, finish = await _working(rig, server, thread_id, watch)
        await server.queue_add(thread_id, "the queued text", "one")
        rig.model.script = lambda request: (
            Text("fine") if request.contains("the queued text") else Failure(500)
        )
        finish()
        assert (await watch.ended(turn_id)).status == "failed"
        await watch.seen("one")


async def the_queue_outlives_a_kill_and_goes_on_when_its_thread_is_resumed(rig: Rig) -> None:
    async with rig.thread() as (server, thread_id, watch):
        await _working(rig, server, thread_id, watch)
        await server.queue_add(thread_id, "one", "one")
        await rig.server.kill()
    await rig.server.start()
    async with rig.connect() as server, rig.watching(server, thread_id) as watch:
        assert [each.client_id for each in await server.queue_list(thread_id)] == ["one"]  # not loaded yet
        two = await server.queue_add(thread_id, "two", "two")
        with pytest.raises(CallFailed, match="resume the thread"):
            await server.queue_start(thread_id, two.submission_id)
        await server.thread_resume(thread_id)
        await watch.seen("two")
        assert await _shown(server, thread_id) == ["one", "two"]


async def a_queue_that_stands_still_does_so_after_a_restart(rig: Rig) -> None:
    async with rig.thread() as (server, thread_id, watch):
        (one,) = await _paused(rig, server, thread_id, watch, "one")
        await rig.server.kill()
    await rig.server.start()
    async with rig.connect() as server, rig.watching(server, thread_id) as watch:
        await server.thread_resume(thread_id)
        await trio.sleep(0.3)
        assert await server.queue_list(thread_id) == [one]
        await watch.ended(await server.queue_start(thread_id, one.submission_id))


async def a_draining_server_takes_into_its_queue_and_begins_nothing(rig: Rig) -> None:
    async with rig.thread() as (server, thread_id, watch):
        _, finish = await _working(rig, server, thread_id, watch)
        rig.server.drain()
        while True:  # the signal takes its time
            try:
                await server.turn_steer(thread_id, OTHER_TURN, "too late", "relay:2")
            except CallFailed as refused:
                if refused.draining:
                    break
            await trio.sleep(0.01)
        await server.queue_add(thread_id, "one", "one")
        finish()
        with pytest.raises(AssertionError, match="1006"):
            await watch.until(lambda: False)
    await rig.server.start()
    async with rig.connect() as server:
        assert [each.client_id for each in await server.queue_list(thread_id)] == ["one"]


async def an_item_injected_into_an_idle_thread_is_on_disk_and_in_the_next_request(rig: Rig) -> None:
    async with rig.thread() as (server, thread_id, watch):
        await server.inject(thread_id, "for your information", role="user", item_id="relay:1")
        path = (await server.thread_read(thread_id))["path"]
        assert rig.server.find_items(path, ["relay:1", "relay:2"]) == {"relay:1"}
        assert await server.user_messages(thread_id) == []
        await rig.server.kill()
        assert rig.server.find_items(path, ["relay:1", "relay:2"]) == {"relay:1"}
    await rig.server.start()
    async with rig.connect() as server, rig.watching(server, thread_id) as watch:
        await server.thread_resume(thread_id)
        await watch.ended(await server.turn_start(thread_id, "hello", "relay:3"))
        assert rig.model.requests[-1].contains("for your information")


async def an_item_injected_during_a_turn_waits_in_memory(rig: Rig) -> None:
    async with rig.thread() as (server, thread_id, watch):
        turn_id, finish = await _working(rig, server, thread_id, watch)
        path = (await server.thread_read(thread_id))["path"]
        await server.inject(thread_id, "for your information", role="user", item_id="relay:1")
        assert rig.server.find_items(path, ["relay:1"]) == set()
        finish()
        await watch.ended(turn_id)
        assert rig.server.find_items(path, ["relay:1"]) == {"relay:1"}
        assert rig.model.requests[-1].contains("for your information")

        turn_id, _ = await _working(rig, server, thread_id, watch)
        await server.inject(thread_id, "never seen", role="user", item_id="relay:2")
        await server.turn_interrupt(thread_id, turn_id)
        await watch.ended(turn_id)
        await watch.ended(await server.turn_start(thread_id, "go on", "relay:3"))
        assert rig.server.find_items(path, ["relay:2"]) == set()
        assert not rig.model.requests[-1].contains("never seen")


async def an_item_injected_while_the_model_speaks_has_it_asked_again(rig: Rig) -> None:
    rig.model.script, hold = held()
    async with rig.thread() as (server, thread_id, watch):
        turn_id = await server.turn_start(thread_id, "talk", "relay:1")
        await watch.speaking()
        await server.inject(thread_id, "for your information", role="user", item_id="relay:2")
        rig.model.script = Text("I see.")
        hold.set()
        assert (await watch.ended(turn_id)).final_text == "I see."


def ends(watch: Watch) -> list[TurnEnded]:
    return [event for event in watch.events if isinstance(event, TurnEnded)]


QUEUE_CHECKS: list[Check] = [
    what_is_queued_waits_for_the_turn_and_gets_one_of_its_own,
    an_idle_thread_takes_a_queued_text_at_once,
    an_interrupt_stops_the_queue_until_somebody_starts_it,
    an_interrupt_stops_an_empty_queue_as_well_and_a_turn_sets_it_going,
    a_failed_turn_does_not_stop_the_queue,
    the_queue_outlives_a_kill_and_goes_on_when_its_thread_is_resumed,
    a_queue_that_stands_still_does_so_after_a_restart,
    a_draining_server_takes_into_its_queue_and_begins_nothing,
    an_item_injected_into_an_idle_thread_is_on_disk_and_in_the_next_request,
    an_item_injected_during_a_turn_waits_in_memory,
    an_item_injected_while_the_model_speaks_has_it_asked_again,
]
