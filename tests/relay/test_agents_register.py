"""Who is in the room: registering, listing, labels, tags, leaving."""

from typing import Any

import pytest

from support.relay import EPOCH, Room
from support.talk import join, paths, refusal, say
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.core.wire import AgentRegistration, SendRequest
from trio_relay.errors import NotFound


async def test_an_agent_is_shown_as_it_registered(room: Room) -> None:
    meta = {"client": "codex", "cwd": "/srv", "channels": ["ops", " dev ", "ops", ""]}
    shown = await room.relay.register(
        AgentRegistration(
            id="bob",
            name="Bob",
            label=" backend ",
            machine="m1",
            rig="codex-live",
            tags=["api", " api ", "db"],
            capabilities=["chat"],
            status=AgentStatus.IDLE,
            ready=True,
            instance_id="one",
            meta=meta,
        )
    )
    assert (shown.name, shown.label, shown.machine, shown.rig) == ("Bob", "backend", "m1", "codex-live")
    assert (shown.tags, shown.capabilities, shown.channels) == (["api", "db"], ["chat"], ["ops", "dev"])
    assert (shown.status, shown.ready, shown.instance_id, shown.epoch) == (AgentStatus.IDLE, True, "one", 1)
    assert (shown.meta, shown.created_at) == (meta, EPOCH)
    assert await room.relay.agent("bob") == shown


async def test_registering_says_the_least_that_is_needed(room: Room) -> None:
    response = await room.http("POST", "/api/agents", json={"id": "bob"})
    assert response.status_code == 201
    shown = response.json()
    assert (shown["name"], shown["status"], shown["ready"]) == ("bob", "online", False)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"id": ""}, "id"),
        ({"id": " bob"}, "id"),
        ({"id": "broadcast"}, "id"),
        ({"id": "tag:x"}, "id"),
        ({"id": "cap:x"}, "id"),
        ({"id": "label:x"}, "id"),
        ({"id": "team/bob"}, "id"),
        ({"id": ".."}, "id"),
        ({"id": "bob\n"}, "id"),
        ({"id": "b" * 201}, "id"),
        ({"status": "sleeping"}, "status"),
        ({"tags": "api"}, "tags"),
        ({"tags": [7]}, "tags[0]"),
        ({"tags": ["t"] * 101}, "tags"),
        ({"ready": "yes"}, "ready"),
        ({"instanceId": ""}, "instanceId"),
        ({"meta": {"channels": "ops"}}, "meta.channels"),
        ({"meta": {"channels": ["ops", 7]}}, "meta.channels"),
    ],
)
async def test_what_cannot_be_meant_is_named(room: Room, fields: dict[str, Any], path: str) -> None:
    problem = refusal(await room.http("POST", "/api/agents", json={"id": "bob"} | fields))
    assert (problem.status, problem.code, paths(problem)) == (400, "invalid", [path])
    assert await room.relay.agents() == []


@pytest.mark.parametrize(
    "agent_id", ["host-codex-live-shop-0123abcd", "a b", "ünïcode", "a%2Fb", "q?x=1#y", "+"]
)
async def test_every_id_that_can_be_registered_can_be_addressed(room: Room, agent_id: str) -> None:
    await join(room, agent_id)
    assert (await room.relay.heartbeat(agent_id)).id == agent_id
    assert (await say(room, "ann", agent_id)).recipients[0].agent_id == agent_id
    assert [message.to for message in await room.relay.inbox(agent_id)] == [agent_id]
    await room.relay.remove_agent(agent_id)
    assert await room.relay.agents() == []


async def test_listing_keeps_whoever_matches_every_filter(room: Room) -> None:
    await join(room, "a", tags=["x", "y"], capabilities=["chat"], label="one", machine="m1")
    await join(room, "b", tags=["x"], capabilities=["chat", "sql"], machine="m2", status=AgentStatus.BUSY)
    await join(room, "c", tags=["y"], ready=False, machine="m1", status=AgentStatus.OFFLINE)

    async def ids(**filters: Any) -> list[str]:
        return [agent.id for agent in await room.relay.agents(**filters)]

    assert await ids() == ["a", "b", "c"]
    assert await ids(tag="x") == ["a", "b"]
    assert await ids(tag="x", cap="sql") == ["b"]
    assert await ids(tag="y", machine="m1") == ["a", "c"]
    assert await ids(label="one") == ["a"]
    assert await ids(status="busy") == ["b"]
    assert await ids(ready=True) == ["a", "b"]
    assert await ids(ready=False) == ["c"]
    assert await ids(tag="x", status="offline") == []


