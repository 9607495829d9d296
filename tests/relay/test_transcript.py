"""The exact calls, in order, that clients of the reference product (agent-relay 0.4.x) make, sent with plain HTTP.

Nothing of ours is used to send them: only paths, field names and status codes count. Each exchange is what such a
client sends and what it goes on with.
"""

from typing import Any

import pytest
import trio

from support.relay import Room

pytestmark = pytest.mark.parametrize("engine", ["sqlite", "postgres"])


class Wire:
    """A plain client: it knows paths and JSON, nothing else."""

    def __init__(self, room: Room, token: str | None = None) -> None:
        self._room = room
        self._headers = {"X-Agent-Relay-Token": token} if token else {}

    async def __call__(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, expect: int = 200
    ) -> Any:
        response = await self._room.http(method, f"/api{path}", json=body, headers=self._headers)
        assert response.status_code == expect, (method, path, response.status_code, response.text)
        return response.json()


CODEX = "host-codex-live-shop-0a1b2c3d"
CLAUDE = "host-claude-shop-99887766"


def registration(agent: str, instance: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "id": agent,
        "name": agent,
        "machine": "host",
        "rig": agent.split("-")[1],
        "tags": ["codex", "codex-live", "shop"],
        "capabilities": ["chat"],
        "status": "online",
        "meta": {"client": "codex", "threadId": "t", "cwd": "/shop", "channels": [], "profile": None},
        "someFieldOfAnOlderClient": True,
        **({"instanceId": instance} if instance else {}),
        **more,
    }


async def test_a_session_of_the_reference_codex_sidecar(room: Room) -> None:
    call = Wire(room)
    # start: register, take the cursor, report ready
    agent = await call("POST", "/agents", registration(CODEX, "run-1"), expect=201)
    session = {"instanceId": "run-1", "epoch": agent["epoch"]}
    assert {"id", "epoch", "status", "tags", "capabilities", "label", "meta"} <= agent.keys()
    cursor = (await call("GET", "/messages/cursor"))["latestId"]
    assert cursor == 0
    assert (await call("PATCH", f"/agents/{CODEX}/ready", {"ready": True, **session}))["ready"] is True
    assert (await call("PATCH", f"/agents/{CODEX}/status", {"status": "idle", **session}))["status"] == "idle"
    # heartbeats with and without a body
    await call("POST", f"/agents/{CODEX}/heartbeat", session)
    await call("POST", f"/agents/{CODEX}/heartbeat")
    # an empty poll, then a message to its tag
    assert await call("GET", f"/messages?for={CODEX}&unread=true&sinceId={cursor}") == []
    sent = await call(
        "POST", "/messages", {"from": "script", "to": "tag:shop", "body": "check", "subject": "S"}, expect=201
    )
    (message,) = await call("GET", f"/messages?for={CODEX}&unread=true&sinceId={cursor}")
    assert (message["id"], message["from"], message["body"], message["subject"]) == (
        sent["id"],
        "script",
        "check",
        "S",
    )
    assert message["threadId"] == message["id"]
    assert message["channel"] is None
    # a turn begins: busy; it is delivered: read
    await call("PATCH", f"/agents/{CODEX}/status", {"status": "busy", **session})
    await call("PATCH", f"/messages/{message['id']}", {"readBy": CODEX})
    assert await call("GET", f"/messages?for={CODEX}&unread=true&sinceId={cursor}") == []
    # claimable work: claim, renew on the heartbeat's beat
    work = await call(
        "POST", "/messages", {"from": "ci", "to": "cap:chat", "body": "fix", "claimable": True}, expect=201
    )
    claimed = await call("POST", f"/messages/{work['id']}/claim", {"agentId": CODEX, **session})
    assert claimed["claimedBy"] == CODEX
    assert claimed["claimExpiresAt"] > claimed["claimedAt"]
    await trio.sleep(30)
    renewed = await call("POST", f"/messages/{work['id']}/claim/renew", {"agentId": CODEX, **session})
    assert renewed["claimExpiresAt"] == claimed["claimExpiresAt"] + 30_000
    # the model answers with curl
    answer = await call(
        "POST",
        "/messages",
        {
            "from": CODEX,
            "to": "script",
            "body": "done",
            "replyTo": sent["id"],
            "meta": {"a": 1},
            "allowUnknown": True,
        },
        expect=201,
    )
    chain = await call("GET", f"/messages/{answer['id']}/thread")
    assert [each["id"] for each in chain] == [sent["id"], answer["id"]]
    # on the way out
    assert (await call("PATCH", f"/agents/{CODEX}/status", {"status": "offline", **session}))[
        "status"
    ] == "offline"


async def test_a_second_sidecar_takes_over_and_the_first_is_told(room: Room) -> None:
    call = Wire(room)
    first = await call("POST", "/agents", registration(CODEX, "run-1"), expect=201)
    second = await call("POST", "/agents", registration(CODEX, "run-2"), expect=201)
    assert second["epoch"] == first["epoch"] + 1
    old = {"instanceId": "run-1", "epoch": first["epoch"]}
    for method, path, body in (
        ("POST", f"/agents/{CODEX}/heartbeat", old),
        ("PATCH", f"/agents/{CODEX}/status", {"status": "offline", **old}),
        ("PATCH", f"/agents/{CODEX}/ready", {"ready": True, **old}),
    ):
        problem = await call(method, path, body, expect=409)
        assert problem["error"] == problem["detail"]
        assert problem["code"] == "stale_instance"
    assert (await call("GET", f"/agents/{CODEX}"))["status"] == "online"


