"""Fields of a message that cannot be meant are refused by name, and never reach the store."""

from typing import Any

import pytest

from support.relay import Room
from support.talk import join, paths, refusal, say


async def send_raw(room: Room, **fields: Any) -> Any:
    return await room.http(
        "POST", "/api/messages", json={"from": "ann", "to": "bob", "body": "hello"} | fields
    )


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"to": ""}, "to"),
        ({"to": "   "}, "to"),
        ({"to": "tag:"}, "to"),
        ({"to": "cap: "}, "to"),
        ({"to": "b" * 201}, "to"),
        ({"to": 7}, "to"),
        ({"from": ""}, "from"),
        ({"from": "broadcast"}, "from"),
        ({"from": "tag:x"}, "from"),
        ({"from": "ann\x1b[2J"}, "from"),
        ({"body": None}, "body"),
        ({"body": ["hello"]}, "body"),
        ({"subject": "s" * 501}, "subject"),
        ({"channel": ""}, "channel"),
        ({"replyTo": "5"}, "replyTo"),
        ({"replyTo": 0}, "replyTo"),
        ({"replyTo": 2**63}, "replyTo"),
        ({"replyTo": 1.5}, "replyTo"),
        ({"claimable": "yes"}, "claimable"),
        ({"meta": []}, "meta"),
        ({"meta": {"delivery": "teleport"}}, "meta.delivery"),
        ({"meta": {"delivery": ["steer"]}}, "meta.delivery"),
        ({"meta": {"delivery": {"steer": 1}}}, "meta.delivery"),
        ({"idempotencyKey": ""}, "idempotencyKey"),
        ({"idempotencyKey": "k" * 201}, "idempotencyKey"),
    ],
)
async def test_a_field_that_cannot_be_meant_is_named(room: Room, fields: dict[str, Any], path: str) -> None:
    await join(room, "bob")
    response = await send_raw(room, **fields)
    problem = refusal(response)
    assert (problem.status, problem.code) == (400, "invalid")
    assert paths(problem) == [path]
    assert await room.relay.browse() == []


async def test_a_missing_field_is_named(room: Room) -> None:
    problem = refusal(await room.http("POST", "/api/messages", json={"from": "ann", "to": "bob"}))
    assert paths(problem) == ["body"]


async def test_unknown_fields_of_older_clients_are_ignored(room: Room) -> None:
    await join(room, "bob")
    response = await send_raw(room, priority="high", deliveryMode="steer")
    assert response.status_code == 201


async def test_metadata_may_nest_up_to_a_bound(room: Room) -> None:
    await join(room, "bob")
    nested: Any = {}
    for _ in range(63):
        nested = {"deeper": nested}
    assert (await send_raw(room, meta=nested)).status_code == 201
    problem = refusal(await send_raw(room, meta={"deeper": nested}))
    assert (problem.status, problem.code, paths(problem)) == (400, "too_deep", ["meta"])


async def test_nesting_beyond_what_python_can_read_is_refused_before_it_poisons_an_inbox(room: Room) -> None:
    await join(room, "bob")
    for depth in (900, 946, 2_000, 100_000):
        body = b'{"from":"ann","to":"bob","body":"","meta":{"d":' + b"[" * depth + b"]" * depth + b"}}"
        problem = refusal(await room.http("POST", "/api/messages", content=body))
        assert problem.status == 400
        assert problem.code in {"too_deep", "malformed_json"}
    await say(room, "ann", "bob")
    assert [message.body for message in await room.relay.inbox("bob")] == ["hello"]


async def test_what_was_said_comes_back_unchanged(room: Room) -> None:
    await join(room, "bob")
    body = "first\nsecond\t\x00 \x1b[31m \u202e 😀 " + "x" * 100_000
    meta = {"n": 2**53, "deep": [{"a": [1, 2.5, None, True]}], "delivery": "steer"}
    sent = await say(room, "ann", "bob", body, subject="S", channel="ops", type="note", meta=meta)
    (found,) = await room.relay.inbox("bob")
    assert (found.id, found.body, found.subject, found.channel, found.type) == (
        sent.id,
        body,
        "S",
        "ops",
        "note",
    )
    assert found.meta == meta
    assert await room.relay.message(sent.id) == await room.relay.message(sent.id)
