"""From a delivery to the task, with the relay there and away. In virtual time."""

import errno
import hashlib
import hmac
import itertools
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
import trio
from structlog.testing import capture_logs

from support.relay import Room, inline, open_room
from trio_relay.client import tasks
from trio_relay.client.http import RelayClient
from trio_relay.connectors import spool as spool_module
from trio_relay.connectors.alertmanager import alertmanager
from trio_relay.connectors.delivery import Check, bearer, signature
from trio_relay.connectors.github import github
from trio_relay.connectors.receiver import Connector, application, post_all
from trio_relay.connectors.spool import Spool, owned
from trio_relay.core.integrations import Integration
from trio_relay.core.tasks import TaskStatus
from trio_relay.core.wire_tasks import IntegrationEvent, Task
from trio_relay.errors import Refused, Unavailable
from trio_relay.settings import ServerSettings

PAYLOADS = Path(__file__).parent / "payloads"
ALERTS = (PAYLOADS / "alertmanager.json").read_bytes()
JSON = {"Content-Type": "application/json"}
OPS = Integration(name="ops", token="ops-token", targets=("tag:ops",))


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path, ServerSettings(integrations=(OPS,))) as opened:
        yield opened


def taking_alerts(check: Check | None = None) -> Connector:
    return Connector(alertmanager(target=None, channel=None), check, largest=10_000)


@asynccontextmanager
async def connected(
    room: Room, path: Path, connector: Connector, token: str = "ops-token"
) -> AsyncIterator[tuple[httpx2.AsyncClient, Spool]]:
    """Run a connector beside the relay; posts to it go through memory."""
    kept = Spool(path / "spool", run_sync=inline)
    transport = httpx2.ASGITransport(cast("Any", application(connector, kept)))
    async with (
        RelayClient.open("http://127.0.0.1:4850", token, transport=room.transport) as relay,
        httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:4860") as http,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(post_all, kept, relay, lambda: itertools.repeat(5.0))
        yield http, kept
        nursery.cancel_scope.cancel()


async def known(room: Room) -> list[Task]:
    await trio.testing.wait_all_tasks_blocked()
    return await tasks.list_tasks(room.relay)


async def test_alerts_become_tasks_once_and_end_when_they_are_resolved(
    room: Room, tmp_path: Path, autojump_clock: Any
) -> None:
    async with connected(room, tmp_path, taking_alerts()) as (http, kept):
        answer = await http.post("/", content=ALERTS, headers=JSON)
        assert (answer.status_code, answer.json()) == (202, {"events": 2})
        await http.post("/", content=ALERTS, headers=JSON)
        over, active = sorted(await known(room), key=lambda task: task.status)
        assert (over.status, active.status) == (TaskStatus.DONE, TaskStatus.OPEN)
        assert (active.target, active.title, active.occurrence_count) == (
            "tag:ops",
            "Disk of db1 is almost full",
            2,
        )
        resolved = ALERTS.replace(b'"status": "firing"', b'"status": "resolved"')
        await http.post("/", content=resolved, headers=JSON)
        assert {task.status for task in await known(room)} == {TaskStatus.DONE}
        assert (await http.get("/healthz")).json() == {"status": "ok", "waiting": 0}
        assert kept.waiting == 0


async def test_what_was_taken_waits_for_the_relay_also_over_a_restart(
    room: Room, tmp_path: Path, autojump_clock: Any
) -> None:
    room.transport.broken = True
    async with connected(room, tmp_path, taking_alerts()) as (http, kept):
        assert (await http.post("/", content=ALERTS, headers=JSON)).status_code == 202
        await trio.sleep(600)
        assert (await http.get("/healthz")).json()["waiting"] == kept.waiting == 2
    async with connected(room, tmp_path, taking_alerts()) as (_, kept):
        assert kept.waiting == 2
        room.transport.broken = False
        await trio.sleep(6)
        assert kept.waiting == 0
    assert len(await known(room)) == 2
    assert list((tmp_path / "spool").glob("*.json")) == []


async def test_a_token_the_relay_does_not_know_loses_nothing(
    room: Room, tmp_path: Path, autojump_clock: Any
) -> None:
    with capture_logs() as logs:
        async with connected(room, tmp_path, taking_alerts(), token="another") as (http, kept):
            await http.post("/", content=ALERTS, headers=JSON)
            await trio.sleep(600)
            assert kept.waiting == 2
    assert [line["event"] for line in logs].count("events wait") == 1
    async with connected(room, tmp_path, taking_alerts()) as (_, kept):
        await trio.sleep(6)
        assert kept.waiting == 0


async def test_what_the_relay_refuses_is_put_aside_and_the_rest_goes_on(
    room: Room, tmp_path: Path, autojump_clock: Any
) -> None:
    elsewhere = Connector(alertmanager(target="tag:sales", channel=None), None)
    async with connected(room, tmp_path, elsewhere) as (http, kept):
        await http.post("/", content=ALERTS, headers=JSON)
        await trio.sleep(1)
        assert kept.waiting == 0
    assert {task.target for task in await known(room)} == set()
    put_aside = [json.loads(file.read_text()) for file in (tmp_path / "spool/refused").iterdir()]
    assert len(put_aside) == 2
    assert all("target" in one["reason"] for one in put_aside)
    assert put_aside[0]["event"]["type"] == "alert"


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (ALERTS, {}, 401, "bad_secret"),
        (ALERTS, {"Authorization": "Bearer wrong"}, 401, "bad_secret"),
        (ALERTS, {"Authorization": "Bearer s3cret", "Content-Type": "text/plain"}, 415, "not_json"),
        (b"{", {"Authorization": "Bearer s3cret"}, 400, "malformed_json"),
        (b"[" * 9_000, {"Authorization": "Bearer s3cret"}, 400, "malformed_json"),
        (b"\xff", {"Authorization": "Bearer s3cret"}, 400, "malformed_json"),
        (b"[]", {"Authorization": "Bearer s3cret"}, 422, "not_understood"),
        (b'{"version": "4"}', {"Authorization": "Bearer s3cret"}, 422, "not_understood"),
        (b" " * 10_001, {"Authorization": "Bearer s3cret"}, 413, "too_large"),
    ],
)
async def test_a_delivery_that_will_not_do_is_told_why_and_leaves_nothing(
    room: Room,
    tmp_path: Path,
    content: bytes,
    headers: dict[str, str],
    status: int,
    code: str,
    autojump_clock: Any,
) -> None:
    with capture_logs() as logs:
        async with connected(room, tmp_path, taking_alerts(bearer("s3cret"))) as (http, kept):
            answer = await http.post("/", content=content, headers=JSON | headers)
            assert (answer.status_code, answer.json()["code"]) == (status, code)
            assert answer.headers["content-type"] == "application/problem+json"
            assert kept.waiting == 0
    assert "s3cret" not in str(logs)
    assert "db1" not in str(logs)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/", 405), ("POST", "/other", 404)])
