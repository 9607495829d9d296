"""Epoch fencing: which instance speaks for an agent, and what those who do not say may still do."""

from typing import Any

import pytest
import trio

from support.relay import EPOCH, Room
from support.talk import join, refusal, session
from trio_relay.core.model import AgentStatus
from trio_relay.core.wire import SessionFields
from trio_relay.errors import StaleInstance

STALE_TTL = 120


async def test_a_new_instance_raises_the_epoch_and_the_same_one_does_not(room: Room) -> None:
    assert (await join(room, "bob", instance_id="one")).epoch == 1
    assert (await join(room, "bob", instance_id="one")).epoch == 1
    assert (await join(room, "bob", instance_id="two")).epoch == 2
    assert (await join(room, "bob", instance_id="one")).epoch == 3


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "heartbeat", {}),
        ("PATCH", "status", {"status": "busy"}),
        ("PATCH", "ready", {"ready": False}),
        ("PATCH", "label", {"label": "stolen"}),
        ("PATCH", "tags", {"tags": ["stolen"]}),
    ],
)
@pytest.mark.parametrize(
    "stale",
    [
        {"instanceId": "one", "epoch": 1},
        {"instanceId": "one"},
        {"epoch": 1},
        {"instanceId": "two", "epoch": 1},
        {"instanceId": "one", "epoch": 2},
        {"epoch": 3},
    ],
    ids=str,
)
async def test_a_replaced_instance_is_refused_and_changes_nothing(
    room: Room, method: str, path: str, body: dict[str, Any], stale: dict[str, Any]
) -> None:
    await join(room, "bob", instance_id="one")
    await join(room, "bob", instance_id="two", label="mine", tags=["mine"])
    before = await room.relay.agent("bob")
    await trio.sleep(10)
    problem = refusal(await room.http(method, f"/api/agents/bob/{path}", json=body | stale))
    assert (problem.status, problem.code) == (409, "stale_instance")
    assert await room.relay.agent("bob") == before


async def test_either_half_of_a_session_is_enough(room: Room) -> None:
    await join(room, "bob", instance_id="one")
    for half in ({"instanceId": "one"}, {"epoch": 1}, {"instanceId": "one", "epoch": 1}):
        response = await room.http("PATCH", "/api/agents/bob/status", json={"status": "busy"} | half)
        assert response.json()["status"] == "busy"


async def test_the_replaced_instance_hears_it_as_an_error_of_its_own(room: Room) -> None:
    old = await join(room, "bob", instance_id="one")
    await join(room, "bob", instance_id="two")
    with pytest.raises(StaleInstance, match="epoch 2"):
        await room.relay.heartbeat("bob", session(old))


async def test_a_new_instance_starts_without_what_the_old_one_said_of_itself(room: Room) -> None:
    old = await join(room, "bob", instance_id="one", label="old", tags=["old"])
    await room.relay.set_ready("bob", False, session(old), reason="compacting")
    new = await join(room, "bob", instance_id="two", ready=False)
    assert (new.ready, new.ready_reason, new.label, new.tags) == (False, None, "old", [])


async def test_the_same_instance_registers_again_and_stays_as_ready_as_it_was(room: Room) -> None:
    bob = await join(room, "bob", instance_id="one")
    again = await room.http("POST", "/api/agents", json={"id": "bob", "instanceId": "one", "tags": ["x"]})
    assert (again.status_code, again.json()["ready"], again.json()["tags"]) == (201, True, ["x"])
    assert again.json()["epoch"] == bob.epoch


class TestCallsThatNameNoInstance:
    """Older clients: accepted, but they never overrule an instance that is live and names itself."""

    async def test_they_do_not_overrule_a_live_instance(self, room: Room) -> None:
        bob = await join(room, "bob", instance_id="one", label="mine")
        await room.relay.heartbeat("bob", session(bob))
        shown = await room.relay.set_status("bob", AgentStatus.OFFLINE)
        assert shown.status is AgentStatus.ONLINE
        assert (await room.relay.set_ready("bob", False)).ready
        registered = await join(room, "bob", label="other")
        assert (registered.epoch, registered.instance_id, registered.label) == (1, "one", "mine")

    async def test_they_speak_for_an_instance_that_never_names_itself(self, room: Room) -> None:
        await join(room, "bob", instance_id="one")
        assert (await room.relay.set_status("bob", AgentStatus.BUSY)).status is AgentStatus.BUSY
        assert not (await room.relay.set_ready("bob", False)).ready

    async def test_registering_anew_forgets_that_the_last_instance_named_itself(self, room: Room) -> None:
        old = await join(room, "bob", instance_id="one")
        await room.relay.heartbeat("bob", session(old))
        await join(room, "bob", instance_id="two")
        assert (await room.relay.set_status("bob", AgentStatus.BUSY)).status is AgentStatus.BUSY

    async def test_they_take_over_once_the_instance_has_been_silent_too_long(self, room: Room) -> None:
        bob = await join(room, "bob", instance_id="one")
        await room.relay.heartbeat("bob", session(bob))
        await trio.sleep(STALE_TTL)
        assert (await room.relay.set_status("bob", AgentStatus.BUSY)).status is AgentStatus.ONLINE
        await trio.sleep(0.001)
        assert (await room.relay.set_status("bob", AgentStatus.BUSY)).status is AgentStatus.BUSY
        # Having spoken once, they are not locked out by their own sign of life.
        assert (await room.relay.set_status("bob", AgentStatus.IDLE)).status is AgentStatus.IDLE

    async def test_their_heartbeats_do_not_keep_a_dead_instance_in_charge(self, room: Room) -> None:
        bob = await join(room, "bob", instance_id="one")
        await room.relay.heartbeat("bob", session(bob))
        for _ in range(5):
            await trio.sleep(30)
            await room.relay.heartbeat("bob")
        assert (await room.relay.set_status("bob", AgentStatus.BUSY)).status is AgentStatus.BUSY
        taken = await join(room, "bob")
        assert (taken.epoch, taken.instance_id) == (2, None)
        with pytest.raises(StaleInstance):
            await room.relay.heartbeat("bob", session(bob))

    async def test_an_instance_that_said_goodbye_is_not_in_charge(self, room: Room) -> None:
        bob = await join(room, "bob", instance_id="one")
        await room.relay.set_status("bob", AgentStatus.OFFLINE, session(bob))
        assert (await room.relay.set_status("bob", AgentStatus.IDLE)).status is AgentStatus.IDLE

    async def test_anyone_may_relabel_and_retag(self, room: Room) -> None:
        bob = await join(room, "bob", instance_id="one")
        await room.relay.heartbeat("bob", session(bob))
        assert (await room.relay.set_label("bob", "api")).label == "api"
        assert (await room.relay.set_tags("bob", ["x"])).tags == ["x"]


async def test_a_heartbeat_is_a_sign_of_life(room: Room) -> None:
    bob = await join(room, "bob", instance_id="one")
    assert (bob.created_at, bob.last_seen) == (EPOCH, EPOCH)
    await trio.sleep(30)
    beaten = await room.relay.heartbeat("bob", session(bob))
    assert (beaten.last_seen, beaten.updated_at) == (EPOCH + 30_000, EPOCH)


async def test_a_heartbeat_needs_no_body(room: Room) -> None:
    await join(room, "bob")
    assert (await room.http("POST", "/api/agents/bob/heartbeat")).status_code == 200


async def test_a_session_of_an_agent_registered_without_one_is_a_stale_one(room: Room) -> None:
    await join(room, "bob")
    with pytest.raises(StaleInstance):
        await room.relay.heartbeat("bob", SessionFields(instance_id="one"))
