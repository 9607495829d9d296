"""What a receiver hears of its tasks: in order, at least once, whatever becomes of it or of the relay."""

import hashlib
import hmac
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio

from support.integrations import (
    ALERTS,
    CI,
    HOOK,
    FakeReceivers,
    callbacks_of,
    integrated_room,
    new_task,
    post_event,
    sending,
)
from support.relay import EPOCH, Room
from support.talk import join
from trio_relay.core.integrations import Integration

OTHER = "https://other.example/hook"


@pytest.fixture
async def room(tmp_path: Path, autojump_clock: Any) -> AsyncIterator[Room]:
    async with integrated_room(tmp_path) as opened:
        await join(opened, "bob")
        yield opened


async def work_through(room: Room, task_id: int) -> None:
    """Claim a task, report progress, finish it."""
    await room.http("POST", f"/api/tasks/{task_id}/claim", json={"agentId": "bob"})
    for body in ({"status": "in_progress", "progress": 50}, {"status": "done", "result": "ok"}):
        await room.http("PATCH", f"/api/tasks/{task_id}/status", json=body | {"agentId": "bob"})


EVERYTHING = [
    ("task.created", "open"),
    ("task.claimed", "claimed"),
    ("task.status", "in_progress"),
    ("task.status", "done"),
]


async def test_every_change_is_told_in_order(room: Room) -> None:
    receivers = FakeReceivers()
    async with sending(room.service, receivers):
        task = await new_task(room)
        await work_through(room, task["id"])
        await trio.sleep(1)
    assert receivers.told() == EVERYTHING
    created = receivers.calls[0].body
    assert created == {"event": "task.created", "id": receivers.calls[0].delivery, "task": task}
    assert receivers.calls[2].body["task"]["progress"] == 50
    assert receivers.calls[3].body["task"]["result"] == "ok"
    assert len({call.delivery for call in receivers.calls}) == 4


async def test_a_callback_goes_out_the_moment_it_is_due(room: Room) -> None:
    receivers = FakeReceivers()
    async with sending(room.service, receivers):
        await trio.sleep(1000)
        posted = trio.current_time()
        await new_task(room)
        await trio.sleep(1)
    assert [call.at for call in receivers.calls] == [posted]


async def test_a_receiver_can_tell_that_it_is_ours(room: Room) -> None:
    receivers = FakeReceivers()
    async with sending(room.service, receivers):
        await new_task(room)
        await trio.sleep(1)
    (call,) = receivers.calls
    timestamp = call.headers["X-Trio-Relay-Timestamp"]
    assert int(timestamp) == EPOCH
    expected = hmac.new(CI.token.encode(), timestamp.encode() + b"." + call.raw, hashlib.sha256).hexdigest()
    assert call.headers["X-Trio-Relay-Signature"] == f"sha256={expected}"


async def test_a_failing_receiver_is_tried_again_with_growing_pauses_until_it_is_dead(room: Room) -> None:
    receivers = FakeReceivers({HOOK: [500]})
    task = await new_task(room)
    async with sending(room.service, receivers):
        await trio.sleep(100 * 3600)
    times = [call.at for call in receivers.calls]
    assert [round(later - earlier) for earlier, later in pairwise(times)] == [
        10,
        30,
        90,
        270,
        810,
        2430,
        7290,
        21870,
        65610,
    ]
    assert len({call.delivery for call in receivers.calls}) == 1
    (callback,) = await callbacks_of(room, task["id"])
    assert (callback["state"], callback["dueAt"], len(callback["attempts"])) == ("dead", None, 10)
    assert {attempt["status"] for attempt in callback["attempts"]} == {500}


async def test_the_next_of_a_task_waits_until_the_one_before_it_has_ended(room: Room) -> None:
    receivers = FakeReceivers({HOOK: [503, "connect_failed", 200]})
    task = await new_task(room)
    await work_through(room, task["id"])
    async with sending(room.service, receivers):
        await trio.sleep(1)
        assert receivers.told() == EVERYTHING[:1]
        await trio.sleep(60)
    assert receivers.told() == [EVERYTHING[0], EVERYTHING[0], *EVERYTHING]
    first, *rest = await callbacks_of(room, task["id"])
    assert [(attempt["status"], attempt["error"]) for attempt in first["attempts"]] == [
        (503, None),
        (None, "connect_failed"),
        (200, None),
    ]
    assert {callback["state"] for callback in (first, *rest)} == {"delivered"}
    assert {callback["integration"] for callback in rest} == {"ci"}


