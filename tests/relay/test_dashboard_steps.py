"""Stepping in from the dashboard, as a browser without script does it: what it does, who may, what is said."""

import re
from typing import Any

import httpx2
import pytest

from support.relay import Room
from trio_relay.core.access import Scope
from trio_relay.core.model import Authority, Rung
from trio_relay.core.wire import AgentRegistration, SendRequest
from trio_relay.relay.operations import approvals

OURS = {"Origin": "http://127.0.0.1:4850"}
ENGINES = pytest.mark.parametrize("engine", ["sqlite", "postgres"])
VIEWS = ("/approvals", "/parked", "/dead", "/tasks", "/pairs", "/leases", "/map", "/plots")
EVIL = "<script>alert(1)</script>"


class Visitor:
    """Somebody who has come in with a token, or with nothing."""

    def __init__(self, room: Room, cookie: str) -> None:
        self.room = room
        self.headers = OURS | {"Cookie": cookie}

    async def get(self, path: str, *, status: int = 200) -> str:
        answer = await self.room.http("GET", path, headers=self.headers)
        assert answer.status_code == status, (path, answer.status_code, answer.text)
        return answer.text

    async def post(self, path: str, **fields: str) -> httpx2.Response:
        headers = self.headers | {
            "Content-Type": "application/x-www-form-urlencoded"
        }  # also when there are none
        return await self.room.http("POST", path, data=fields, headers=headers)


async def come_in(room: Room, token: str | None = None, name: str = "anna") -> Visitor:
    fields = {"name": name} | ({} if token is None else {"token": token})
    answer = await room.http("POST", "/login", data=fields, headers=OURS)
    return Visitor(room, answer.headers["set-cookie"].partition(";")[0])


async def join(room: Room, agent_id: str, **more: Any) -> None:
    await room.relay.register(AgentRegistration(**{"id": agent_id, "ready": True, **more}))


async def api(room: Room, method: str, path: str, **body: Any) -> Any:
    answer = await room.http(method, f"/api{path}", json=body or None)
    assert answer.is_success, answer.text
    return answer.json()


async def furnish(room: Room, text: str) -> dict[str, int]:
    """Something on every page, with the same text everywhere."""
    for name in ("ann", "bob"):
        await join(room, name, tags=["red"])
    dead = (await room.relay.send(SendRequest(sender="ann", to="bob", body=text, subject=text))).id
    for attempt in range(6):
        await room.relay.report(dead, "bob", Rung.HANDED_OFF, {"attemptId": str(attempt)})
    token = (await api(room, "POST", "/tokens", name=text[:100], scopes=["integrate"]))["token"]
    event = {"title": text, "body": text, "target": "tag:red", "metadata": {"why": text}}
    headers = {"Authorization": f"Bearer {token}"}
    task = (await room.http("POST", "/api/integrations/events", json=event, headers=headers)).json()["id"]
    await api(room, "POST", f"/tasks/{task}/claim", agentId="bob")
    pair = (await api(room, "POST", "/pairs", **{"from": "ann", "target": "bob", "objective": text}))["id"]
    await api(room, "POST", "/leases", key=f"file:{text}", holder="ann")
    question = await api(room, "POST", "/approvals", agentId="ann", tool="Bash", summary=text, detail=text)
    message, speaker, listener = dead, "bob", "ann"
    parked: dict[str, Any] = {"parked": False}
    while not parked["parked"]:
        answer = {"from": speaker, "to": listener, "body": text, "replyTo": message}
        parked = await api(room, "POST", "/messages", **answer)
        message, speaker, listener = parked["id"], listener, speaker
    return {
        "dead": dead,
        "task": task,
        "pair": pair,
        "approval": question["id"],
        "parked": parked["threadId"],
    }


@ENGINES
async def test_text_of_others_stays_text_on_every_view(room: Room) -> None:
    made = await furnish(room, EVIL)
    anna = await come_in(room)
    for path in (*VIEWS, "/tokens", f"/tasks/{made['task']}", f"/messages/{made['dead']}/explain"):
        html = await anna.get(path)
        assert EVIL not in html, path
        assert path in ("/map", "/plots", "/tokens") or "&lt;script&gt;" in html, path


