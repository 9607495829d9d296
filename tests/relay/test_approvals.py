"""A program asks whether it may do something; the first answer of a person is the answer."""

from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from support.relay import Room, open_room
from support.talk import join, paths, refusal, session
from trio_relay.client import approvals
from trio_relay.core.access import Scope
from trio_relay.core.model import AgentStatus, Authority
from trio_relay.core.wire_access import TokenRequest
from trio_relay.core.wire_approvals import (
    Approval,
    ApprovalRequest,
    ApprovalState,
    ApprovalWithdrawal,
    Decision,
)
from trio_relay.errors import Conflict, NotFound, Refused, RelayError, StaleInstance
from trio_relay.settings import ServerSettings

PENDING, ALLOWED, DENIED = ApprovalState.PENDING, ApprovalState.ALLOWED, ApprovalState.DENIED
WITHDRAWN, EXPIRED = ApprovalState.WITHDRAWN, ApprovalState.EXPIRED
ALLOW, DENY = Decision.ALLOW, Decision.DENY


async def asked(room: Room, agent: str = "ann", **fields: Any) -> Approval:
    """What `agent` wants to know: whether it may remove the build."""
    request = ApprovalRequest(agent_id=agent, tool="Bash", summary="rm -r build", **fields)
    return await approvals.ask(room.relay, request)


async def http(room: Room, method: str, path: str, **kwargs: Any) -> httpx2.Response:
    return await room.http(method, f"/api/approvals{path}", **kwargs)


async def test_a_question_is_asked_seen_and_answered(room: Room) -> None:
    await join(room, "ann")
    asking = {
        "agentId": "ann",
        "tool": "Bash",
        "summary": "rm -r build",
        "detail": "in /src",
        "ttlMs": 60_000,
    }
    response = await http(room, "POST", "", json=asking)
    question = response.json()
    assert (response.status_code, question["state"]) == (201, "pending")
    assert question["expiresAt"] - question["createdAt"] == 60_000
    assert (question["decidedBy"], question["reason"], question["decidedAt"]) == (None, None, None)
    assert (await http(room, "GET", "?state=pending&agent=ann")).json() == [question]

    await trio.sleep(5)
    answer = {"decision": "deny", "reason": "keep it"}
    answered = await http(room, "POST", f"/{question['id']}/decide", json=answer)
    assert answered.status_code == 200
    over = {"state": "denied", "reason": "keep it", "decidedBy": "operator"}
    assert answered.json() == question | over | {"decidedAt": question["createdAt"] + 5000}
    assert (await http(room, "GET", f"/{question['id']}")).json() == answered.json()
    assert (await http(room, "GET", "?state=pending")).json() == []


async def test_the_first_answer_wins_and_may_be_repeated(room: Room) -> None:
    await join(room, "ann")
    question = await asked(room)
    first = await approvals.decide(room.relay, question.id, ALLOW)
    assert await approvals.decide(room.relay, question.id, ALLOW) == first
    with pytest.raises(Conflict) as refused:
        await approvals.decide(room.relay, question.id, DENY)
    assert refused.value.code == "approval_over"
    assert await approvals.get_approval(room.relay, question.id) == first
    taken_back = await approvals.withdraw(room.relay, question.id, ApprovalWithdrawal(agent_id="ann"))
    assert taken_back == first


async def test_who_waits_hears_the_answer_at_once(room: Room) -> None:
    await join(room, "ann")
    question = await asked(room)
    heard: list[tuple[float, ApprovalState]] = []

    async def wait() -> None:
        begun = trio.current_time()
        answer = await approvals.get_approval(room.relay, question.id, wait=60)
        heard.append((trio.current_time() - begun, answer.state))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await trio.sleep(7)
        await approvals.decide(room.relay, question.id, ALLOW)
    assert heard == [(7, ALLOWED), (7, ALLOWED)]
    assert room.service.hub.waiting == 1  # the event log's


async def test_nobody_waits_longer_than_asked_nor_for_what_is_over(room: Room) -> None:
    await join(room, "ann")
    question = await asked(room)
    begun = trio.current_time()
    assert (await approvals.get_approval(room.relay, question.id, wait=20)).state is PENDING
    assert trio.current_time() - begun == 20
    await approvals.decide(room.relay, question.id, DENY)
    assert (await approvals.get_approval(room.relay, question.id, wait=20)).state is DENIED
    assert trio.current_time() - begun == 20