async def test_a_heartbeat_of_an_agent_the_relay_forgot_is_404_and_it_registers_again(room: Room) -> None:
    call = Wire(room)
    await call("POST", f"/agents/{CODEX}/heartbeat", {}, expect=404)
    await call("POST", "/agents", registration(CODEX, "run-1"), expect=201)
    await call("POST", f"/agents/{CODEX}/heartbeat", {})


async def test_a_session_of_the_reference_claude_plugin(room: Room) -> None:
    call = Wire(room)
    await call("POST", "/agents", registration(CLAUDE, tags=["claude", "shop"]), expect=201)
    await call("PATCH", f"/agents/{CLAUDE}/status", {"status": "busy"})
    await call("PATCH", f"/agents/{CLAUDE}/ready", {"ready": True})
    await call("PATCH", f"/agents/{CLAUDE}/label", {"label": "backend"})
    await call("PATCH", f"/agents/{CLAUDE}/tags", {"add": ["db"], "remove": ["shop"]})
    agent = await call("GET", f"/agents/{CLAUDE}")
    assert (agent["label"], agent["tags"], agent["ready"], agent["status"]) == (
        "backend",
        ["claude", "db"],
        True,
        "busy",
    )
    sent = await call(
        "POST", "/messages", {"from": "person", "to": "label:backend", "body": "hello"}, expect=201
    )
    (message,) = await call("GET", f"/messages?for={CLAUDE}&unread=true")
    assert message["id"] == sent["id"]
    await call("PATCH", f"/messages/{sent['id']}", {"readBy": CLAUDE})
    await call("PATCH", f"/agents/{CLAUDE}/label", {"label": None})
    assert (await call("GET", f"/agents/{CLAUDE}"))["label"] is None
    assert [each["id"] for each in await call("GET", "/agents?tag=db")] == [CLAUDE]
    await call("DELETE", f"/agents/{CLAUDE}")
    await call("GET", f"/agents/{CLAUDE}", expect=404)


async def test_scripts_of_the_reference_client(room: Room) -> None:
    call = Wire(room)
    await call("POST", "/agents", registration(CODEX, "run-1"), expect=201)
    await call(
        "POST", "/messages", {"from": "s", "to": "broadcast", "body": "all", "channel": "ops"}, expect=201
    )
    one = await call(
        "POST", "/messages", {"from": "s", "to": CODEX, "body": "one", "type": "note"}, expect=201
    )
    assert [each["body"] for each in await call("GET", "/messages?channel=ops")] == ["all"]
    assert [each["body"] for each in await call("GET", f"/messages?to={CODEX}&limit=5")] == ["one"]
    assert [each["body"] for each in await call("GET", f"/messages?from=s&before={one['id']}")] == ["all"]
    assert (await call("GET", f"/messages/{one['id']}"))["type"] == "note"
    problem = await call("POST", f"/messages/{one['id']}/claim", {"agentId": CODEX}, expect=400)
    assert problem["code"] == "not_claimable"
    await call("POST", "/messages/999/claim", {"agentId": CODEX}, expect=404)
    await call("DELETE", f"/messages/{one['id']}")
    await call("GET", f"/messages/{one['id']}", expect=404)
    stats = await call("GET", "/stats")
    assert stats["messages"] == 1
    assert {"version", "uptimeMs", "agents"} <= stats.keys()


async def test_a_pair_of_the_reference_clients(room: Room) -> None:
    call = Wire(room)
    for agent in (CODEX, CLAUDE):
        await call("POST", "/agents", registration(agent, tags=[agent.split("-")[1]]), expect=201)
        await call("PATCH", f"/agents/{agent}/ready", {"ready": True})
        await call("PATCH", f"/agents/{agent}/status", {"status": "idle"})
    pair = await call(
        "POST", "/pairs", {"from": CLAUDE, "target": "codex", "objective": "Debug flaky tests"}, expect=201
    )
    await call("POST", "/pairs", {"from": CLAUDE, "target": "codex"}, expect=409)
    assert [each["id"] for each in await call("GET", f"/pairs?agent={CODEX}")] == [pair["id"]]
    await call("POST", f"/pairs/{pair['id']}/accept", {"agentId": CODEX})
    said = await call("POST", f"/pairs/{pair['id']}/messages", {"from": CODEX, "body": "on it"}, expect=201)
    assert said["meta"]["pairId"] == pair["id"]
    inbox = await call("GET", f"/messages?for={CLAUDE}&unread=true")
    assert "on it" in [each["body"] for each in inbox]
    ended = await call("POST", f"/pairs/{pair['id']}/hangup", {"agentId": CODEX})
    assert ended["status"] in {"ended", "closed", "hungup"}
