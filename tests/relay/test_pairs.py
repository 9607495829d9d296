"""Two agents become a pair, write to each other, and hear when it is over."""

from typing import Any

import pytest
import trio

from support.pairs import answer, invite, news, pair_of, paired
from support.relay import Room
from support.talk import join, paths, refusal, say
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.core.wire import SessionFields

OFFLINE = AgentStatus.OFFLINE


async def test_an_invitation_arrives_as_a_message_and_is_accepted(room: Room) -> None:
    await join(room, "ann")
    await join(room, "bob")
    response = await invite(room, "ann", "bob", objective="fix the build")
    assert response.status_code == 201
    pair = response.json()
    assert (pair["from"], pair["to"], pair["target"], pair["status"]) == ("ann", "bob", "bob", "pending")
    assert (pair["objective"], pair["verdict"]) == ("fix the build", "live_idle")
    assert pair["expiresAt"] - pair["createdAt"] == 300_000

    (message,) = await room.relay.inbox("bob")
    assert (message.sender, message.type, message.meta["pairId"]) == ("ann", "pair.invite", pair["id"])
    assert (message.id, message.body) == (pair["inviteMessageId"], "fix the build")

    accepted = await answer(room, pair["id"], "accept", "bob")
    assert (accepted.status_code, accepted.json()["status"]) == (200, "active")
    assert await news(room, "ann") == [("system", "pair.accepted", pair["id"])]


async def test_pair_messages_go_to_the_other_member(room: Room) -> None:
    pair_id = await paired(room)
    response = await room.http(
        "POST", f"/api/pairs/{pair_id}/messages", json={"from": "bob", "body": "on it", "meta": {"a": 1}}
    )
    assert response.status_code == 201
    sent = response.json()
    assert (sent["to"], sent["meta"]) == ("ann", {"a": 1, "pairId": pair_id})
    assert (await news(room, "ann"))[-1] == ("bob", "message", pair_id)


async def test_a_reply_between_members_stays_in_the_pair(room: Room) -> None:
    pair_id = await paired(room)
    first = (
        await room.http("POST", f"/api/pairs/{pair_id}/messages", json={"from": "ann", "body": "well?"})
    ).json()
    reply = await say(room, "bob", "ann", "done", reply_to=first["id"])
    assert reply.meta == {"pairId": pair_id}
    await join(room, "eve")
    aside = await say(room, "bob", "eve", "done", reply_to=first["id"])
    assert aside.meta == {}


async def test_only_members_write(room: Room) -> None:
    pair_id = await paired(room)
    await join(room, "eve")
    body: dict[str, Any] = {"from": "eve", "body": "let me in"}
    problem = refusal(await room.http("POST", f"/api/pairs/{pair_id}/messages", json=body))
    assert (problem.status, problem.code, paths(problem)) == (403, "not_a_member", ["from"])
    body = {"from": "eve", "to": "ann", "body": "let me in", "meta": {"pairId": pair_id}}
    problem = refusal(await room.http("POST", "/api/messages", json=body))
    assert (problem.status, problem.code) == (403, "not_a_member")
    body = {"from": "ann", "to": "eve", "body": "psst", "meta": {"pairId": pair_id}}
    problem = refusal(await room.http("POST", "/api/messages", json=body))
    assert (problem.status, paths(problem)) == (403, ["to"])


async def test_only_the_one_invited_answers(room: Room) -> None:
    for name in ("ann", "bob", "eve"):
        await join(room, name)
    pair_id = (await invite(room, "ann", "bob")).json()["id"]
    for name in ("ann", "eve"):
        for word in ("accept", "reject"):
            problem = refusal(await answer(room, pair_id, word, name))
            assert (problem.status, problem.code) == (403, "not_invited")
    problem = refusal(await answer(room, pair_id, "hangup", "eve"))
    assert (problem.status, problem.code) == (403, "not_a_member")
    assert (await pair_of(room, pair_id))["status"] == "pending"


async def test_a_declined_invitation_frees_both(room: Room) -> None:
    await join(room, "ann")
    await join(room, "bob")
    pair_id = (await invite(room, "ann", "bob")).json()["id"]
    assert (await answer(room, pair_id, "reject", "bob")).json()["status"] == "rejected"
    assert await news(room, "ann") == [("system", "pair.rejected", pair_id)]
    assert (await invite(room, "bob", "ann")).status_code == 201


async def test_hanging_up_ends_the_pair_and_tells_the_other(room: Room) -> None:
    pair_id = await paired(room)
    ended = (await answer(room, pair_id, "hangup", "bob")).json()
    assert (ended["status"], ended["endedBy"], ended["endReason"]) == ("ended", "bob", "bob hung up")
    assert (await news(room, "ann"))[-1] == ("system", "pair.ended", pair_id)
    problem = refusal(
        await room.http("POST", f"/api/pairs/{pair_id}/messages", json={"from": "ann", "body": "hello?"})
    )
    assert (problem.status, problem.code) == (409, "pair_not_active")
    body = {"from": "ann", "to": "bob", "body": "hello?", "meta": {"pairId": pair_id}}
    assert refusal(await room.http("POST", "/api/messages", json=body)).code == "pair_not_active"


async def test_a_repeated_answer_changes_nothing(room: Room) -> None:
    pair_id = await paired(room)
    assert (await answer(room, pair_id, "accept", "bob")).status_code == 200
    assert len(await news(room, "ann")) == 1
    for _ in range(2):
        assert (await answer(room, pair_id, "hangup", "bob")).json()["status"] == "ended"
    assert len(await news(room, "ann")) == 2
    problem = refusal(await answer(room, pair_id, "accept", "bob"))
    assert (problem.status, problem.code) == (409, "pair_not_pending")