async def test_there_is_one_place_for_deliveries(
    room: Room, tmp_path: Path, method: str, path: str, status: int, autojump_clock: Any
) -> None:
    async with connected(room, tmp_path, taking_alerts()) as (http, _):
        assert (await http.request(method, path)).status_code == status


async def test_an_issue_that_is_signed_becomes_a_task(
    room: Room, tmp_path: Path, autojump_clock: Any
) -> None:
    signed = signature("s3cret", header="X-Hub-Signature-256", prefix="sha256=")
    body = (PAYLOADS / "github-issues-opened.json").read_bytes()
    headers = JSON | {
        "X-GitHub-Event": "issues",
        "X-Hub-Signature-256": "sha256=" + hmac.new(b"s3cret", body, hashlib.sha256).hexdigest(),
    }
    connector = Connector(github(target=None, channel=None), signed)
    async with connected(room, tmp_path, connector) as (http, _):
        assert (await http.post("/", content=body + b" ", headers=headers)).status_code == 401
        assert await known(room) == []
        assert (await http.post("/", content=body, headers=headers)).status_code == 202
        (task,) = await known(room)
        assert (task.source, task.type, task.status) == ("ops", "issue", TaskStatus.OPEN)
        ping = b'{"zen": "Design for failure."}'
        proof = "sha256=" + hmac.new(b"s3cret", ping, hashlib.sha256).hexdigest()
        answer = await http.post(
            "/", content=ping, headers=JSON | {"X-GitHub-Event": "ping", "X-Hub-Signature-256": proof}
        )
        assert (answer.status_code, answer.json()) == (200, {"events": 0})


async def test_when_too_much_waits_nothing_more_is_taken(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: Any
) -> None:
    monkeypatch.setattr(spool_module, "FULL", 3)
    room.transport.broken = True
    async with connected(room, tmp_path, taking_alerts()) as (http, kept):
        assert (await http.post("/", content=ALERTS, headers=JSON)).status_code == 202
        answer = await http.post("/", content=ALERTS, headers=JSON)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
        assert kept.waiting == 2


async def test_what_a_crash_left_half_written_is_no_event(tmp_path: Path) -> None:
    Spool(tmp_path)
    (tmp_path / ".00000000000000000001-aaaaaaaa.json").write_bytes(b'{"type": "al')
    kept = Spool(tmp_path, run_sync=inline)
    assert (kept.waiting, await kept.first()) == (0, None)
    assert [one.name for one in tmp_path.iterdir()] == ["refused"]


async def test_what_cannot_be_read_back_does_not_stop_what_can(tmp_path: Path) -> None:
    Spool(tmp_path)
    (tmp_path / "00000000000000000001-aaaaaaaa.json").write_bytes(b"\xff{")
    (tmp_path / "00000000000000000002-bbbbbbbb.json").write_text("{}")
    kept = Spool(tmp_path, run_sync=inline)
    (tmp_path / "00000000000000000002-bbbbbbbb.json").unlink()
    await kept.put([IntegrationEvent(title="Disk full")])
    found = await kept.first()
    assert found is not None
    assert found[1].title == "Disk full"
    (tmp_path / found[0]).unlink()
    await kept.done(found[0])
    assert (kept.waiting, await kept.first()) == (0, None)
    (aside,) = (tmp_path / "refused").iterdir()
    assert json.loads(aside.read_text())["reason"] == "it cannot be read"


async def test_a_disk_that_is_full_is_said_and_nothing_is_left_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Spool(tmp_path, run_sync=inline)
    written = iter([None])

    def full(file: int) -> None:
        if next(written, "full") == "full":
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left"):
        await kept.put([IntegrationEvent(title="one"), IntegrationEvent(title="two")])
    assert kept.waiting == 0
    assert [one.name for one in tmp_path.iterdir()] == ["refused"]


def test_a_spool_is_of_one_connector(tmp_path: Path) -> None:
    with owned(tmp_path / "spool"), pytest.raises(Refused, match="--spool"), owned(tmp_path / "spool"):
        pass
    with owned(tmp_path / "spool"):
        pass