async def test_a_relay_that_stops_lets_nobody_wait(room: Room) -> None:
    await join(room, "ann")
    question = await asked(room)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(approvals.get_approval, room.relay, question.id, 60)
        await wait_all_tasks_blocked()
        room.service.hub.close()
    assert trio.current_time() < 60


async def test_a_question_nobody_answers_expires_and_who_waits_hears_so(room: Room) -> None:
    await join(room, "ann")
    question = await asked(room, ttl_ms=10_000)
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            assert (await approvals.get_approval(room.relay, question.id, wait=60)).state is EXPIRED

        nursery.start_soon(wait)
        await trio.sleep(10)
        assert (
            await approvals.get_approval(room.relay, question.id)
        ).state is EXPIRED  # before anybody wrote it down
        with pytest.raises(Conflict) as refused:
            await approvals.decide(room.relay, question.id, ALLOW)
        assert refused.value.code == "approval_over"
        await room.service.expire()
    (shown,) = await approvals.list_approvals(room.relay, state=EXPIRED)
    assert (shown.decided_by, shown.decided_at) == (None, question.expires_at)
    assert trio.current_time() == 10


async def test_what_has_expired_is_withdrawn_no_more(room: Room) -> None:
    await join(room, "ann")
    first, second = await asked(room, ttl_ms=1000), await asked(room, ttl_ms=1000)
    await trio.sleep(1)
    shown = await approvals.withdraw(room.relay, first.id, ApprovalWithdrawal(agent_id="ann"))
    await room.relay.set_status("ann", AgentStatus.OFFLINE)
    assert (shown.state, shown.decided_by, shown.reason) == (EXPIRED, None, None)
    assert (await approvals.get_approval(room.relay, second.id)).state is EXPIRED


async def test_a_repeated_question_is_the_same_one(room: Room) -> None:
    await join(room, "ann")
    await join(room, "bob")
    question = await asked(room, key="call-1")
    again = await http(
        room,
        "POST",
        "",
        json={"agentId": "ann", "tool": "Bash", "summary": "rm -r build", "key": "call-1"},
    )
    assert (again.status_code, again.json()["id"]) == (200, question.id)
    assert (await asked(room, "bob", key="call-1")).id != question.id
    assert (await asked(room)).id != (await asked(room)).id
    with pytest.raises(Conflict) as refused:
        await approvals.ask(
            room.relay, ApprovalRequest(agent_id="ann", tool="Bash", summary="rm -r /", key="call-1")
        )
    assert refused.value.code == "idempotency_conflict"
    await approvals.decide(room.relay, question.id, ALLOW)
    assert (await asked(room, key="call-1")).state is ALLOWED


class TestWhoIsGone:
    """Nobody is asked for an agent that does not wait any more."""

    async def test_an_agent_that_goes_offline_withdraws_what_it_asked(self, room: Room) -> None:
        await join(room, "ann")
        await join(room, "bob")
        question, others = await asked(room), await asked(room, "bob")
        await room.relay.set_status("ann", AgentStatus.OFFLINE)
        shown = await approvals.get_approval(room.relay, question.id)
        assert (shown.state, shown.decided_by, shown.reason) == (WITHDRAWN, None, "ann went offline")
        assert (await approvals.get_approval(room.relay, others.id)).state is PENDING
        with pytest.raises(Conflict):
            await approvals.decide(room.relay, question.id, ALLOW)

    async def test_so_does_one_that_is_removed_or_replaced(self, room: Room) -> None:
        await join(room, "ann", instance_id="one")
        first = await asked(room)
        await join(room, "ann", instance_id="one")
        assert (await approvals.get_approval(room.relay, first.id)).state is PENDING
        await join(room, "ann", instance_id="two")
        assert (await approvals.get_approval(room.relay, first.id)).state is WITHDRAWN
        second = await asked(room)
        await room.relay.remove_agent("ann")
        assert (await approvals.get_approval(room.relay, second.id)).reason == "ann was removed"

    async def test_and_one_that_is_silent_and_who_waits_hears_so(self, room: Room) -> None:
        await join(room, "ann")
        question = await asked(room, ttl_ms=3_600_000)
        await trio.sleep(119)
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                assert (await approvals.get_approval(room.relay, question.id, wait=60)).state is WITHDRAWN

            nursery.start_soon(wait)
            await trio.sleep(2)
            await room.service.keep_house()
        assert trio.current_time() == 121


