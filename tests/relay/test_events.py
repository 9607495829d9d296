"""The event stream: what happened, once, in order, with the thing it happened to."""

from pathlib import Path

import pytest

from support.relay import Room
from support.sse import follow
from trio_relay.core.events import KINDS
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.core.wire import AgentRegistration, SendRequest
from trio_relay.relay.operations import event_log
from trio_relay.relay.operations.tx import Tx


async def send(room: Room, body: str = "x", *, to: str = "b", claimable: bool = False) -> int:
    sent = await room.relay.send(SendRequest(sender="a", to=to, body=body, claimable=claimable))
    return sent.id


async def test_a_message_is_told_with_its_text(room: Room) -> None:
    await room.relay.register(AgentRegistration(id="b"))
    async with follow(room.app) as stream:
        first = await stream.block()
        assert (first.kind, first.id, first.retry) == (None, 1, 1000)
        message_id = await send(room, "hello\n\nevent: fake\r\u2028")
        event = await stream.event()
    assert (event.kind, event.id) == ("message.new", 2)
    message = (await room.http("GET", f"/api/messages/{message_id}")).json()
    assert event.data == message | {"messageId": message_id, "at": message["createdAt"]}
    assert stream.headers["content-type"] == "text/event-stream"
    assert stream.headers["cache-control"] == "no-cache"
    assert stream.headers["x-accel-buffering"] == "no"


async def test_an_agent_is_told_as_it_is(room: Room) -> None:
    async with follow(room.app) as stream:
        agent = await room.relay.register(AgentRegistration(id="b", tags=["x"]))
        event = await stream.event()
    assert event.kind == "agent.status"
    shown = (await room.http("GET", f"/api/agents/{agent.id}")).json()
    assert event.data == shown | {"agentId": "b", "at": event.data["at"]}


async def test_what_is_gone_when_the_log_is_read_is_told_by_its_ids(room: Room) -> None:
    await room.relay.register(AgentRegistration(id="b"))
    message_id = await send(room)
    await room.relay.delete(message_id)
    await room.relay.remove_agent("b")
    async with follow(room.app, last_event_id=0) as stream:
        events = await stream.events(4)
    at = events[0].data["at"]
    told = {"messageId": message_id, "from": "a", "to": "b", "at": at}
    assert [(event.kind, event.data) for event in events] == [
        ("agent.status", {"agentId": "b", "status": "online", "at": at}),
        ("message.new", told | {"channel": None, "threadId": message_id}),
        ("message.deleted", told),
        ("agent.removed", {"agentId": "b", "at": at}),
    ]


async def test_a_message_s_whole_life_is_told_in_order(room: Room) -> None:
    async with follow(room.app) as stream:
        for name in ("b", "c"):
            await room.relay.register(AgentRegistration(id=name, ready=True, tags=["t"]))
        message_id = await send(room, to="tag:t", claimable=True)
        claimed = await room.relay.claim(message_id, "b")
        await room.relay.release(message_id, "b", claimed.lease_token)
        claimed = await room.relay.claim(message_id, "b")
        await room.relay.report(message_id, "b", Rung.IN_CONTEXT, {"turnId": "t1"})
        reply = SendRequest(sender="b", to="a", body="done", reply_to=message_id, allow_unknown=True)
        await room.relay.send(reply)
        await room.relay.complete(message_id, "b", claimed.lease_token)
        await room.relay.set_ready("b", ready=False, reason="tired")
        await room.relay.set_label("b", "bee")
        await room.relay.set_status("b", AgentStatus.OFFLINE)
        events = await stream.events(14)
    assert [(event.kind, event.data.get("agentId"), event.data.get("state")) for event in events] == [
        ("agent.status", "b", None),
        ("agent.status", "c", None),
        ("message.new", None, None),
        ("message.claimed", "b", None),
        ("message.claim_released", None, None),
        ("message.claimed", "b", None),
        ("message.receipt", "b", "in_context"),
        ("message.new", None, None),
        ("message.receipt", "b", "answered"),
        ("message.receipt", "c", "settled"),
        ("message.completed", "b", None),
        ("agent.updated", "b", None),
        ("agent.updated", "b", None),
        ("agent.status", "b", None),
    ]
    assert [event.id for event in events] == list(range(1, 15))