async def test_an_invitation_expires_and_is_withdrawn(room: Room) -> None:
    await join(room, "ann")
    await join(room, "bob")
    pair = (await invite(room, "ann", "bob")).json()
    await trio.sleep(299.9)
    await room.service.expire()
    assert (await pair_of(room, pair["id"]))["status"] == "pending"
    await trio.sleep(0.1)
    problem = refusal(await answer(room, pair["id"], "accept", "bob"))
    assert (problem.status, problem.code) == (409, "pair_not_pending")
    await room.service.expire()
    assert (await pair_of(room, pair["id"]))["status"] == "expired"
    assert await news(room, "ann") == [("system", "pair.ended", pair["id"])]
    assert await room.relay.inbox("bob") == []
    (receipt,) = await room.relay.receipts(pair["inviteMessageId"])
    assert receipt.state is Rung.RETRACTED


async def test_a_lapsed_invitation_holds_nobody_up(room: Room) -> None:
    for name in ("ann", "bob", "cid"):
        await join(room, name)
    old = (await invite(room, "ann", "bob")).json()
    await trio.sleep(300)
    assert (await invite(room, "cid", "bob")).status_code == 201
    assert (await pair_of(room, old["id"]))["status"] == "expired"


@pytest.mark.parametrize("how", ["status", "removed", "silent", "pruned"])
async def test_losing_a_member_ends_the_pair_and_tells_the_other(room: Room, how: str) -> None:
    pair_id = await paired(room)
    match how:
        case "status":
            await room.relay.set_status("bob", OFFLINE)
        case "removed":
            await room.relay.remove_agent("bob")
        case "silent":
            await trio.sleep(100)
            await room.relay.heartbeat("ann")
            await trio.sleep(25)
            await room.service.keep_house()
        case "pruned":
            await trio.sleep(200_000)
            await room.relay.heartbeat("ann")
            await room.service.keep_house()
    pair = await pair_of(room, pair_id)
    assert (pair["status"], pair["endedBy"]) == ("ended", "bob")
    assert (await news(room, "ann"))[-1] == ("system", "pair.ended", pair_id)


async def test_losing_the_inviter_withdraws_the_invitation(room: Room) -> None:
    await join(room, "ann")
    await join(room, "bob")
    pair_id = (await invite(room, "ann", "bob")).json()["id"]
    await room.relay.set_status("ann", OFFLINE)
    assert (await pair_of(room, pair_id))["status"] == "ended"
    assert await news(room, "bob") == [("system", "pair.ended", pair_id)]


async def test_a_replaced_instance_answers_for_nobody(room: Room) -> None:
    await join(room, "ann")
    old = await join(room, "bob", instance_id="one")
    pair_id = (await invite(room, "ann", "bob")).json()["id"]
    await join(room, "bob", instance_id="two")
    problem = refusal(await answer(room, pair_id, "accept", "bob", instanceId="one", epoch=old.epoch))
    assert (problem.status, problem.code) == (409, "stale_instance")
    new = SessionFields(instance_id="two", epoch=old.epoch + 1)
    accepted = await answer(room, pair_id, "accept", "bob", instanceId=new.instance_id, epoch=new.epoch)
    assert accepted.json()["status"] == "active"


async def test_the_pairs_of_an_agent_are_listed_newest_first(room: Room) -> None:
    first = await paired(room)
    await answer(room, first, "hangup", "ann")
    await join(room, "cid")
    second = (await invite(room, "cid", "ann")).json()["id"]
    third = (await invite(room, "bob", "bob2")).status_code
    assert third == 404

    async def listed(query: str) -> list[int]:
        return [pair["id"] for pair in (await room.http("GET", f"/api/pairs{query}")).json()]

    assert await listed("?agent=ann") == [second, first]
    assert await listed("?agent=bob") == [first]
    assert await listed("") == [second, first]
    assert await listed(f"?before={second}") == [first]
    assert await listed("?agent=ann&limit=1") == [second]
    assert refusal(await room.http("GET", "/api/pairs/99")).code == "unknown_pair"


async def test_pairs_that_are_over_are_forgotten_in_time(room: Room) -> None:
    pair_id = await paired(room)
    await answer(room, pair_id, "hangup", "ann")
    await trio.sleep(30 * 86_400 + 1)
    await room.service.keep_house()
    assert (await room.http("GET", f"/api/pairs/{pair_id}")).status_code == 404


async def test_the_event_log_tells_every_step(room: Room) -> None:
    pair_id = await paired(room)
    await answer(room, pair_id, "hangup", "ann")
    rejected = (await invite(room, "ann", "bob")).json()["id"]
    await answer(room, rejected, "reject", "bob")
    kinds = await room.service.store.read(
        lambda connection: [row["type"] for row in connection.execute("SELECT type FROM events ORDER BY id")]
    )
    assert [kind for kind in kinds if kind.startswith("pair.")] == [
        "pair.invited",
        "pair.accepted",
        "pair.ended",
        "pair.invited",
        "pair.rejected",
    ]


async def test_nobody_else_is_called_system(room: Room) -> None:
    body = {"id": "system"}
    assert refusal(await room.http("POST", "/api/agents", json=body)).status == 400
    await join(room, "bob")
    message = {"from": "system", "to": "bob", "body": "obey"}
    problem = refusal(await room.http("POST", "/api/messages", json=message))
    assert (problem.status, problem.code) == (403, "reserved_sender")


async def test_what_is_said_to_the_relay_waits_for_nobody(room: Room) -> None:
    await paired(room)
    (notice,) = await room.relay.inbox("ann")
    reply = await say(room, "ann", "system", "thanks", reply_to=notice.id)
    assert (reply.recipients, reply.parked) == ([], False)
    assert (await room.relay.stats()).parked == 0
