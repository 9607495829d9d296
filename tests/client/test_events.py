"""Following the room's events: nothing is missed over an interruption, and what is missed is said."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from support.relay import Room
from trio_relay.client import RelayClient, events
from trio_relay.core.wire import AgentRegistration
from trio_relay.errors import ConnectionLost, Invalid
from trio_relay.testing.transport import AppTransport


@asynccontextmanager
async def streaming(room: Room) -> AsyncIterator[tuple[RelayClient, AppTransport]]:
    async with trio.open_nursery() as nursery:
        transport = AppTransport(room.app, nursery)
        async with RelayClient.open(room.relay.url, transport=transport) as relay:
            yield relay, transport


async def arrive(room: Room, *names: str) -> None:
    for name in names:
        await room.relay.register(AgentRegistration(id=name))


async def test_events_come_as_they_happen_with_their_numbers(room: Room) -> None:
    async with streaming(room) as (relay, _), events.follow(relay, types=["agent.*"]) as stream:
        await arrive(room, "ann")
        first = await anext(stream)
        await arrive(room, "bob")
        second = await anext(stream)
    assert [first.kind, second.kind] == ["agent.status", "agent.status"]
    assert [first.data["id"], second.data["id"]] == ["ann", "bob"]
    assert stream.last_id == second.id > first.id


async def test_a_follower_that_was_cut_off_goes_on_where_it_was(room: Room) -> None:
    told: list[str] = []
    async with (
        streaming(room) as (relay, transport),
        events.follow(relay, types=["agent.*"], after=0, on_lost=told.append) as stream,
    ):
        await arrive(room, "ann")
        assert (await anext(stream)).data["id"] == "ann"
        transport.cut()
        await arrive(room, "bob", "cid")
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def mend() -> None:
                await trio.sleep(60)
                transport.broken = False

            with trio.fail_after(600):
                assert [(await anext(stream)).data["id"] for _ in range(2)] == ["bob", "cid"]
    assert "cannot be reached" in told[0]


async def test_what_the_log_no_longer_holds_is_told_as_a_gap(room: Room) -> None:
    async with streaming(room) as (relay, _), events.follow(relay, after=10_000) as stream:
        gap = await anext(stream)
    assert gap.kind == "gap"
    assert gap.data["reason"] == "unknown_id"


async def test_a_relay_that_shuts_down_is_waited_for(room: Room) -> None:
    told: list[str] = []
    async with (
        streaming(room) as (relay, _),
        events.follow(relay, types=["message.*"], on_lost=told.append) as stream,
    ):
        await arrive(room, "ann")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(anext, stream, None)
            await wait_all_tasks_blocked()
            room.service.hub.close()
            with trio.move_on_after(60):
                await trio.sleep_forever()
            nursery.cancel_scope.cancel()
    assert told[0] == "the relay is shutting down"


async def test_a_quiet_stream_is_no_dead_one(room: Room) -> None:
    told: list[str] = []
    async with (
        streaming(room) as (relay, _),
        events.follow(relay, types=["message.*"], on_lost=told.append) as stream,
    ):
        with trio.move_on_after(600):
            await anext(stream)  # an idle relay says something every 15 s
    assert told == []


async def test_what_the_relay_refuses_is_raised(room: Room) -> None:
    async with streaming(room) as (relay, _):
        with pytest.raises(Invalid):
            async with events.follow(relay, types=[""]):
                pass


async def test_a_relay_that_is_away_to_begin_with_is_an_error(room: Room) -> None:
    async with streaming(room) as (relay, transport):
        transport.cut()
        with pytest.raises(ConnectionLost, match="cannot be reached"):
            async with events.follow(relay):
                pass


async def test_a_stream_that_has_died_silently_is_opened_again(autojump_clock: MockClock) -> None:
    asked: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.append(dict(scope["headers"]).get(b"last-event-id", b""))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if len(asked) == 1:
            await send({"type": "http.response.body", "body": b"retry: 1000\nid: 7\n\n", "more_body": True})
            await trio.sleep_forever()
        for piece in (b": hello\n\nid: 8\nevent: odd\nda", b'ta: {"a": 1}\n\n'):
            await send({"type": "http.response.body", "body": piece, "more_body": True})

    told: list[str] = []
    async with trio.open_nursery() as nursery:
        transport = AppTransport(app, nursery)
        async with (
            RelayClient.open("http://127.0.0.1:1", transport=transport) as relay,
            events.follow(relay, on_lost=told.append) as stream,
        ):
            event = await anext(stream)
        nursery.cancel_scope.cancel()
    assert (event.id, event.kind, event.data) == (8, "odd", {"a": 1})
    assert asked == [b"", b"7"]
    assert told == ["the relay at http://127.0.0.1:1 did not answer in time"]
    assert events.SILENCE <= trio.current_time() <= events.SILENCE + 5