async def test_after_a_dead_one_the_next_has_its_turn(room: Room) -> None:
    receivers = FakeReceivers({HOOK: [*[500] * 10, 200]})
    task = await new_task(room)
    await work_through(room, task["id"])
    async with sending(room.service, receivers):
        await trio.sleep(100 * 3600)
    assert receivers.told()[9:] == EVERYTHING
    assert [one["state"] for one in await callbacks_of(room, task["id"])] == ["dead"] + ["delivered"] * 3


async def test_another_task_of_the_same_receiver_does_not_wait(room: Room) -> None:
    receivers = FakeReceivers({HOOK: [500, 200]})
    first, second = await new_task(room), await new_task(room, dedupeKey="2")
    async with sending(room.service, receivers):
        await trio.sleep(60)
    assert [call.body["task"]["id"] for call in receivers.calls] == [first["id"], second["id"], first["id"]]


async def test_a_receiver_that_hangs_is_given_ten_seconds(room: Room) -> None:
    receivers = FakeReceivers({HOOK: [10_000.0, 200]})
    task = await new_task(room)
    async with sending(room.service, receivers):
        await trio.sleep(60)
    assert [call.at - receivers.calls[0].at for call in receivers.calls] == [0, 20]
    (callback,) = await callbacks_of(room, task["id"])
    assert callback["attempts"][0] == {
        "at": EPOCH + 10_000,
        "status": None,
        "error": "timeout",
        "durationMs": 10_000,
    }


@pytest.mark.parametrize("fault", [10_000.0, 9.0, 500, "connect_failed"])
async def test_a_slow_or_dead_receiver_holds_up_no_other(
    tmp_path: Path, autojump_clock: Any, fault: str | float
) -> None:
    other = Integration("other", token="o", callback_url=OTHER, callback_secret="s")
    receivers = FakeReceivers({HOOK: [fault]})
    async with integrated_room(tmp_path, CI, other) as room, sending(room.service, receivers):
        await join(room, "bob")
        began = trio.current_time()
        for number in range(20):
            await post_event(room, dedupeKey=f"ci-{number}")
        for number in range(20):
            await post_event(room, "o", dedupeKey=f"other-{number}")
        await trio.sleep(0.5)
        assert [call.at for call in receivers.calls if call.url == OTHER] == [began] * 20


async def test_sending_waits_for_no_receiver(room: Room) -> None:
    """The relay answers while every receiver hangs."""
    receivers = FakeReceivers({HOOK: [10_000.0]})
    async with sending(room.service, receivers):
        began = trio.current_time()
        for number in range(50):
            await new_task(room, dedupeKey=str(number))
        assert trio.current_time() == began


async def test_a_redirect_is_not_a_delivery(room: Room) -> None:
    receivers = FakeReceivers({HOOK: [302, 204]})
    task = await new_task(room)
    async with sending(room.service, receivers):
        await trio.sleep(60)
    (callback,) = await callbacks_of(room, task["id"])
    assert [attempt["status"] for attempt in callback["attempts"]] == [302, 204]


async def test_a_restart_goes_on_from_the_outbox(tmp_path: Path, autojump_clock: Any) -> None:
    receivers = FakeReceivers({HOOK: [500, 200]})
    async with integrated_room(tmp_path) as room:
        await join(room, "bob")
        task = await new_task(room)
        async with sending(room.service, receivers):
            await trio.sleep(1)
    now = EPOCH + 1000
    async with integrated_room(tmp_path) as room:
        room.service._now = lambda: now
        async with sending(room.service, receivers):
            await trio.sleep(1)
            assert len(receivers.calls) == 1
    now = EPOCH + 10_000
    async with integrated_room(tmp_path) as room:
        room.service._now = lambda: now
        async with sending(room.service, receivers):
            await trio.sleep(1)
        (callback,) = await callbacks_of(room, task["id"])
    assert len(receivers.calls) == 2
    assert callback["state"] == "delivered"


