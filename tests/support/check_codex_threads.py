"""What we believe of threads and the server: what is remembered, through kills and restarts. See `check_app_server`."""

import pytest
import trio

from support.app_server_rig import OTHER_TURN, Check, Rig, held, tool_then
from support.mock_model import Text
from trio_relay.codex.app_server import Attached
from trio_relay.codex.protocol import (
    CallFailed,
    NotResumable,
    TurnEnded,
)
from trio_relay.errors import ConnectionLost, Refused


async def a_fresh_thread_cannot_be_resumed_until_something_is_injected(rig: Rig) -> None:
    async with rig.thread() as (server, thread_id, _), rig.connect() as other:
        assert thread_id in await other.loaded_threads()
        with pytest.raises(NotResumable):
            await other.thread_resume(thread_id)
        assert await other.user_messages(thread_id) == []
        assert await other.turn_result(thread_id, OTHER_TURN) is None
        await server.inject(thread_id, "You are agent seven.")
        assert await other.thread_resume(thread_id) == Attached(thread_id, "idle", None)
        assert await other.user_messages(thread_id) == []
        turn_id = await server.turn_start(thread_id, "who are you", "relay:1")
        await rig.model.seen(lambda request: request.contains("You are agent seven."))
        async with rig.watching(other, thread_id) as watch:
            await watch.ended(turn_id)


async def a_kill_keeps_what_was_told_and_loses_what_was_pending(rig: Rig) -> None:
    gate = rig.gate()
    rig.model.script = tool_then(gate.call, Text("never said"))
    async with rig.thread() as (server, thread_id, watch):
        turn_id = await server.turn_start(thread_id, "work", "relay:1")
        await watch.seen("relay:1")
        await gate.reached()
        await server.turn_steer(thread_id, turn_id, "pending", "relay:2")
        await rig.server.kill()
        async for _ in server.notifications:
            pass
        assert server.lost == "the app-server's connection closed with code 1006"
        with pytest.raises(ConnectionLost, match="1006"):
            await server.thread_read(thread_id)
    # What is said of it depends on who has the port by now: nobody, another program, or the dialling socket itself.
    with pytest.raises(ConnectionLost):
        async with rig.connect():
            pass
    await rig.server.start()
    rig.model.script = Text("back")
    async with rig.connect() as server, rig.watching(server, thread_id) as watch:
        assert [m.client_id for m in await server.user_messages(thread_id)] == ["relay:1"]  # not loaded yet
        assert (await server.thread_read(thread_id))["status"]["type"] == "notLoaded"
        assert await server.thread_resume(thread_id) == Attached(thread_id, "idle", None)
        assert await server.turn_result(thread_id, turn_id) == TurnEnded(turn_id, "interrupted", None, None)
        turn_id = await server.turn_start(thread_id, "go on", "relay:3")
        assert (await watch.ended(turn_id)).final_text == "back"
        assert [m.client_id for m in await server.user_messages(thread_id)] == ["relay:1", "relay:3"]
        assert rig.model.requests[-1].contains("work")


async def a_result_is_found_after_a_restart(rig: Rig) -> None:
    rig.model.script = Text("the answer")
    async with rig.thread() as (server, thread_id, watch):
        turn_id = await server.turn_start(thread_id, "question", "relay:1")
        ended = await watch.ended(turn_id)
        await rig.server.kill()
    await rig.server.start()
    async with rig.connect() as server:
        await server.thread_resume(thread_id)
        assert await server.turn_result(thread_id, turn_id) == ended


async def a_thread_without_a_turn_dies_with_its_server(rig: Rig) -> None:
    async with rig.thread() as (server, fresh, _):
        injected = await server.thread_start(cwd=str(rig.cwd), approval_policy="never")
        await server.inject(injected, "You are agent seven.")
        await rig.server.kill()
    await rig.server.start()
    async with rig.connect() as server:
        with pytest.raises(NotResumable):
            await server.thread_resume(fresh)
        assert await server.thread_resume(injected) == Attached(injected, "idle", None)


