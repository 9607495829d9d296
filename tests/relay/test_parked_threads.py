"""A thread of programs that has become a loop waits for a person, with nothing lost; people always pass."""

from itertools import pairwise

import pytest

from support.relay import Room, open_room
from trio_relay.core.model import SYSTEM
from trio_relay.core.wire import AgentRegistration, SendRequest, SentMessage
from trio_relay.settings import ServerSettings


async def talk(room: Room, start: SentMessage, answers: int) -> SentMessage:
    """Let ann and bob answer each other so many times; the last message."""
    last = start
    for _ in range(answers):
        last = await room.relay.send(
            SendRequest(sender=last.to, to=last.sender, body="and you?", reply_to=last.id)
        )
    return last


@pytest.fixture
async def begun(room: Room) -> SentMessage:
    for agent in ("ann", "bob"):
        await room.relay.register(AgentRegistration(id=agent, ready=True))
    return await room.relay.send(SendRequest(sender="ann", to="bob", body="how are you?"))


async def test_the_message_that_makes_it_a_loop_is_kept_and_both_are_told_once(
    room: Room, begun: SentMessage
) -> None:
    rounds = room.settings.max_cycles
    fine = await talk(room, begun, 2 * rounds - 2)
    assert not fine.parked
    held = await talk(room, fine, 1)
    assert (held.parked, held.recipients) == (True, [])
    assert held.parked_reason == f"the same 2 speakers went round {rounds} times"
    more = await talk(room, held, 1)
    assert more.parked
    for agent in ("ann", "bob"):
        notices = [each for each in await room.relay.inbox(agent) if each.sender == SYSTEM]
        assert [(each.type, each.meta["threadId"]) for each in notices] == [("thread.parked", begun.id)]
    (parked,) = (await room.http("GET", "/api/threads")).json()
    assert parked["threadId"] == begun.id
    assert parked["held"] == [held.id, more.id]
    assert parked["participants"] == ["ann", "bob"]


async def test_a_person_lets_it_go_on_and_what_was_held_arrives_in_order(
    room: Room, begun: SentMessage
) -> None:
    held = await talk(room, begun, 2 * room.settings.max_cycles - 1)
    more = await talk(room, held, 1)
    answer = await room.http("POST", f"/api/threads/{begun.id}/resume")
    assert answer.json()["held"] == [held.id, more.id]
    arrived = [each.id for name in ("ann", "bob") for each in await room.relay.inbox(name, limit=1000)]
    assert {held.id, more.id} <= set(arrived)
    assert (await room.http("GET", "/api/threads")).json() == []
    again = await room.http("POST", f"/api/threads/{begun.id}/resume")
    assert (again.status_code, again.json()["code"]) == (409, "not_parked")
    onwards = await talk(room, more, 2)
    assert not onwards.parked, "its hops count from where a person let it go on"


async def test_people_always_pass_and_start_the_count_afresh(room: Room, begun: SentMessage) -> None:
    held = await talk(room, begun, 2 * room.settings.max_cycles - 1)
    assert held.parked
    said = await room.relay.send(SendRequest(sender="a person", to="ann", body="go on", reply_to=held.id))
    assert (said.parked, said.hop) == (False, 0)


async def test_a_thread_without_a_round_is_parked_for_its_depth(
    tmp_path_factory: pytest.TempPathFactory, autojump_clock: object
) -> None:
    settings = ServerSettings(max_hops=4)
    async with open_room(tmp_path_factory.mktemp("deep"), settings) as room:
        names = [f"agent-{number}" for number in range(7)]
        for name in names:
            await room.relay.register(AgentRegistration(id=name))
        last = await room.relay.send(SendRequest(sender=names[0], to=names[1], body="x"))
        hops = [last.parked]
        for here, there in pairwise(names[1:]):
            last = await room.relay.send(SendRequest(sender=here, to=there, body="x", reply_to=last.id))
            hops.append(last.parked)
    assert hops == [False] * 5 + [True]


async def test_a_thread_that_does_not_exist_cannot_be_resumed(room: Room) -> None:
    answer = await room.http("POST", "/api/threads/77/resume")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_thread")


async def test_a_person_may_let_it_go_on_and_an_agent_may_not(room: Room, begun: SentMessage) -> None:
    await talk(room, begun, 2 * room.settings.max_cycles - 1)

    async def resume(**credential: object) -> tuple[int, str | None]:
        minted = await room.http("POST", "/api/tokens", json={"scopes": ["send"], **credential})
        headers = {"Authorization": f"Bearer {minted.json()['token']}"}
        answer = await room.http("POST", f"/api/threads/{begun.id}/resume", headers=headers)
        return answer.status_code, answer.json().get("code")

    assert await resume(agentId="ann") == (403, "scope_missing")
    assert await resume(authority="human") == (200, None)