async def test_a_filter_that_cannot_be_meant_is_named(room: Room) -> None:
    problem = refusal(await room.http("GET", "/api/agents?status=asleep"))
    assert (problem.status, paths(problem)) == (400, ["status"])
    assert paths(refusal(await room.http("GET", "/api/agents?ready=maybe"))) == ["ready"]


async def test_labels_are_trimmed_and_cleared(room: Room) -> None:
    await join(room, "bob", label="old")
    assert (await room.relay.set_label("bob", "  api  ")).label == "api"
    assert [v.agent_id for v in (await say(room, "ann", "label:api")).recipients] == ["bob"]
    assert [v.agent_id for v in (await say(room, "ann", "label:old")).recipients] == []
    assert (await room.relay.set_label("bob", "   ")).label is None
    assert (await room.relay.set_label("bob", None)).label is None


async def test_tags_are_replaced_added_and_removed(room: Room) -> None:
    await join(room, "bob", tags=["a", "b"])
    assert (await room.relay.set_tags("bob", add=["c", "a"], remove=["b"])).tags == ["a", "c"]
    assert (await room.relay.set_tags("bob", ["z"])).tags == ["z"]
    assert (await room.relay.set_tags("bob", [])).tags == []
    assert (await room.relay.set_tags("bob", ["k"], add=["l"], remove=["k"])).tags == ["l"]


async def test_who_is_not_ready_says_why(room: Room) -> None:
    await join(room, "bob")
    told = await room.relay.set_ready("bob", False, reason="compacting")
    assert (told.ready, told.ready_reason) == (False, "compacting")
    told = await room.relay.set_ready("bob", True)
    assert (told.ready, told.ready_reason) == (True, None)


async def test_offline_is_never_ready(room: Room) -> None:
    await join(room, "bob")
    gone = await room.relay.set_status("bob", AgentStatus.OFFLINE)
    assert (gone.ready, gone.ready_reason) == (False, "offline")
    back = await room.relay.set_status("bob", AgentStatus.IDLE)
    assert not back.ready  # it said goodbye: it must say that it can take messages again


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("DELETE", "", None),
        ("POST", "/heartbeat", {}),
        ("PATCH", "/status", {"status": "idle"}),
        ("PATCH", "/ready", {"ready": True}),
        ("PATCH", "/label", {"label": "x"}),
        ("PATCH", "/tags", {"tags": []}),
    ],
)
async def test_an_agent_nobody_registered_is_unknown(room: Room, method: str, path: str, body: Any) -> None:
    problem = refusal(await room.http(method, f"/api/agents/ghost{path}", json=body))
    assert (problem.status, problem.code) == (404, "unknown_agent")
    assert "ghost" in problem.detail


async def test_what_waits_for_an_agent_that_leaves_ends_with_the_reason(room: Room) -> None:
    await join(room, "bob")
    waiting = await say(room, "ann", "bob")
    done = await say(room, "ann", "bob")
    await room.relay.mark_read(done.id, "bob")
    await room.relay.remove_agent("bob")
    (receipt,) = await room.relay.receipts(waiting.id)
    assert (receipt.state, receipt.steps[-1].evidence) == (Rung.DEAD, {"reason": "agent removed"})
    (receipt,) = await room.relay.receipts(done.id)
    assert receipt.state is Rung.SETTLED
    with pytest.raises(NotFound):
        await room.relay.remove_agent("bob")


async def test_who_comes_back_under_the_same_id_starts_with_an_empty_inbox(room: Room) -> None:
    await join(room, "bob")
    await say(room, "ann", "bob")
    await room.relay.remove_agent("bob")
    assert (await join(room, "bob")).epoch == 1
    assert await room.relay.inbox("bob") == []


async def test_a_label_a_person_gave_outlives_a_registration_that_names_none(room: Room) -> None:
    await room.relay.register(AgentRegistration(id="bob", instance_id="one"))
    await room.relay.set_label("bob", "backend")
    again = await room.relay.register(AgentRegistration(id="bob", instance_id="two"))
    assert again.label == "backend"
    sent = await room.relay.send(SendRequest(sender="ann", to="label:backend", body="x"))
    assert [each.agent_id for each in sent.recipients] == ["bob"]
    renamed = await room.relay.register(AgentRegistration(id="bob", instance_id="two", label="frontend"))
    assert renamed.label == "frontend"
    await room.relay.set_label("bob", None)
    assert (await room.relay.register(AgentRegistration(id="bob", instance_id="two"))).label is None