class TestWhoMay:
    """Scopes, sessions and authority."""

    async def token(
        self, room: Room, *scopes: Scope, agent: str | None = None, human: bool = False
    ) -> dict[str, str]:
        authority = Authority.HUMAN if human else Authority.PEER
        request = TokenRequest(scopes=list(scopes), agent_id=agent, authority=authority)
        minted = await room.relay.call("POST", "/api/tokens", dict[str, Any], body=request)
        return {"Authorization": f"Bearer {minted['token']}"}

    async def test_a_person_or_an_administrator_decides_and_nobody_else(self, room: Room) -> None:
        await join(room, "ann")
        question = await asked(room)
        path, body = f"/{question.id}/decide", {"decision": "allow"}
        program = await self.token(room, Scope.SEND, Scope.CLAIM, Scope.OBSERVE)
        assert (await http(room, "POST", path, json=body, headers=program)).status_code == 403
        person = await self.token(room, Scope.OBSERVE, human=True)
        allowed = await http(room, "POST", path, json=body, headers=person)
        assert (allowed.status_code, allowed.json()["decidedBy"]) == (200, "token 2")
        administrator = await self.token(room, Scope.ADMIN)
        assert (await http(room, "POST", path, json=body, headers=administrator)).status_code == 200

    async def test_an_agent_does_not_answer_itself(self, room: Room) -> None:
        await join(room, "ann")
        question = await asked(room)
        own = await self.token(room, Scope.ADMIN, agent="ann")
        refused = await http(room, "POST", f"/{question.id}/decide", json={"decision": "allow"}, headers=own)
        assert (refused.status_code, refusal(refused).code) == (403, "own_approval")

    async def test_a_token_of_one_agent_asks_and_reads_for_that_agent_only(self, room: Room) -> None:
        await join(room, "ann")
        await join(room, "bob")
        own = await self.token(room, Scope.SEND, Scope.RECEIVE, agent="ann")
        ask = {"agentId": "bob", "tool": "Bash", "summary": "x"}
        refused = await http(room, "POST", "", json=ask, headers=own)
        assert (refusal(refused).code, paths(refusal(refused))) == ("not_your_agent", ["agentId"])
        mine = (await http(room, "POST", "", json=ask | {"agentId": "ann"}, headers=own)).json()
        other = await asked(room, "bob")
        assert (await http(room, "GET", f"/{mine['id']}", headers=own)).status_code == 200
        assert (await http(room, "GET", f"/{other.id}", headers=own)).status_code == 403
        assert (await http(room, "GET", "?agent=ann", headers=own)).json() == [mine]
        assert (await http(room, "GET", "", headers=own)).status_code == 403
        theirs = await http(room, "POST", f"/{other.id}/withdraw", json={"agentId": "bob"}, headers=own)
        assert theirs.status_code == 403

    async def test_only_the_asker_withdraws(self, room: Room) -> None:
        ann, _ = await join(room, "ann", instance_id="one"), await join(room, "bob")
        question = await asked(room, **_fields(ann))
        with pytest.raises(Refused) as refused:
            await approvals.withdraw(room.relay, question.id, ApprovalWithdrawal(agent_id="bob"))
        assert refused.value.code == "not_the_asker"
        withdrawal = ApprovalWithdrawal(agent_id="ann", reason="answered in the terminal", **_fields(ann))
        shown = await approvals.withdraw(room.relay, question.id, withdrawal)
        assert (shown.state, shown.decided_by) == (WITHDRAWN, "ann")
        assert shown.reason == "answered in the terminal"
        assert await approvals.withdraw(room.relay, question.id, withdrawal) == shown

    async def test_a_replaced_instance_neither_asks_nor_withdraws(self, room: Room) -> None:
        old = await join(room, "ann", instance_id="one")
        await join(room, "ann", instance_id="two")
        with pytest.raises(StaleInstance):
            await asked(room, **_fields(old))
        question = await asked(room)
        with pytest.raises(StaleInstance):
            await approvals.withdraw(
                room.relay, question.id, ApprovalWithdrawal(agent_id="ann", **_fields(old))
            )


