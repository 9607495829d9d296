"""One idempotency key of one sender makes one message, however often the request is repeated."""

from typing import Any

import httpx2
import pytest
import trio

from support.relay import Room, open_room
from support.talk import join, paths, refusal, say
from trio_relay.client import RelayClient
from trio_relay.core.wire import SendRequest
from trio_relay.errors import Conflict, ConnectionLost
from trio_relay.settings import ServerSettings

DAY = 24 * 3600


async def post(room: Room, *, header: str | None = None, **fields: Any) -> Any:
    headers = {} if header is None else {"Idempotency-Key": header}
    body = {"from": "ann", "to": "bob", "body": "hello"} | fields
    return await room.http("POST", "/api/messages", json=body, headers=headers)


async def test_the_same_key_and_content_answer_with_the_same_message(room: Room) -> None:
    await join(room, "bob")
    first, second = [await post(room, idempotencyKey="k") for _ in range(2)]
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert len(await room.relay.inbox("bob")) == 1


async def test_a_repeated_send_that_was_in_flight_twice_is_one_message(room: Room) -> None:
    await join(room, "bob")
    ids: list[int] = []

    async def send() -> None:
        ids.append((await say(room, "ann", "bob", idempotency_key="k")).id)

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(send)
    assert len(set(ids)) == 1
    assert len(await room.relay.inbox("bob")) == 1


async def test_the_header_means_the_same_as_the_field(room: Room) -> None:
    await join(room, "bob")
    first = await post(room, header="k")
    assert (await post(room, idempotencyKey="k")).json() == first.json()
    # The field says it in the message itself: it counts when both are there.
    assert (await post(room, header="other", idempotencyKey="k")).json()["id"] == first.json()["id"]


async def test_a_header_that_cannot_be_a_key_is_refused(room: Room) -> None:
    await join(room, "bob")
    for header in ("", "k" * 201):
        problem = refusal(await post(room, header=header))
        assert (problem.status, paths(problem)) == (400, ["Idempotency-Key"])
    assert await room.relay.inbox("bob") == []


@pytest.mark.parametrize(
    "other",
    [
        {"body": "bye"},
        {"to": "cat"},
        {"subject": "S"},
        {"channel": "ops"},
        {"claimable": True},
        {"type": "note"},
        {"meta": {"n": 2}},
    ],
    ids=str,
)
async def test_other_content_under_the_same_key_is_a_conflict(room: Room, other: dict[str, Any]) -> None:
    for agent in ("bob", "cat"):
        await join(room, agent)
    await post(room, idempotencyKey="k", meta={"n": 1})
    problem = refusal(await post(room, idempotencyKey="k", **({"meta": {"n": 1}} | other)))
    assert (problem.status, problem.code) == (409, "idempotency_conflict")
    assert paths(problem) == ["idempotencyKey"]
    assert len(await room.relay.browse()) == 1


async def test_metadata_written_in_another_order_is_the_same_content(room: Room) -> None:
    await join(room, "bob")
    first = await post(room, idempotencyKey="k", meta={"a": 1, "b": {"c": 1, "d": 2}})
    second = await post(room, idempotencyKey="k", meta={"b": {"d": 2, "c": 1}, "a": 1})
    assert (second.status_code, second.json()["id"]) == (200, first.json()["id"])


async def test_a_key_is_its_senders_own(room: Room) -> None:
    await join(room, "bob")
    first = await post(room, idempotencyKey="k")
    second = await post(room, idempotencyKey="k", **{"from": "cat"})
    assert second.status_code == 201
    assert second.json()["id"] != first.json()["id"]


async def test_a_key_is_remembered_for_a_day_to_the_millisecond(room: Room) -> None:
    await join(room, "bob")
    first = await say(room, "ann", "bob", idempotency_key="k")
    await trio.sleep(DAY - 0.001)
    assert (await say(room, "ann", "bob", idempotency_key="k")).id == first.id
    await trio.sleep(0.001)
    second = await say(room, "ann", "bob", "something else", idempotency_key="k")
    assert second.id != first.id
    assert (await say(room, "ann", "bob", "something else", idempotency_key="k")).id == second.id


async def test_housekeeping_forgets_keys_no_sooner(room: Room) -> None:
    await join(room, "bob")
    first = await say(room, "ann", "bob", idempotency_key="k")
    await trio.sleep(DAY - 0.001)
    await room.relay.heartbeat("bob")
    await room.service.keep_house()
    assert (await say(room, "ann", "bob", idempotency_key="k")).id == first.id
    await trio.sleep(0.002)
    await room.service.keep_house()
    stored = await room.service.store.read(
        lambda connection: connection.execute("SELECT count(*) FROM idempotency_keys").fetchone()[0]
    )
    assert stored == 0


async def test_a_refused_send_uses_up_no_key(room: Room) -> None:
    refused = await post(room, idempotencyKey="k")
    assert refusal(refused).code == "unknown_recipient"
    await join(room, "bob")
    assert (await post(room, idempotencyKey="k")).status_code == 201


async def test_a_deleted_message_is_not_sent_again(room: Room) -> None:
    await join(room, "bob")
    sent = await say(room, "ann", "bob", idempotency_key="k")
    await room.relay.delete(sent.id)
    with pytest.raises(Conflict) as gone:
        await say(room, "ann", "bob", idempotency_key="k")
    assert gone.value.code == "message_deleted"
    assert await room.relay.inbox("bob") == []


async def test_the_answer_says_what_holds_now(room: Room) -> None:
    first = await say(room, "ann", "tag:x", idempotency_key="k")
    assert (first.parked, first.recipients) == (True, [])
    await join(room, "bob", tags=["x"])
    second = await say(room, "ann", "tag:x", idempotency_key="k")
    assert (second.parked, [each.agent_id for each in second.recipients]) == (False, ["bob"])


async def test_a_key_survives_a_restart(tmp_path: Any, autojump_clock: trio.testing.MockClock) -> None:
    async with open_room(tmp_path) as room:
        await join(room, "bob")
        first = await say(room, "ann", "bob", idempotency_key="k")
    async with open_room(tmp_path) as room:
        assert (await say(room, "ann", "bob", idempotency_key="k")).id == first.id


class AnswersAreLost(httpx2.AsyncBaseTransport):
    """Every request arrives; no answer does."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self.inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await self.inner.handle_async_request(request)
        raise httpx2.ReadError("the test has lost the answer", request=request)


async def test_a_send_whose_answer_was_lost_can_be_repeated(room: Room) -> None:
    await join(room, "bob")
    request = SendRequest(sender="ann", to="bob", body="hello", idempotency_key="k")
    async with RelayClient.open("http://127.0.0.1:4850", transport=AnswersAreLost(room.transport)) as unlucky:
        with pytest.raises(ConnectionLost):
            await unlucky.send(request)
    sent = await room.relay.send(request)
    assert [message.id for message in await room.relay.inbox("bob")] == [sent.id]


async def test_a_held_message_is_still_held_when_its_send_is_repeated(
    tmp_path: Any, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_room(tmp_path, ServerSettings(max_hops=1)) as room:
        for agent in ("ann", "bob"):
            await join(room, agent)
        one = await say(room, "ann", "bob")
        two = await say(room, "bob", "ann", reply_to=one.id)
        held = await say(room, "ann", "bob", reply_to=two.id, idempotency_key="k")
        assert held.parked
        assert await say(room, "ann", "bob", reply_to=two.id, idempotency_key="k") == held
