"""A task is claimed by one agent, says how it goes, and ends; the lease of its message is its claim."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio

from support.integrations import CI, callbacks_of, history, integrated_room, new_task, post_event, task_now
from support.relay import Room
from support.talk import join, paths, refusal, say
from trio_relay.core.model import AgentStatus, Rung


@pytest.fixture
async def room(tmp_path: Path, autojump_clock: Any) -> AsyncIterator[Room]:
    async with integrated_room(tmp_path) as opened:
        for name in ("bob", "cid"):
            await join(opened, name, tags=["ops"])
        yield opened


async def claim(room: Room, task_id: int, agent_id: str = "bob", **fields: Any) -> httpx2.Response:
    return await room.http("POST", f"/api/tasks/{task_id}/claim", json={"agentId": agent_id} | fields)


async def report(room: Room, task_id: int, status: str, agent_id: str | None = "bob", **fields: Any) -> Any:
    body = {"status": status} | fields | ({} if agent_id is None else {"agentId": agent_id})
    return await room.http("PATCH", f"/api/tasks/{task_id}/status", json=body)


async def open_task(room: Room, **fields: Any) -> int:
    task_id: int = (await new_task(room, **({"target": "tag:ops"} | fields)))["id"]
    return task_id


async def test_from_open_to_done(room: Room) -> None:
    task_id = await open_task(room)
    claimed = (await claim(room, task_id)).json()
    assert (claimed["status"], claimed["claimedBy"], claimed["attempt"]) == ("claimed", "bob", 1)
    assert claimed["claimExpiresAt"] - claimed["claimedAt"] == 90_000
    assert claimed["leaseToken"]
    await trio.sleep(30)
    going = (await report(room, task_id, "in_progress", progress={"step": 1})).json()
    assert (going["status"], going["progress"]) == ("in_progress", {"step": 1})
    # Whoever reports lives: the claim is renewed.
    assert going["claimExpiresAt"] == claimed["claimExpiresAt"] + 30_000
    await report(room, task_id, "blocked", progress="waiting for a key")
    await report(room, task_id, "in_progress")
    done = (await report(room, task_id, "done", result={"fixed": True})).json()
    assert (done["status"], done["result"], done["claimedBy"]) == ("done", {"fixed": True}, "bob")
    assert (done["endedAt"], done["claimExpiresAt"]) == (done["updatedAt"], None)
    assert await history(room, task_id) == [
        ("created", "open", None),
        ("claimed", "claimed", "bob"),
        ("status", "in_progress", "bob"),
        ("status", "blocked", "bob"),
        ("status", "in_progress", "bob"),
        ("status", "done", "bob"),
    ]
    assert await room.relay.inbox("cid") == []


async def test_with_its_message_withdrawn_an_open_task_is_canceled(room: Room) -> None:
    task_id = await open_task(room)
    message_id = (await task_now(room, task_id))["messageId"]
    retract = f"/api/messages/{message_id}/retract"
    assert (await room.http("POST", retract, json={"reason": "a false alarm"})).status_code == 200
    ended = await task_now(room, task_id)
    assert (ended["status"], ended["endedAt"]) == ("canceled", ended["updatedAt"])
    assert ended["result"] == {"reason": "its message was withdrawn: a false alarm"}
    assert await history(room, task_id) == [("created", "open", None), ("status", "canceled", None)]
    assert [each["event"] for each in await callbacks_of(room, task_id)] == ["task.created", "task.status"]
    assert refusal(await claim(room, task_id)).code == "task_ended"
    again = await new_task(room, target="tag:ops")
    assert again["id"] != task_id, "the same thing may be asked for anew"
    assert (await room.http("POST", retract)).status_code == 200  # repeating it is safe


async def test_with_its_message_withdrawn_a_claimed_task_goes_on(room: Room) -> None:
    task_id = await open_task(room)
    lease = (await claim(room, task_id)).json()
    await room.http("POST", f"/api/messages/{lease['messageId']}/retract")
    assert (await task_now(room, task_id))["status"] == "claimed"
    assert (await report(room, task_id, "done", result={"fixed": True})).json()["status"] == "done"


async def test_given_back_with_its_message_withdrawn_a_task_is_canceled(room: Room) -> None:
    given_back, lapsed = await open_task(room), await open_task(room, dedupeKey="build-8")
    for task_id in (given_back, lapsed):
        lease = (await claim(room, task_id)).json()
        await room.http("POST", f"/api/messages/{lease['messageId']}/retract")
    assert (await report(room, given_back, "open")).json()["status"] == "canceled"
    await trio.sleep(90)
    await room.service.expire()
    ended = await task_now(room, lapsed)
    assert (ended["status"], ended["claimedBy"]) == ("canceled", "bob")
    assert ended["result"]["reason"] == "its message was withdrawn: retracted by its sender"


async def test_one_of_many_claims_it(room: Room) -> None:
    names = [f"agent-{number}" for number in range(16)]
    for name in names:
        await join(room, name)
    task_id = await open_task(room)
    statuses: list[int] = []

    async def race(name: str) -> None:
        statuses.append((await claim(room, task_id, name)).status_code)

    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(race, name)
    assert sorted(statuses) == [200] + [409] * 15


async def test_claiming_the_message_claims_the_task_and_the_other_way_round(room: Room) -> None:
    first = await new_task(room)
    lease = await room.relay.claim(first["messageId"], "bob")
    assert (await task_now(room, first["id"]))["claimedBy"] == "bob"
    assert refusal(await claim(room, first["id"], "cid")).code == "claimed"
    again = (await claim(room, first["id"])).json()
    assert again["leaseToken"] == lease.lease_token
    second = await new_task(room, dedupeKey="2")
    await claim(room, second["id"], "cid")
    assert (await room.relay.message(second["messageId"])).claimed_by == "cid"


async def test_completing_the_message_ends_the_task_with_the_answer_as_result(room: Room) -> None:
    task = await new_task(room)
    lease = await room.relay.claim(task["messageId"], "bob")
    reply = await say(room, "bob", "system", "fixed in 5f3", reply_to=task["messageId"], allow_unknown=True)
    await room.relay.complete(task["messageId"], "bob", lease.lease_token, {"turnId": "t1"})
    done = await task_now(room, task["id"])
    assert (done["status"], done["claimedBy"]) == ("done", "bob")
    assert done["result"] == {"turnId": "t1", "replyId": reply.id, "text": "fixed in 5f3"}


async def test_a_long_answer_is_named_not_repeated(room: Room) -> None:
    task = await new_task(room)
    await claim(room, task["id"])
    reply = await say(room, "bob", "system", "x" * 70_000, reply_to=task["messageId"])
    assert (await report(room, task["id"], "done")).json()["result"] == {"replyId": reply.id}


@pytest.mark.parametrize("status", ["failed", "canceled", "done"])
async def test_ending_the_task_completes_the_lease(room: Room, status: str) -> None:
    task = await new_task(room)
    lease = await room.relay.claim(task["messageId"], "bob")
    assert (await report(room, task["id"], status, result="r")).json()["status"] == status
    renewal = {"agentId": "bob", "leaseToken": lease.lease_token}
    problem = refusal(await room.http("POST", f"/api/messages/{task['messageId']}/claim/renew", json=renewal))
    assert problem.code == "lease_lost"
    assert refusal(await claim(room, task["id"], "cid")).code == "task_ended"
    assert (await task_now(room, task["id"]))["status"] == status


@pytest.mark.parametrize("how", ["lapse", "release", "offline", "reopen", "replaced"])
async def test_losing_the_lease_opens_the_task_again(room: Room, how: str) -> None:
    await join(room, "bob", instance_id="one", tags=["ops"])
    task = await new_task(room, target="tag:ops")
    lease = (await claim(room, task["id"])).json()
    await report(room, task["id"], "in_progress", progress=1)
    match how:
        case "lapse":
            await trio.sleep(90)
            await room.service.expire()
        case "release":
            await room.relay.release(task["messageId"], "bob", lease["leaseToken"])
        case "offline":
            await room.relay.set_status("bob", AgentStatus.OFFLINE)
        case "reopen":
            await report(room, task["id"], "open")
        case "replaced":
            await join(room, "bob", instance_id="two", tags=["ops"])
    reopened = await task_now(room, task["id"])
    assert (reopened["status"], reopened["claimedBy"], reopened["progress"]) == ("open", None, 1)
    assert (await history(room, task["id"]))[-1] == ("reopened", "open", None)
    problem = refusal(await report(room, task["id"], "done"))
    assert (problem.status, problem.code) == (409, "not_claimed")
    await claim(room, task["id"], "cid")
    problem = refusal(await report(room, task["id"], "done"))
    assert (problem.status, problem.code) == (409, "lease_lost")
    assert (await report(room, task["id"], "done", "cid")).status_code == 200


async def test_a_lapsed_claim_is_taken_over_at_once(room: Room) -> None:
    task_id = await open_task(room)
    await claim(room, task_id)
    await report(room, task_id, "in_progress")
    await trio.sleep(90)
    taken = (await claim(room, task_id, "cid")).json()
    assert (taken["status"], taken["claimedBy"]) == ("claimed", "cid")
    assert [kind for kind, *_ in await history(room, task_id)][-2:] == ["reopened", "claimed"]


async def test_an_old_lease_token_changes_nothing(room: Room) -> None:
    task_id = await open_task(room)
    old = (await claim(room, task_id)).json()["leaseToken"]
    await report(room, task_id, "open")
    new = (await claim(room, task_id)).json()["leaseToken"]
    problem = refusal(await report(room, task_id, "done", leaseToken=old))
    assert (problem.status, problem.code) == (409, "lease_lost")
    assert (await report(room, task_id, "done", leaseToken=new)).json()["status"] == "done"


async def test_a_replaced_instance_reports_nothing(room: Room) -> None:
    agent = await join(room, "dora", instance_id="one")
    task_id = await open_task(room)
    await claim(room, task_id, "dora", instanceId="one", epoch=agent.epoch)
    await join(room, "dora", instance_id="two")
    problem = refusal(await report(room, task_id, "done", "dora", instanceId="one", epoch=agent.epoch))
    assert (problem.status, problem.code) == (409, "stale_instance")
    assert (await task_now(room, task_id))["status"] == "open"


async def test_repeating_a_report_changes_nothing(room: Room) -> None:
    task_id = await open_task(room)
    await claim(room, task_id)
    for _ in range(3):
        assert (await report(room, task_id, "in_progress", progress=[1])).status_code == 200
    first = (await report(room, task_id, "done", result="yes")).json()
    assert (await report(room, task_id, "done", result="no")).json() == first
    assert [status for _, status, _ in await history(room, task_id)] == [
        "open",
        "claimed",
        "in_progress",
        "done",
    ]
    assert refusal(await report(room, task_id, "failed")).code == "task_ended"
    assert refusal(await report(room, task_id, "done", "cid")).code == "task_ended"


async def test_statuses_follow_the_table(room: Room) -> None:
    task_id = await open_task(room)
    problem = refusal(await report(room, task_id, "in_progress"))
    assert (problem.status, problem.code) == (409, "not_claimed")
    # Claiming may also be said as a status.
    assert (await report(room, task_id, "claimed")).json()["claimedBy"] == "bob"
    await report(room, task_id, "in_progress")
    problem = refusal(await report(room, task_id, "claimed"))
    assert (problem.status, problem.code, paths(problem)) == (409, "bad_transition", ["status"])


async def test_an_operator_overrules_the_holder(room: Room) -> None:
    task = await new_task(room)
    lease = await room.relay.claim(task["messageId"], "bob")
    await report(room, task["id"], "in_progress")
    assert (await report(room, task["id"], "blocked", None)).json()["claimedBy"] == "bob"
    assert (await report(room, task["id"], "open", None)).json()["status"] == "open"
    problem = refusal(
        await room.http(
            "POST",
            f"/api/messages/{task['messageId']}/claim/renew",
            json={"agentId": "bob", "leaseToken": lease.lease_token},
        )
    )
    assert problem.code == "lease_lost"
    await claim(room, task["id"], "cid")
    canceled = (await report(room, task["id"], "canceled", None, result="not needed")).json()
    assert (canceled["status"], canceled["claimedBy"], canceled["result"]) == (
        "canceled",
        "cid",
        "not needed",
    )
    (receipt,) = await room.relay.receipts(task["messageId"])
    assert receipt.state is Rung.SETTLED
    problem = refusal(await report(room, task["id"], "claimed", None))
    assert problem.code == "task_ended"


async def test_an_operator_ends_what_nobody_has_claimed(room: Room) -> None:
    task_id = await open_task(room)
    problem = refusal(await report(room, task_id, "claimed", None))
    assert (problem.status, paths(problem)) == (400, ["agentId"])
    assert refusal(await report(room, task_id, "blocked", None)).code == "bad_transition"
    assert (await report(room, task_id, "open", None)).json()["status"] == "open"
    assert (await report(room, task_id, "done", None)).json()["status"] == "done"
    assert await room.relay.inbox("bob") == []
    await join(room, "late", tags=["ops"])
    assert await room.relay.inbox("late") == []


async def test_a_token_without_admin_is_no_operator(room: Room) -> None:
    task_id = await open_task(room)
    tokens = {
        agent: (
            await room.http(
                "POST", "/api/tokens", json={"scopes": ["claim"]} | ({"agentId": agent} if agent else {})
            )
        ).json()["token"]
        for agent in ("bob", "")
    }

    async def patch(token: str, **body: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return await room.http("PATCH", f"/api/tasks/{task_id}/status", json=body, headers=headers)

    assert refusal(await patch(tokens[""], status="done")).code == "scope_missing"
    assert refusal(await patch(tokens["bob"], status="done")).code == "not_your_agent"
    assert refusal(await patch(tokens["bob"], status="claimed", agentId="cid")).code == "not_your_agent"
    assert (await patch(tokens["bob"], status="claimed", agentId="bob")).status_code == 200


async def test_a_task_given_up_too_often_fails_and_can_be_driven_again(
    tmp_path: Path, autojump_clock: Any
) -> None:
    async with integrated_room(tmp_path, max_attempts=2) as room:
        await join(room, "bob")
        task = await new_task(room)
        for _ in range(2):
            await claim(room, task["id"])
            await trio.sleep(90)
            await room.service.expire()
        failed = await task_now(room, task["id"])
        assert failed["status"] == "failed"
        assert failed["result"] == {"reason": "claimed too often without completion", "attempts": 2}
        response = await room.http("POST", f"/api/messages/{task['messageId']}/redrive")
        assert response.status_code == 200
        assert (await task_now(room, task["id"]))["status"] == "open"
        assert (await claim(room, task["id"])).status_code == 200


async def test_a_failed_task_is_not_driven_again_beside_its_successor(
    tmp_path: Path, autojump_clock: Any
) -> None:
    async with integrated_room(tmp_path, max_attempts=1) as room:
        await join(room, "bob")
        task = await new_task(room)
        await claim(room, task["id"])
        await trio.sleep(90)
        await room.service.expire()
        await new_task(room)
        problem = refusal(await room.http("POST", f"/api/messages/{task['messageId']}/redrive"))
        assert (problem.status, problem.code) == (409, "task_superseded")
        assert (await task_now(room, task["id"]))["status"] == "failed"


async def test_a_task_whose_message_is_deleted_is_canceled(room: Room) -> None:
    task = await new_task(room)
    await room.relay.delete(task["messageId"])
    canceled = await task_now(room, task["id"])
    assert (canceled["status"], canceled["messageId"]) == ("canceled", None)
    assert canceled["result"] == {"reason": "its message was deleted"}
    assert refusal(await claim(room, task["id"])).code == "task_ended"


async def test_an_ended_task_outlives_its_message(room: Room) -> None:
    task = await new_task(room)
    await claim(room, task["id"])
    await report(room, task["id"], "done", result=1)
    await room.relay.delete(task["messageId"])
    done = await task_now(room, task["id"])
    assert (done["status"], done["claimedBy"], done["result"]) == ("done", "bob", 1)


async def test_ended_tasks_are_forgotten_in_time(room: Room) -> None:
    ended, active = await open_task(room), await open_task(room, dedupeKey="2")
    await report(room, ended, "canceled", None)
    await trio.sleep(30 * 86_400 + 1)
    await room.service.keep_house()
    assert refusal(await room.http("GET", f"/api/tasks/{ended}")).code == "unknown_task"
    assert (await task_now(room, active))["status"] == "open"


async def test_tasks_are_listed_newest_first(room: Room) -> None:
    one = await open_task(room, dedupeKey="1")
    two = await open_task(room, dedupeKey="2", target="cid")
    three = (await post_event(room, "alerts-token", target="tag:ops")).json()["id"]
    await claim(room, two, "cid")

    async def listed(query: str) -> list[int]:
        return [task["id"] for task in (await room.http("GET", f"/api/tasks{query}")).json()]

    assert await listed("") == [three, two, one]
    assert await listed("?status=open") == [three, one]
    assert await listed("?status=claimed&target=cid") == [two]
    assert await listed(f"?source={CI.name}") == [two, one]
    assert await listed("?target=tag:ops&limit=1") == [three]
    assert await listed(f"?before={two}") == [one]
    assert refusal(await room.http("GET", "/api/tasks?status=lost")).status == 400


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"status": "lost"}, "status"),
        ({"status": None}, "status"),
        ({"progress": "x" * 70_000}, "progress"),
        ({"result": "x" * 70_000}, "result"),
        ({"agentId": ""}, "agentId"),
    ],
)
async def test_a_report_that_cannot_be_meant_is_refused_by_field(
    room: Room, fields: dict[str, Any], path: str
) -> None:
    task_id = await open_task(room)
    await claim(room, task_id)
    body = {"status": "in_progress", "agentId": "bob"} | fields
    problem = refusal(await room.http("PATCH", f"/api/tasks/{task_id}/status", json=body))
    assert (problem.status, paths(problem)) == (400, [path])


@pytest.mark.parametrize("path", ["", "/events", "/callbacks"])
async def test_what_does_not_exist_is_not_found(room: Room, path: str) -> None:
    for task_id in (0, 99, 2**70):
        assert refusal(await room.http("GET", f"/api/tasks/{task_id}{path}")).code == "unknown_task"