def _fields(agent: Any) -> dict[str, Any]:
    who = session(agent)
    return {"instance_id": who.instance_id, "epoch": who.epoch}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"agentId": ""}, "agentId"),
        ({"tool": None}, "tool"),
        ({"summary": ""}, "summary"),
        ({"summary": "x" * 1001}, "summary"),
        ({"detail": {}}, "detail"),
        ({"ttlMs": 999}, "ttlMs"),
        ({"ttlMs": 86_400_001}, "ttlMs"),
        ({"key": ""}, "key"),
    ],
)
async def test_a_bad_question_is_told_its_field(room: Room, change: dict[str, Any], field: str) -> None:
    await join(room, "ann")
    asking = {"agentId": "ann", "tool": "Bash", "summary": "x"} | change
    response = await http(room, "POST", "", json=asking)
    assert (response.status_code, paths(refusal(response))) == (400, [field])


async def test_what_is_not_there_is_said_to_be_unknown(room: Room) -> None:
    await join(room, "ann")
    calls: list[Any] = [
        approvals.get_approval(room.relay, 7),
        approvals.get_approval(room.relay, 7, wait=30),
        approvals.decide(room.relay, 7, ALLOW),
        approvals.withdraw(room.relay, 2**70, ApprovalWithdrawal(agent_id="ann")),
        asked(room, "nobody"),
    ]
    codes = []
    for call in calls:
        with pytest.raises(NotFound) as refused:
            await call
        codes.append(refused.value.code)
    assert codes == ["unknown_approval"] * 4 + ["unknown_agent"]


async def test_the_list_is_newest_first_in_pages(room: Room) -> None:
    await join(room, "ann")
    ids = [(await asked(room)).id for _ in range(5)]
    newest = (await http(room, "GET", "?limit=2")).json()
    assert [each["id"] for each in newest] == [ids[4], ids[3]]
    rest = (await http(room, "GET", f"?before={ids[3]}&agent=ann")).json()
    assert [each["id"] for each in rest] == ids[2::-1]


async def test_the_log_tells_ids_and_nothing_that_was_said(room: Room) -> None:
    await join(room, "ann")
    first = await asked(room, detail="secret detail")
    await approvals.decide(room.relay, first.id, ALLOW, "secret reason")
    second = await asked(room)
    withdrawal = ApprovalWithdrawal(agent_id="ann", reason="secret why")
    await approvals.withdraw(room.relay, second.id, withdrawal)
    third = await asked(room, ttl_ms=1000)
    await trio.sleep(2)
    await room.service.expire()
    events = [
        (each.kind, each.data.decode())
        for each in (await room.service.events.read_page(0)).events
        if each.kind.startswith("approval.")
    ]
    assert [kind.removeprefix("approval.") for kind, _ in events] == [
        *("asked", "decided", "asked", "withdrawn", "asked", "expired")
    ]
    assert [f'"approvalId":{each.id}' for each in (first, first, second, second, third, third)] == [
        data[1:].split(",")[0] for _, data in events
    ]
    assert not any("secret" in data or "rm -r" in data for _, data in events)


async def test_what_is_over_is_forgotten_after_the_retention(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_room(tmp_path, ServerSettings(retention_days=1)) as room:
        await join(room, "ann")
        over, open_still = await asked(room), await asked(room, ttl_ms=86_400_000)
        await approvals.decide(room.relay, over.id, ALLOW)
        await trio.sleep(86_399)
        await room.service.keep_house()
        assert (await approvals.get_approval(room.relay, over.id)).state is ALLOWED
        await trio.sleep(2)
        await room.service.keep_house()
        with pytest.raises(RelayError):
            await approvals.get_approval(room.relay, over.id)
        assert (await approvals.get_approval(room.relay, open_still.id)).id == open_still.id


async def test_how_many_wait_for_a_person_is_measured(room: Room) -> None:
    await join(room, "ann")
    first, _ = await asked(room), await asked(room)
    assert "\ntrio_relay_pending_approvals 2.0\n" in (await room.http("GET", "/metrics")).text
    await approvals.decide(room.relay, first.id, ALLOW)
    assert "\ntrio_relay_pending_approvals 1.0\n" in (await room.http("GET", "/metrics")).text