async def test_what_was_sent_but_not_noted_is_sent_again_under_the_same_id(room: Room) -> None:
    class DyingReceivers(FakeReceivers):
        async def post(self, *args: Any) -> int | str:
            answer = await super().post(*args)
            if len(self.calls) == 1:
                dying.cancel()  # the receiver has it; the relay dies before it can note that
                await trio.lowlevel.checkpoint()
            return answer

    receivers = DyingReceivers()
    task = await new_task(room)
    async with sending(room.service, receivers) as dying:
        await trio.sleep(60)
    assert [callback["attempts"] for callback in await callbacks_of(room, task["id"])] == [[]]
    async with sending(room.service, receivers):
        await trio.sleep(1)
    first, second = receivers.calls
    assert (first.delivery, first.raw) == (second.delivery, second.raw)
    assert len(receivers.told()) == 2


async def test_who_has_no_callback_url_is_told_nothing(room: Room) -> None:
    receivers = FakeReceivers()
    async with sending(room.service, receivers):
        response = await post_event(room, ALERTS.token, target="tag:ops")
        await trio.sleep(1)
    assert receivers.calls == []
    assert await callbacks_of(room, response.json()["id"]) == []


async def test_one_url_of_two_integrations_has_one_task_and_two_secrets(
    tmp_path: Path, autojump_clock: Any
) -> None:
    twin = Integration("twin", token="t", callback_url=HOOK, callback_secret="another")
    receivers = FakeReceivers()
    async with integrated_room(tmp_path, CI, twin) as room:
        await join(room, "bob")
        async with sending(room.service, receivers):
            await post_event(room)
            await post_event(room, "t")
            await trio.sleep(1)
    for call, secret in zip(receivers.calls, (CI.token, "another"), strict=True):
        signed = call.headers["X-Trio-Relay-Timestamp"].encode() + b"." + call.raw
        expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
        assert call.headers["X-Trio-Relay-Signature"] == f"sha256={expected}"


async def test_a_refused_change_tells_nobody(room: Room) -> None:
    receivers = FakeReceivers()
    async with sending(room.service, receivers):
        task = await new_task(room)
        await post_event(room)  # counted, not told
        await room.http("POST", f"/api/tasks/{task['id']}/claim", json={"agentId": "nobody"})
        await room.http("PATCH", f"/api/tasks/{task['id']}/status", json={"status": "done", "agentId": "bob"})
        await trio.sleep(1)
    assert receivers.told() == EVERYTHING[:1]


async def test_a_stopping_relay_stops_sending(room: Room) -> None:
    receivers = FakeReceivers({HOOK: [5.0]})
    await new_task(room)
    async with sending(room.service, receivers):
        await trio.sleep(1)
        room.service.hub.close()
        await trio.sleep(10)
        await new_task(room, dedupeKey="2")
        await trio.sleep(10)
    assert len(receivers.calls) == 1


async def test_from_a_change_of_the_integrations_on_the_new_receiver_is_told(room: Room) -> None:
    receivers = FakeReceivers()
    async with sending(room.service, receivers):
        first = await new_task(room)
        await trio.sleep(1)
        room.service.reconfigure((replace(CI, callback_url=OTHER),))
        second = await new_task(room, dedupeKey="another")
        await work_through(room, first["id"])
        await trio.sleep(1)
    assert receivers.told() == EVERYTHING[:1]
    assert sorted(receivers.told(OTHER)) == sorted([*EVERYTHING[1:], EVERYTHING[0]])
    assert await callbacks_of(room, second["id"])


async def test_an_integration_that_is_taken_away_is_let_in_no_more(room: Room) -> None:
    room.service.reconfigure((ALERTS,))
    assert (await post_event(room)).status_code == 401
    assert (await post_event(room, token=ALERTS.token, target="tag:ops")).status_code == 201
    headers = {"Authorization": f"Bearer {ALERTS.token}"}
    refused = await room.http("GET", "/api/agents", headers=headers)
    assert refused.json()["code"] == "integration_only"