async def test_a_repeated_send_is_told_once(room: Room) -> None:
    request = SendRequest(sender="a", to="b", body="x", allow_unknown=True, idempotency_key="k")
    async with follow(room.app) as stream:
        await room.relay.send(request)
        await room.relay.send(request)
        await room.relay.register(AgentRegistration(id="c"))
        events = await stream.events(2)
    assert [event.kind for event in events] == ["message.new", "agent.status"]


async def test_a_refused_change_is_not_told(room: Room) -> None:
    async with follow(room.app) as stream:
        assert (
            await room.http("POST", "/api/messages", json={"from": "a", "to": "b", "body": "x"})
        ).status_code == 404
        await room.relay.register(AgentRegistration(id="c"))
        event = await stream.event()
    assert (event.id, event.kind) == (1, "agent.status")


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ("types=message.new", ["message.new"] * 2),
        ("types=agent.*", ["agent.status"] * 3),
        ("types=message.deleted,%20agent.*", ["agent.status"] * 3 + ["message.deleted"]),
        ("agent=c", ["agent.status", "message.new", "message.deleted"]),
        ("agent=a", ["message.new", "message.new", "message.deleted"]),
        ("agent=c&types=agent.*", ["agent.status"]),
        ("types=nothing.known", []),
    ],
)
async def test_a_filter_passes_on_what_it_names(room: Room, query: str, kinds: list[str]) -> None:
    for name in ("b", "c", "d"):
        await room.relay.register(AgentRegistration(id=name))
    await send(room, to="b")
    await room.relay.delete(await send(room, to="c"))
    async with follow(room.app, f"lastEventId=0&{query}") as stream:
        seen = [(await stream.event()).kind for _ in kinds]
        room.service.hub.close()
        rest = await stream.rest()
    assert seen == kinds
    assert [event.kind for event in rest] == ["bye"]


async def test_an_agent_hears_of_what_it_received_with_others(room: Room) -> None:
    for name in ("b", "c", "d"):
        await room.relay.register(AgentRegistration(id=name, tags=["t"] if name != "d" else []))
    async with follow(room.app, "agent=c") as c, follow(room.app, "agent=d") as d:
        await send(room, to="tag:t")
        await send(room, to="d")
        assert (await c.event()).data["to"] == "tag:t"
        assert (await d.event()).data["to"] == "d"


async def test_a_message_to_very_many_concerns_everybody(room: Room) -> None:
    for number in range(102):
        await room.relay.register(AgentRegistration(id=f"agent-{number}", tags=["t"]))
    async with follow(room.app, "agent=somebody-else") as stream:
        await send(room, to="tag:t")
        assert (await stream.event()).data["to"] == "tag:t"


@pytest.mark.parametrize(
    ("query", "header", "path"),
    [
        ("", "x", "Last-Event-ID"),
        ("", "-1", "Last-Event-ID"),
        ("", "1" * 19, "Last-Event-ID"),
        ("lastEventId=-1", None, "lastEventId"),
        ("lastEventId=9223372036854775808", None, "lastEventId"),
        ("types=", None, "types"),
        ("agent=", None, "agent"),
    ],
)
async def test_what_is_no_place_in_the_log_is_refused(
    room: Room, query: str, header: str | None, path: str
) -> None:
    headers = {"Last-Event-ID": header} if header is not None else {}
    answer = await room.http("GET", f"/api/events?{query}", headers=headers)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["path"] == path


async def test_head_answers_without_a_stream(room: Room) -> None:
    answer = await room.http("HEAD", "/api/events")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
    assert room.service.events.streams == 0


def test_every_kind_on_the_list_is_written_somewhere() -> None:
    operations = Path(event_log.__file__).parent
    source = "".join(path.read_text() for path in operations.glob("*.py"))
    assert [kind for kind in KINDS if f'"{kind}"' not in source] == []


async def test_a_kind_that_is_not_on_the_list_is_a_mistake(room: Room) -> None:
    def mistaken(tx: Tx) -> None:
        tx.event("message.mistaken")

    with pytest.raises(ValueError, match=r"message\.mistaken"):
        await room.service.write(mistaken)