async def a_draining_server_ends_its_turns_and_takes_no_more(rig: Rig) -> None:
    gate = rig.gate()
    rig.model.script = tool_then(gate.call, Text("done"))
    async with rig.thread() as (server, thread_id, watch):
        turn_id = await server.turn_start(thread_id, "work", "relay:1")
        await watch.seen("relay:1")
        await gate.reached()
        rig.server.drain()
        while True:  # the signal takes its time
            try:
                await server.turn_steer(thread_id, OTHER_TURN, "too late", "relay:2")
            except CallFailed as refused:
                if refused.draining:
                    break
            await trio.sleep(0.01)
        for refused_call in (
            server.turn_start(thread_id, "too late", "relay:3"),
            server.thread_start(cwd=str(rig.cwd)),
            server.thread_resume(thread_id),
        ):
            with pytest.raises(CallFailed) as answer:
                await refused_call
            assert answer.value.draining
        assert [m.client_id for m in await server.user_messages(thread_id)] == ["relay:1"]
        gate.open()
        with pytest.raises(AssertionError, match="1006"):
            await watch.until(lambda: False)  # whether the end of the turn is still told is a matter of luck
    await rig.server.start()
    async with rig.connect() as server:
        assert await server.turn_result(thread_id, turn_id) == TurnEnded(turn_id, "completed", None, "done")


async def a_long_history_is_read_to_its_end(rig: Rig) -> None:
    async with rig.thread() as (server, thread_id, watch):
        turns = []
        for number in range(30):
            turn_id = await server.turn_start(thread_id, f"text {number}", f"relay:{number}")
            await watch.ended(turn_id)
            turns.append(turn_id)
        messages = await server.user_messages(thread_id)
        assert [m.client_id for m in messages] == [f"relay:{n}" for n in range(30)]
        assert [m.turn_id for m in messages] == turns
        oldest = await server.turn_result(thread_id, turns[0])
        assert oldest == TurnEnded(turns[0], "completed", None, "Understood.")
        assert await server.turn_result(thread_id, OTHER_TURN) is None


async def the_older_kind_of_history_is_read_as_well(rig: Rig) -> None:
    rig.model.script, hold = held()
    async with rig.connect() as server:
        wishes = {"cwd": str(rig.cwd), "approvalPolicy": "never", "historyMode": "legacy"}
        thread_id = (await server.call("thread/start", wishes))["thread"]["id"]
        assert await server.user_messages(thread_id) == []
        async with rig.watching(server, thread_id) as watch:
            turn_id = await server.turn_start(thread_id, "first", "relay:1")
            await watch.speaking()
            await server.turn_steer(thread_id, turn_id, "second", "relay:2")
            await watch.seen("relay:2")
            # This kind of history shows a message a moment after it was told; the newer kind has it by then.
            with trio.fail_after(60):
                while len(found := await server.user_messages(thread_id)) < 2:
                    await trio.sleep(0.02)
            assert [m.client_id for m in found] == ["relay:1", "relay:2"]
            hold.set()
            ended = await watch.ended(turn_id)
            assert await server.turn_result(thread_id, turn_id) == ended


async def unknown_threads_are_refused(rig: Rig) -> None:
    async with rig.connect() as server:
        for attempt in (
            server.turn_start(OTHER_TURN, "x", "relay:1"),
            server.thread_read(OTHER_TURN),
            server.user_messages(OTHER_TURN),
            server.inject(OTHER_TURN, "x"),
        ):
            with pytest.raises(CallFailed):
                await attempt
        with pytest.raises(NotResumable):
            await server.thread_resume(OTHER_TURN)
        with pytest.raises(CallFailed) as unknown:
            await server.call("no/such/call", {})
        assert unknown.value.unsupported
        assert isinstance(await server.diagnostics_pid(), int)


async def a_server_with_a_token_takes_no_other(rig: Rig) -> None:
    """Its rig serves with the token "right"."""
    async with rig.connect() as server:
        assert await server.loaded_threads() == []
    rig.token = None
    for wrong in (None, "wrong"):
        with pytest.raises(Refused, match="401"):
            async with rig.connect(wrong):
                pass


THREAD_CHECKS: list[Check] = [
    a_fresh_thread_cannot_be_resumed_until_something_is_injected,
    a_kill_keeps_what_was_told_and_loses_what_was_pending,
    a_result_is_found_after_a_restart,
    a_thread_without_a_turn_dies_with_its_server,
    a_draining_server_ends_its_turns_and_takes_no_more,
    a_long_history_is_read_to_its_end,
    the_older_kind_of_history_is_read_as_well,
    unknown_threads_are_refused,
]