@ENGINES
async def test_every_button_does_what_it_says_and_the_second_time_says_why_not(room: Room) -> None:
    made = await furnish(room, "please")
    anna = await come_in(room)
    steps: list[tuple[str, dict[str, str], str]] = [
        (f"/approvals/{made['approval']}/decide", {"decision": "deny", "reason": "no"}, "denied"),
        (f"/parked/{made['parked']}/resume", {}, "goes on"),
        (f"/dead/{made['dead']}/redrive", {}, "on its way again"),
        (f"/tasks/{made['task']}/status", {"status": "failed", "note": "too late"}, "has failed"),
        (f"/pairs/{made['pair']}/end", {}, "both were told"),
        ("/leases/take-back", {"key": "file:please"}, "taken back from ann"),
        (f"/messages/{made['dead']}/retract", {"reason": "enough"}, "withdrawn"),
        (f"/dead/{made['dead']}/delete", {}, "deleted"),
    ]
    for path, fields, said in steps:
        answer = await anna.post(path, **fields)
        assert answer.status_code == 303, (path, answer.text)
        shown = await room.http(
            "GET",
            answer.headers["location"],
            headers=anna.headers | {"Cookie": f"{anna.headers['Cookie']}; {answer.headers['set-cookie']}"},
        )
        assert said in shown.text, path
    approval = await room.service.read(approvals.get_approval, made["approval"])
    assert (approval.decided_by, approval.reason) == ("anna", "no")
    for path, fields, _ in steps[1:3] + steps[4:]:
        answer = await anna.post(path, **fields)
        assert answer.status_code in (404, 409), path
        assert "That did not work." in answer.text
        assert re.search(r'role="alert"', answer.text)


async def test_who_may_only_look_is_told_so_and_changes_nothing(room: Room) -> None:
    made = await furnish(room, "x")
    looking = await api(room, "POST", "/tokens", name="looker", scopes=["observe"])
    looker = await come_in(room, looking["token"])
    for path in VIEWS:
        html = await looker.get(path)
        assert "<form" not in html.partition("<main")[2], path
    await looker.get("/tokens", status=403)
    assert 'href="/tokens"' not in await looker.get("/tasks")
    for path, fields in (
        (f"/approvals/{made['approval']}/decide", {"decision": "allow"}),
        (f"/parked/{made['parked']}/resume", {}),
        (f"/dead/{made['dead']}/redrive", {}),
        (f"/dead/{made['dead']}/delete", {}),
        (f"/messages/{made['dead']}/retract", {}),
        (f"/tasks/{made['task']}/status", {"status": "done"}),
        (f"/pairs/{made['pair']}/end", {}),
        ("/leases/take-back", {"key": "file:x"}),
        ("/tokens", {"name": "more", "scope-admin": "1"}),
        ("/tickets", {}),
        ("/tokens/1/revoke", {}),
    ):
        answer = await looker.post(path, **fields)
        assert (path, answer.status_code) == (path, 403)
        assert "lacks the scope" in answer.text


async def test_a_person_without_admin_decides_and_administers_nothing(room: Room) -> None:
    made = await furnish(room, "x")
    scopes, authority = [Scope.OBSERVE, Scope.SEND], Authority.HUMAN
    minted = await api(
        room, "POST", "/tokens", name="carla", scopes=scopes, authority=authority, agentId="carla"
    )
    carla = await come_in(room, minted["token"], name="carla")
    assert (await carla.post(f"/approvals/{made['approval']}/decide", decision="allow")).status_code == 303
    assert (await carla.post(f"/parked/{made['parked']}/resume")).status_code == 303
    assert (await carla.post(f"/dead/{made['dead']}/delete")).status_code == 403
    assert (await carla.post(f"/messages/{made['dead']}/retract")).status_code == 403
    assert (await room.service.read(approvals.get_approval, made["approval"])).decided_by == "carla"


async def test_a_secret_is_shown_once_and_wrong_wishes_are_explained(room: Room) -> None:
    anna = await come_in(room)
    shown = await anna.post("/tokens", name="laptop", lifetime="1 hour", **{"scope-send": "1"})
    secret = re.search(r'id="minted" class="secret" readonly value="([^"]+)"', shown.text)
    assert secret is not None
    caller = await room.http("GET", "/api/whoami", headers={"Authorization": f"Bearer {secret[1]}"})
    assert caller.json()["scopes"] == ["send"]
    assert shown.headers["cache-control"] == "no-store"
    assert secret[1] not in await anna.get("/tokens")
    nothing = await anna.post("/tokens", name="laptop")
    assert (nothing.status_code, "scopes" in nothing.text) == (400, True)
    odd = await anna.post("/tokens", name="x", agent="tag:all", **{"scope-send": "1"})
    assert odd.status_code == 400
    assert (await anna.post("/approvals/1/decide", decision="maybe")).status_code == 400
    assert (await anna.post("/tasks/1/status", status="gone")).status_code == 400


async def test_numbers_and_words_nobody_would_ask_for_are_borne(room: Room) -> None:
    anna = await come_in(room)
    huge = 10**40
    for path in (
        "/dead?before=x",
        f"/dead?before={huge}",
        "/tasks?show=x&before=-1",
        "/plots?of=week",
        "/map?agent=%00",
    ):
        await anna.get(path)
    for path in (f"/tasks/{huge}", f"/messages/{huge}/explain", "/tasks/0"):
        await anna.get(path, status=404)
