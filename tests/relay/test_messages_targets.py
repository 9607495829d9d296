"""Who gets a message: resolved once, when it is sent, and told to the sender truthfully."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.relay import Room
from support.sync_room import SyncRoom
from support.talk import join, refusal, say
from trio_relay.core.model import AgentStatus, Verdict
from trio_relay.core.wire import AgentRegistration, SendRequest, SentMessage
from trio_relay.errors import Invalid, NotFound
from trio_relay.relay.operations import agents, messages, messages_read


def recipients(sent: SentMessage) -> list[str]:
    return sorted(each.agent_id for each in sent.recipients)


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("bob", ["bob"]),
        ("  bob  ", ["bob"]),
        ("tag:x", ["bob", "cat"]),
        ("tag: x ", ["bob", "cat"]),
        ("cap:sql", ["cat"]),
        ("label:api", ["bob"]),
        ("broadcast", ["bob", "cat", "dan"]),
        ("tag:X", []),
        ("tag:y:z", ["dan"]),
        ("label:nobody", []),
    ],
)
async def test_every_target_reaches_those_who_answer_to_it(room: Room, to: str, expected: list[str]) -> None:
    await join(room, "ann", tags=["x"], capabilities=["sql"], label="api")
    await join(room, "bob", tags=["x"], label="api")
    await join(room, "cat", tags=["x"], capabilities=["sql"])
    await join(room, "dan", tags=["y:z"])
    sent = await say(room, "ann", to)
    assert recipients(sent) == sorted(expected)
    assert sent.parked == (not expected)
    for agent in ("ann", "bob", "cat", "dan"):
        found = [message.id for message in await room.relay.inbox(agent)]
        assert found == ([sent.id] if agent in expected else [])


async def test_recipients_are_those_of_the_moment_of_sending(room: Room) -> None:
    await join(room, "bob", tags=["x"])
    await say(room, "ann", "tag:x")
    await join(room, "cat", tags=["x"])
    await room.relay.set_tags("bob", [])
    assert await room.relay.inbox("cat") == []
    assert len(await room.relay.inbox("bob")) == 1


async def test_a_fan_out_passes_offline_agents_by_and_a_direct_message_waits_for_them(room: Room) -> None:
    await join(room, "bob", tags=["x"])
    await join(room, "cat", tags=["x"])
    await room.relay.set_status("cat", AgentStatus.OFFLINE)
    for to in ("tag:x", "broadcast"):
        assert recipients(await say(room, "ann", to)) == ["bob"]
    direct = await say(room, "ann", "cat")
    assert [(each.agent_id, each.verdict) for each in direct.recipients] == [("cat", Verdict.OFFLINE_QUEUED)]
    await room.relay.set_status("cat", AgentStatus.IDLE)
    assert [message.id for message in await room.relay.inbox("cat")] == [direct.id]


@pytest.mark.parametrize(
    ("status", "ready", "verdict"),
    [
        (AgentStatus.ONLINE, True, Verdict.LIVE_IDLE),
        (AgentStatus.IDLE, True, Verdict.LIVE_IDLE),
        (AgentStatus.BUSY, True, Verdict.LIVE_BUSY),
        (AgentStatus.ONLINE, False, Verdict.DEAF),
        (AgentStatus.BUSY, False, Verdict.DEAF),
        (AgentStatus.OFFLINE, True, Verdict.OFFLINE_QUEUED),
        (AgentStatus.OFFLINE, False, Verdict.OFFLINE_QUEUED),
    ],
)
async def test_the_sender_hears_what_to_expect(
    room: Room, status: AgentStatus, ready: bool, verdict: Verdict
) -> None:
    await join(room, "bob", status=status, ready=ready)
    sent = await say(room, "ann", "bob")
    assert [each.verdict for each in sent.recipients] == [verdict]


@pytest.mark.parametrize(
    ("channels", "channel", "gets_it"),
    [
        ([], None, True),
        ([], "ops", True),
        (["ops"], None, True),
        (["ops"], "ops", True),
        (["ops"], "dev", False),
        (["ops", "dev"], "dev", True),
    ],
)
async def test_channels_scope_a_fan_out(
    room: Room, channels: list[str], channel: str | None, gets_it: bool
) -> None:
    await join(room, "bob", meta={"channels": channels})
    sent = await say(room, "ann", "broadcast", channel=channel)
    assert recipients(sent) == (["bob"] if gets_it else [])


async def test_a_direct_message_arrives_on_whatever_channel(room: Room) -> None:
    await join(room, "bob", meta={"channels": ["ops"]})
    assert recipients(await say(room, "ann", "bob", channel="dev")) == ["bob"]


async def test_an_unknown_agent_is_named_and_nothing_is_stored(room: Room) -> None:
    await join(room, "bob")
    before = await room.relay.cursor()
    with pytest.raises(NotFound) as refused:
        await say(room, "ann", "bbo")
    assert (refused.value.code, [field.path for field in refused.value.fields]) == (
        "unknown_recipient",
        ["to"],
    )
    assert await room.relay.cursor() == before
    assert (await room.relay.stats()).messages == 0


async def test_an_unknown_agent_can_be_waited_for(room: Room) -> None:
    sent = await say(room, "ann", "bob", allow_unknown=True)
    assert (sent.parked, sent.recipients) == (True, [])
    await join(room, "cat")
    await join(room, "bob")
    assert [message.id for message in await room.relay.inbox("bob")] == [sent.id]
    assert await room.relay.inbox("cat") == []


async def test_nobody_writes_to_itself(room: Room) -> None:
    await join(room, "ann")
    with pytest.raises(Invalid) as refused:
        await say(room, "ann", "ann")
    assert refused.value.code == "own_message"
    problem = refusal(
        await room.http("POST", "/api/messages", json={"from": "ann", "to": " ann ", "body": ""})
    )
    assert (problem.status, problem.code) == (400, "own_message")


class TestParked:
    """What nobody matches waits for the first who does."""

    async def parked(self, room: Room) -> int:
        return (await room.relay.stats()).parked

    async def test_the_first_match_gets_it_and_no_later_one(self, room: Room) -> None:
        sent = await say(room, "ann", "tag:x")
        assert await self.parked(room) == 1
        await join(room, "bob", tags=["x"])
        await join(room, "cat", tags=["x"])
        assert [message.id for message in await room.relay.inbox("bob")] == [sent.id]
        assert await room.relay.inbox("cat") == []
        assert await self.parked(room) == 0

    @pytest.mark.parametrize("way", ["register", "tags", "label", "online", "heartbeat"])
    async def test_however_the_match_comes_about(self, room: Room, way: str) -> None:
        to = "label:x" if way == "label" else "tag:x"
        if way in {"online", "heartbeat"}:
            await join(room, "bob", tags=["x"], status=AgentStatus.OFFLINE)
        elif way != "register":
            await join(room, "bob")
        sent = await say(room, "ann", to)
        assert sent.parked
        if way == "register":
            await join(room, "bob", tags=["x"])
        elif way == "tags":
            await room.relay.set_tags("bob", add=["x"])
        elif way == "label":
            await room.relay.set_label("bob", "x")
        elif way == "online":
            await room.relay.set_status("bob", AgentStatus.IDLE)
        else:
            await room.relay.heartbeat("bob")
        assert [message.id for message in await room.relay.inbox("bob")] == [sent.id]

    async def test_not_its_own_sender_and_not_one_on_other_channels(self, room: Room) -> None:
        await say(room, "ann", "tag:x", channel="ops")
        await join(room, "ann", tags=["x"])
        await join(room, "bob", tags=["x"], meta={"channels": ["dev"]})
        assert await self.parked(room) == 1
        await join(room, "cat", tags=["x"], meta={"channels": ["ops"]})
        assert len(await room.relay.inbox("cat")) == 1

    async def test_not_one_who_is_offline(self, room: Room) -> None:
        await say(room, "ann", "tag:x")
        await join(room, "bob", tags=["x"], status=AgentStatus.OFFLINE)
        assert await self.parked(room) == 1

    async def test_several_arrive_oldest_first(self, room: Room) -> None:
        sent = [(await say(room, "ann", to)).id for to in ("tag:x", "cap:y")]
        sent.append((await say(room, "ann", "bob", allow_unknown=True)).id)
        await join(room, "bob", tags=["x"], capabilities=["y"])
        assert [message.id for message in await room.relay.inbox("bob")] == sent

    async def test_a_deleted_one_is_not_offered_any_more(self, room: Room) -> None:
        sent = await say(room, "ann", "tag:x")
        await room.relay.delete(sent.id)
        await join(room, "bob", tags=["x"])
        assert await room.relay.inbox("bob") == []


NAMES = ["ann", "bob", "cat", "dan"]
people = st.fixed_dictionaries(
    {
        name: st.fixed_dictionaries(
            {
                "tags": st.lists(st.sampled_from(["x", "y"]), unique=True),
                "capabilities": st.lists(st.sampled_from(["x", "y"]), unique=True),
                "label": st.sampled_from([None, "x", "y"]),
                "status": st.sampled_from(AgentStatus),
                "channels": st.lists(st.sampled_from(["p", "q"]), unique=True),
            }
        )
        for name in NAMES
    }
)


@given(
    people,
    st.sampled_from(["broadcast", "tag:x", "cap:y", "label:x", *NAMES]),
    st.sampled_from([None, "p", "q"]),
)
def test_resolution_agrees_with_its_definition(
    who: dict[str, dict[str, Any]], to: str, channel: str | None
) -> None:
    room = SyncRoom()
    try:
        for name, traits in who.items():
            fields = {key: value for key, value in traits.items() if key != "channels"}
            meta = {"channels": traits["channels"]}
            room.do(agents.register, AgentRegistration(id=name, meta=meta, **fields))
        request = SendRequest(sender="eve", to=to, body="", channel=channel)
        sent, _ = room.do(messages.send, request)
        kind, _, name = to.partition(":")
        expected = []
        for agent, traits in who.items():
            if to == agent:
                expected.append(agent)
                continue
            matches = (
                to == "broadcast"
                or (kind == "tag" and name in traits["tags"])
                or (kind == "cap" and name in traits["capabilities"])
                or (kind == "label" and name == traits["label"])
            )
            hears = channel is None or not traits["channels"] or channel in traits["channels"]
            if matches and hears and traits["status"] is not AgentStatus.OFFLINE:
                expected.append(agent)
        assert recipients(sent) == sorted(expected)
        for agent in NAMES:
            found = room.do(
                messages_read.inbox, agent, unread=True, since_id=None, after_seq=None, state=None, limit=10
            )
            assert bool(found) == (agent in expected)
    finally:
        room.close()


async def test_what_names_an_agent_waits_for_it_even_if_it_registers_offline(room: Room) -> None:
    direct = await room.relay.send(SendRequest(sender="ann", to="bob", body="x", allow_unknown=True))
    anyone = await room.relay.send(SendRequest(sender="ann", to="tag:red", body="x"))
    await room.relay.register(AgentRegistration(id="bob", tags=["red"], status=AgentStatus.OFFLINE))
    assert [each.id for each in await room.relay.inbox("bob")] == [direct.id]
    await room.relay.register(AgentRegistration(id="bob", tags=["red"]))
    assert [each.id for each in await room.relay.inbox("bob")] == [direct.id, anyone.id]
