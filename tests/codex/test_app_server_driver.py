"""The driver keeps its bounds whatever the server does. In virtual time, over streams in memory."""

import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from support.fake_app_server import fake_app_server
from support.scripted_app_server import Scripted, scripted
from trio_relay.codex.app_server import AppServer, open_app_server
from trio_relay.codex.connection import CLOSE_TIMEOUT, MAX_BACKLOG, MAX_FRAME
from trio_relay.codex.protocol import Notification, RemoteProtocolError
from trio_relay.errors import ConnectionLost

Clock = trio.testing.MockClock


async def silence(_server: Scripted) -> None:
    await trio.sleep_forever()


async def _note_loss(server: AppServer, losses: list[float]) -> None:
    async for _ in server.notifications:
        pass
    losses.append(trio.current_time())


def one_by_one(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    return [
        e
        for one in group.exceptions
        for e in (one_by_one(one) if isinstance(one, BaseExceptionGroup) else [one])
    ]


# Calls


async def test_a_call_that_is_not_answered_is_given_up_and_the_connection_stays(
    autojump_clock: Clock,
) -> None:
    async with (
        fake_app_server() as fake,
        open_app_server(fake.url, dial=fake.dial, call_timeout=30) as server,
    ):
        fake.before_answer = lambda method, _: trio.sleep(60 if method == "thread/start" else 0)
        with pytest.raises(ConnectionLost, match="did not answer thread/start within 30 s"):
            await server.thread_start()
        assert trio.current_time() == 30
        assert server.lost is None
        await trio.sleep(60)  # the late answer comes, and harms nobody
        assert len(await server.loaded_threads()) == 1


async def test_calls_overtake_each_other(autojump_clock: Clock) -> None:
    async with fake_app_server() as fake, open_app_server(fake.url, dial=fake.dial) as server:
        delays = {"thread/start": 5.0, "thread/loaded/list": 1.0}
        fake.before_answer = lambda method, _: trio.sleep(delays[method])
        done: list[tuple[str, float]] = []

        async def note(name: str, call: Callable[[], Awaitable[Any]]) -> None:
            await call()
            done.append((name, trio.current_time()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(note, "start", server.thread_start)
            nursery.start_soon(note, "list", server.loaded_threads)
        assert done == [("list", 1.0), ("start", 5.0)]


async def test_a_cancelled_call_leaves_the_connection_whole(autojump_clock: Clock) -> None:
    async with fake_app_server() as fake, open_app_server(fake.url, dial=fake.dial) as server:
        fake.before_answer = lambda _method, _params: trio.sleep(2)
        with trio.move_on_after(1) as scope:
            await server.thread_start(developer_instructions="x" * 500_000)
        assert scope.cancelled_caught
        fake.before_answer = None
        assert len(await server.loaded_threads()) == 1  # it was carried out all the same


async def test_a_death_ends_every_call_and_the_notifications(autojump_clock: Clock) -> None:
    async with fake_app_server() as fake:
        fake.before_answer = lambda _method, _params: trio.sleep(0 if _method == "initialize" else math.inf)
        lost: list[str] = []

        async def call(server: AppServer) -> None:
            with pytest.raises(ConnectionLost) as raised:
                await server.thread_read("x")
            lost.append(raised.value.detail)

        async with open_app_server(fake.url, dial=fake.dial) as server, trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(call, server)
            await trio.testing.wait_all_tasks_blocked()
            await fake.kill()
            assert [n async for n in server.notifications] == []
            with pytest.raises(ConnectionLost, match="1006"):
                await server.loaded_threads()
        assert lost == ["the app-server's connection closed with code 1006"] * 3


async def test_a_death_after_the_deed_loses_only_the_answer(autojump_clock: Clock) -> None:
    async with fake_app_server() as fake:
        async with open_app_server(fake.url, dial=fake.dial) as server:
            thread_id = await server.thread_start()
            await server.inject(thread_id, "context")

            async def die(_method: str, _params: Any) -> None:
                await trio.sleep(1)
                await fake.kill()

            fake.before_answer = die
            with pytest.raises(ConnectionLost):
                await server.turn_start(thread_id, "hello", "relay:1")
        fake.before_answer = None
        await fake.start()
        async with open_app_server(fake.url, dial=fake.dial) as server:
            assert [m.client_id for m in await server.user_messages(thread_id)] == ["relay:1"]


# Notifications


async def test_calls_do_not_wait_for_a_reader_that_does_not_read(autojump_clock: Clock) -> None:
    async def flood(server: Scripted) -> None:
        for number in range(MAX_BACKLOG):
            await server.say({"method": "thread/name/updated", "params": {"number": number}})
        call = await server.hear()
        await server.say({"id": call["id"], "result": {"data": []}})

    async with scripted(flood) as (server, _):
        assert await server.loaded_threads() == []
        assert server.lost is None
        assert server.notifications.receive_nowait() == Notification("thread/name/updated", {"number": 0})


async def test_a_backlog_that_overruns_closes_the_connection_and_says_so(autojump_clock: Clock) -> None:
    async def flood(server: Scripted) -> None:
        for number in range(MAX_BACKLOG + 1):
            await server.say({"method": "thread/name/updated", "params": {"number": number}})

    async with scripted(flood) as (server, _):
        with pytest.raises(ConnectionLost, match="too many notifications were waiting"):
            await server.loaded_threads()
        heard = [n.params["number"] async for n in server.notifications]
        assert heard == list(range(MAX_BACKLOG))  # what came before is still there, in order


async def test_a_reader_that_has_left_costs_nothing(autojump_clock: Clock) -> None:
    async def flood(server: Scripted) -> None:
        for _ in range(MAX_BACKLOG + 1):
            await server.say({"method": "thread/name/updated", "params": {}})
        call = await server.hear()
        await server.say({"id": call["id"], "result": {"data": ["t"]}})

    async with scripted(flood) as (server, _):
        server.notifications.close()
        assert await server.loaded_threads() == ["t"]


async def test_noise_is_kept_out(autojump_clock: Clock) -> None:
    frames = [
        {"method": "item/started", "params": {"item": {"type": "commandExecution"}}},
        {"method": "item/completed", "params": {"item": {"type": "reasoning"}}},
        {"method": "item/completed", "params": {}},
        {"method": "item/completed", "params": {"item": {"type": "userMessage"}}},
        {"method": "mcpServer/startupStatus/updated", "params": {}},
        {"method": "error", "params": {"willRetry": True}},
        {"method": "remoteControl/status/changed", "params": {}},
        {"method": "turn/completed", "params": {}},
    ]

    async def say(server: Scripted) -> None:
        for frame in frames:
            await server.say(frame)
        await server.stream.aclose()

    async with scripted(say) as (server, _):
        assert [n.method async for n in server.notifications] == ["item/completed", "error", "turn/completed"]


async def test_questions_to_a_person_are_never_answered(autojump_clock: Clock) -> None:
    async def ask(server: Scripted) -> None:
        for number, method in enumerate(
            ("item/commandExecution/requestApproval", "currentTime/read", "new/thing")
        ):
            await server.say({"id": number, "method": method, "params": {"threadId": "t"}})
        await trio.sleep(60)
        await server.stream.aclose()

    async with scripted(ask) as (server, other_end):
        assert [n async for n in server.notifications] == []
    assert [frame.get("method") for frame in other_end.heard] == ["initialize", "initialized"]


# Bad frames


@pytest.mark.parametrize("frame", [b"binary", "not json", "[]", '{"id":99,"result":{}}', '{"id":"x"}'])
async def test_a_server_that_breaks_the_protocol_is_left(frame: str | bytes, autojump_clock: Clock) -> None:
    async def say(server: Scripted) -> None:
        await server.say(frame)

    async with scripted(say) as (server, _):
        with pytest.raises(ConnectionLost, match=r"the app-server (sent|answered)"):
            await server.loaded_threads()


async def test_a_frame_over_the_limit_is_not_read(autojump_clock: Clock) -> None:
    async def say(server: Scripted) -> None:
        await server.say("x" * (MAX_FRAME + 1))

    async with scripted(say) as (server, _):
        with pytest.raises(ConnectionLost, match="1009"):
            await server.loaded_threads()


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (lambda s: s.thread_start(), {"thread": {}}),
        (lambda s: s.thread_resume("t"), {"thread": {"status": "idle"}}),
        (
            lambda s: s.thread_resume("t"),
            {"thread": {"status": {"type": "idle"}}, "initialTurnsPage": {"data": [1]}},
        ),
        (lambda s: s.thread_read("t"), {"thread": None}),
        (lambda s: s.loaded_threads(), {"data": None}),
        (lambda s: s.turn_start("t", "x", "relay:1"), {"turn": {"id": 5}}),
        (lambda s: s.turn_steer("t", "u", "x", "relay:1"), {}),
        (lambda s: s.user_messages("t"), {"data": [{"turnId": "u"}]}),
        (
            lambda s: s.user_messages("t"),
            {"data": [{"item": {"type": "userMessage", "clientId": "c"}, "turnId": "u"}]},
        ),
        (lambda s: s.turn_result("t", "u"), {"data": [{"status": "completed"}]}),
    ],
)
async def test_an_answer_without_its_content_is_the_servers_fault(
    call: Callable[[AppServer], Awaitable[Any]], answer: dict[str, Any], autojump_clock: Clock
) -> None:
    async def say(server: Scripted) -> None:
        await server.say({"id": (await server.hear())["id"], "result": answer})

    async with scripted(say) as (server, _):
        with pytest.raises(RemoteProtocolError, match=r"left out|without data"):
            await call(server)


async def test_a_resumed_thread_without_turns_has_none_running(autojump_clock: Clock) -> None:
    async def say(server: Scripted) -> None:
        pages: tuple[Any, ...] = ({"data": []}, None, {"data": [{"id": "u", "status": "completed"}]})
        for page in pages:
            thread = {"thread": {"status": {"type": "idle"}}, "initialTurnsPage": page}
            await server.say({"id": (await server.hear())["id"], "result": thread})

    async with scripted(say) as (server, _):
        for _ in range(3):
            assert (await server.thread_resume("t")).turn_id is None


# Closing


async def test_a_goodbye_is_said_and_answered(autojump_clock: Clock) -> None:
    codes: list[int | None] = []

    async def listen(server: Scripted) -> None:
        reason = await server.until_closed()
        codes.append(None if reason is None else reason.code)

    async with scripted(listen):
        await trio.testing.wait_all_tasks_blocked()
    assert codes == [1000]
    assert trio.current_time() == 0


async def test_a_server_that_does_not_answer_the_goodbye_holds_nobody_up(autojump_clock: Clock) -> None:
    async def call(server: AppServer) -> None:
        with pytest.raises(ConnectionLost, match="the connection was closed"):
            await server.loaded_threads()

    losses: list[float] = []
    async with trio.open_nursery() as nursery, scripted(silence) as (server, _):
        nursery.start_soon(_note_loss, server, losses)
        for _ in range(3):  # it reads none of them, and so does not come to read the goodbye either
            nursery.start_soon(call, server)
        await trio.sleep(5)
    assert losses == [5 + CLOSE_TIMEOUT]


async def test_an_error_of_the_block_comes_out(autojump_clock: Clock) -> None:
    async with fake_app_server() as fake:
        with pytest.raises(BaseExceptionGroup) as group:
            async with open_app_server(fake.url, dial=fake.dial):
                raise KeyError("a bug")
    assert [type(e) for e in one_by_one(group.value)] == [KeyError]
