"""Programs outside ask for work: what makes a task, what is counted on one, what is refused."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from support.integrations import ALERTS, CI, history, integrated_room, new_task, post_event, task_now
from support.relay import Room
from support.talk import join, paths, refusal
from trio_relay.core.integrations import Integration
from trio_relay.core.model import Authority


@pytest.fixture
async def room(tmp_path: Path, autojump_clock: Any) -> AsyncIterator[Room]:
    async with integrated_room(tmp_path) as opened:
        await join(opened, "bob", tags=["ops"])
        yield opened


async def test_an_event_makes_a_task_and_one_claimable_message(room: Room) -> None:
    task = await new_task(room, metadata={"run": 7}, externalUrl="https://ci.example/7")
    assert task == task | {
        "source": "ci",
        "type": "build",
        "severity": "error",
        "dedupeKey": "build-7",
        "title": "the build is red",
        "body": "test_x fails",
        "target": "bob",
        "channel": None,
        "status": "open",
        "occurrenceCount": 1,
        "metadata": {"run": 7},
        "externalUrl": "https://ci.example/7",
        "claimedBy": None,
        "result": None,
    }
    (message,) = await room.relay.inbox("bob")
    assert (message.id, message.sender, message.type, message.claimable) == (
        task["messageId"],
        "system",
        "task",
        True,
    )
    assert (message.subject, message.body) == ("the build is red", "test_x fails")
    assert message.authority == Authority.INTEGRATION
    assert message.meta == {
        "taskId": task["id"],
        "source": "ci",
        "severity": "error",
        "eventType": "build",
        "externalUrl": "https://ci.example/7",
    }
    assert await history(room, task["id"]) == [("created", "open", None)]


async def test_the_same_thing_is_counted_on_the_active_task(room: Room) -> None:
    task = await new_task(room)
    await trio.sleep(60)
    again = await post_event(room, title="still red", severity="critical")
    assert again.status_code == 200
    assert again.json() == task | {
        "occurrenceCount": 2,
        "lastSeenAt": task["lastSeenAt"] + 60_000,
        "updatedAt": task["updatedAt"] + 60_000,
    }
    assert await history(room, task["id"]) == [("created", "open", None), ("repeated", "open", None)]
    assert len(await room.relay.inbox("bob")) == 1


async def test_another_source_or_key_is_another_task(room: Room) -> None:
    first = await new_task(room)
    assert (await new_task(room, dedupeKey="build-8"))["id"] != first["id"]
    other = await post_event(room, token=ALERTS.token, target="tag:ops")
    assert (other.status_code, other.json()["source"]) == (201, "alerts")
    without = [(await new_task(room, dedupeKey=None))["id"] for _ in range(2)]
    assert len(set(without)) == 2


async def test_of_many_equal_events_at_once_one_makes_a_task(room: Room) -> None:
    statuses: list[int] = []

    async def post() -> None:
        statuses.append((await post_event(room)).status_code)

    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(post)
    assert sorted(statuses) == [200] * 29 + [201]
    (task,) = (await room.http("GET", "/api/tasks")).json()
    assert task["occurrenceCount"] == 30


async def test_resolved_ends_the_task_and_lets_its_message_go(room: Room) -> None:
    task = await new_task(room)
    resolved = await post_event(room, status="resolved")
    assert (resolved.status_code, resolved.json()["status"]) == (200, "done")
    assert resolved.json()["result"] == {"resolvedBy": "ci"}
    assert await room.relay.inbox("bob") == []
    again = await post_event(room, status="resolved")
    assert (again.status_code, again.json()) == (200, resolved.json())
    assert (await new_task(room))["id"] != task["id"]


async def test_resolved_without_a_task_is_written_down_and_asks_for_nothing(room: Room) -> None:
    task = await new_task(room, status="resolved")
    assert (task["status"], task["messageId"]) == ("done", None)
    assert await room.relay.inbox("bob") == []


async def test_the_history_of_a_flapping_thing_stays_bounded(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_relay.relay.operations.integrations.KEPT_REPEATS", 3)
    task = await new_task(room)
    for _ in range(9):
        await post_event(room)
    assert [kind for kind, *_ in await history(room, task["id"])] == ["created"] + ["repeated"] * 3
    assert (await task_now(room, task["id"]))["occurrenceCount"] == 10


async def test_an_event_for_nobody_yet_waits(room: Room) -> None:
    task = await new_task(room, target="late")
    await join(room, "late")
    (message,) = await room.relay.inbox("late")
    assert message.meta["taskId"] == task["id"]


@pytest.mark.parametrize(
    ("fields", "status", "code", "path"),
    [
        ({"target": "bob"}, 403, "target_refused", "target"),
        ({"target": "broadcast"}, 403, "target_refused", "target"),
        ({"target": "tag:opsy"}, 403, "target_refused", "target"),
        ({"target": "oncall"}, 403, "target_refused", "target"),
        ({"target": None}, 400, "invalid", "target"),
        ({"channel": "dev"}, 403, "channel_refused", "channel"),
        ({"title": ""}, 400, "invalid", "title"),
        ({"title": None}, 400, "invalid", "title"),
        ({"metadata": {"a": "x" * 70_000}}, 400, "invalid", "metadata"),
        ({"externalUrl": "javascript:alert(1)"}, 400, "invalid", "externalUrl"),
        ({"externalUrl": "http://["}, 400, "invalid", "externalUrl"),
        ({"dedupeKey": ""}, 400, "invalid", "dedupeKey"),
        ({"dedupeKey": None, "status": "resolved"}, 400, "invalid", "dedupeKey"),
        ({"severity": 5}, 400, "invalid", "severity"),
    ],
)
async def test_what_an_integration_may_not_say_is_refused_by_field(
    room: Room, fields: dict[str, Any], status: int, code: str, path: str
) -> None:
    problem = refusal(await post_event(room, ALERTS.token, **({"target": "tag:ops"} | fields)))
    assert (problem.status, problem.code, paths(problem)) == (status, code, [path])
    assert (await room.http("GET", "/api/tasks")).json() == []
    assert await room.relay.browse() == []


@pytest.mark.parametrize("target", ["tag:ops", " tag: ops ", "oncall-7", "oncall-"])
async def test_targets_on_the_list_are_reached(room: Room, target: str) -> None:
    assert (
        await post_event(room, ALERTS.token, target=target, channel="prod", dedupeKey=target)
    ).status_code == 201


async def test_the_only_target_need_not_be_said(tmp_path: Path, autojump_clock: Any) -> None:
    only = Integration("only", token="t", targets=("tag:ops",))
    async with integrated_room(tmp_path, only) as room:
        response = await post_event(room, "t", target=None)
        assert (response.status_code, response.json()["target"]) == (201, "tag:ops")


async def test_scopes_that_do_not_allow_events_refuse_them(tmp_path: Path, autojump_clock: Any) -> None:
    async with integrated_room(tmp_path, Integration("ro", token="t", scopes=("observe",))) as room:
        problem = refusal(await post_event(room, "t"))
        assert (problem.status, problem.code) == (403, "scope_missing")


@pytest.mark.parametrize("shared", [None, "shared-token"])
async def test_tokens_reach_their_own_side_only(
    tmp_path: Path, autojump_clock: Any, shared: str | None
) -> None:
    async with integrated_room(tmp_path, token=shared) as room:
        headers = {"Authorization": f"Bearer {CI.token}"}
        for method, path in [("GET", "/api/agents"), ("GET", "/api/tasks"), ("POST", "/api/messages")]:
            problem = refusal(await room.http(method, path, headers=headers))
            assert (problem.status, problem.code) == (403, "integration_only")
        for token, code in [(None, "token_required"), ("shared-token", "bad_token"), ("ci", "bad_token")]:
            problem = refusal(await post_event(room, token))
            assert (problem.status, problem.code) == (401, code)
        assert (await post_event(room)).status_code == 201


async def test_a_minted_token_with_the_scope_may_post_events(room: Room) -> None:
    minted = {
        scope: (await room.http("POST", "/api/tokens", json={"scopes": [scope]})).json()
        for scope in ("integrate", "send", "admin")
    }
    task = (await post_event(room, minted["integrate"]["token"])).json()
    assert task["source"] == f"token {minted['integrate']['id']}"
    for scope in ("send", "admin"):
        assert refusal(await post_event(room, minted[scope]["token"])).code == "bad_token"


async def test_too_many_events_in_a_minute_wait(tmp_path: Path, autojump_clock: Any) -> None:
    async with integrated_room(tmp_path, integration_rate_limit=3) as room:
        for second in (0, 20, 20):
            await trio.sleep(second)
            assert (await post_event(room)).status_code in (200, 201)
        response = await post_event(room)
        assert (refusal(response).status, refusal(response).code) == (429, "rate_limited")
        assert response.headers["Retry-After"] == "20"
        # Each integration has a limit of its own.
        assert (await post_event(room, ALERTS.token, target="tag:ops")).status_code == 201
        await trio.sleep(19.9)
        assert (await post_event(room)).status_code == 429
        await trio.sleep(0.1)
        assert (await post_event(room)).status_code == 200
        assert (await post_event(room)).status_code == 429


async def test_refused_events_count_too(tmp_path: Path, autojump_clock: Any) -> None:
    async with integrated_room(tmp_path, integration_rate_limit=2) as room:
        statuses = [(await post_event(room, title="")).status_code for _ in range(3)]
        assert statuses == [400, 400, 429]
