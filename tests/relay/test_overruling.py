"""A person steps in: what somebody holds is taken from them, a pair ends over its members' heads; all hear of it."""

from typing import Any

import pytest

from support.sync_room import SyncRoom
from trio_relay.core.wire import AgentRegistration, ClaimRequest, SendRequest
from trio_relay.core.wire_pairs import PairAnswer, PairInvite, PairStatus
from trio_relay.core.wire_rooms import LeaseChange, LeaseRequest
from trio_relay.errors import Conflict, LeaseLost, NotFound
from trio_relay.relay.operations import agents, leases, messages, messages_read, overruling, pairs, resources
from trio_relay.relay.operations.tx import Policy


@pytest.fixture
def ann_and_bob(sync_room: SyncRoom) -> SyncRoom:
    sync_room.policy = Policy()
    for name in ("ann", "bob"):
        sync_room.do(agents.register, AgentRegistration(id=name, ready=True, tags=["all"]))
    return sync_room


def notices(room: SyncRoom, agent_id: str) -> list[str]:
    everything: dict[str, Any] = {
        "unread": False,
        "since_id": None,
        "after_seq": None,
        "state": None,
        "limit": 100,
    }
    found = room.do(messages_read.inbox, agent_id, **everything)
    return [each.type for each in found if each.sender == "system"]


def test_a_resource_taken_back_is_free_and_its_token_stale(ann_and_bob: SyncRoom) -> None:
    room = ann_and_bob
    held = room.do(resources.acquire, LeaseRequest(key="port:1", holder="ann"))
    assert room.do(overruling.take_lease_back, "port:1") == "ann"
    assert notices(room, "ann") == ["lease.taken_back"]
    change = LeaseChange(key="port:1", holder="ann", lease_token=held.lease_token or "")
    with pytest.raises(LeaseLost):
        room.do(resources.renew, change)
    assert room.do(resources.acquire, LeaseRequest(key="port:1", holder="bob")).holder == "bob"


def test_work_taken_back_is_offered_again(ann_and_bob: SyncRoom) -> None:
    room = ann_and_bob
    request = SendRequest(sender="ci", to="tag:all", body="x", claimable=True)
    work, _ = room.do(messages.send, request)
    first = room.do(leases.claim, work.id, ClaimRequest(agent_id="ann"))
    assert room.do(overruling.take_lease_back, f"message:{work.id}") == "ann"
    with pytest.raises(LeaseLost):
        room.do(leases.complete, work.id, ClaimRequest(agent_id="ann", lease_token=first.lease_token))
    assert room.do(leases.claim, work.id, ClaimRequest(agent_id="bob")).claimed_by == "bob"


@pytest.mark.parametrize("key", ["port:1", "message:1", "nothing"])
def test_what_nobody_holds_cannot_be_taken_back(ann_and_bob: SyncRoom, key: str) -> None:
    room = ann_and_bob
    room.do(messages.send, SendRequest(sender="ci", to="tag:all", body="x", claimable=True))
    before = room.dump()
    with pytest.raises(Conflict, match="nobody holds"):
        room.do(overruling.take_lease_back, key)
    assert room.dump() == before


def test_a_pair_ended_from_outside_frees_and_tells_both(ann_and_bob: SyncRoom) -> None:
    room = ann_and_bob
    invited = room.do(pairs.invite, PairInvite(sender="ann", target="bob"), ttl_ms=60_000)
    room.do(pairs.accept, invited.id, PairAnswer(agent_id="bob"))
    ended = room.do(overruling.end_pair_of_others, invited.id, "carla")
    assert (ended.status, ended.ended_by, ended.end_reason) == (
        PairStatus.ENDED,
        "carla",
        "carla has ended it",
    )
    assert notices(room, "ann") == ["pair.accepted", "pair.ended"]
    assert notices(room, "bob") == ["pair.ended"]
    room.do(pairs.invite, PairInvite(sender="bob", target="ann"), ttl_ms=60_000)
    with pytest.raises(Conflict, match="is ended"):
        room.do(overruling.end_pair_of_others, invited.id, "carla")
    with pytest.raises(NotFound):
        room.do(overruling.end_pair_of_others, 99, "carla")


def test_an_invitation_taken_back_from_outside_is_withdrawn(ann_and_bob: SyncRoom) -> None:
    room = ann_and_bob
    invited = room.do(pairs.invite, PairInvite(sender="ann", target="bob"), ttl_ms=60_000)
    room.do(overruling.end_pair_of_others, invited.id, "carla")
    (state,) = room.rows("SELECT state FROM inbox WHERE message_id = ?", invited.invite_message_id)
    assert state["state"] == "retracted"
