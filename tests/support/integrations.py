"""Integrations as tests set them up, and receivers of callbacks that fail as they are told."""

import itertools
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import trio

from support.relay import Room, open_room
from trio_relay.core.integrations import Integration
from trio_relay.relay.callbacks import send_callbacks
from trio_relay.relay.service import RelayService
from trio_relay.settings import ServerSettings

HOOK = "https://ci.example/hook"
CI = Integration("ci", token="ci-token", callback_url=HOOK, callback_secret="ci-token")
ALERTS = Integration("alerts", token="alerts-token", targets=("tag:ops", "oncall-*"), channels=("prod",))


@asynccontextmanager
async def integrated_room(
    directory: Path, *integrations: Integration, **settings: Any
) -> AsyncIterator[Room]:
    """A room that knows these integrations (`CI` and `ALERTS`, if none are named)."""
    known = integrations or (CI, ALERTS)
    async with open_room(directory, ServerSettings(integrations=known, **settings)) as room:
        yield room


async def post_event(room: Room, token: str | None = CI.token, **fields: Any) -> httpx2.Response:
    """Post an event, as an integration does."""
    body = {
        "type": "build",
        "severity": "error",
        "dedupeKey": "build-7",
        "title": "the build is red",
        "body": "test_x fails",
        "target": "bob",
    }
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    wanted = {name: value for name, value in (body | fields).items() if value is not None}
    return await room.http("POST", "/api/integrations/events", json=wanted, headers=headers)


async def new_task(room: Room, **fields: Any) -> dict[str, Any]:
    """A task that was just asked for."""
    response = await post_event(room, **fields)
    assert response.status_code == 201, response.text
    task: dict[str, Any] = response.json()
    return task


async def task_now(room: Room, task_id: int) -> dict[str, Any]:
    """A task as it stands."""
    shown: dict[str, Any] = (await room.http("GET", f"/api/tasks/{task_id}")).json()
    return shown


async def history(room: Room, task_id: int) -> list[tuple[str, str, str | None]]:
    """What happened to a task: the kind, the status it had then, who did it."""
    lines = (await room.http("GET", f"/api/tasks/{task_id}/events")).json()
    return [(line["type"], line["status"], line["agentId"]) for line in lines]


async def callbacks_of(room: Room, task_id: int) -> list[dict[str, Any]]:
    """The callbacks about a task."""
    shown: list[dict[str, Any]] = (await room.http("GET", f"/api/tasks/{task_id}/callbacks")).json()
    return shown


@dataclass(frozen=True)
class Call:
    """One callback as a receiver saw it; `at` is trio's time."""

    at: float
    url: str
    body: dict[str, Any]
    raw: bytes
    headers: Mapping[str, str]

    @property
    def delivery(self) -> str:
        """The id that stays the same however often it is sent."""
        return self.headers["X-Trio-Relay-Delivery"]


@dataclass
class FakeReceivers:
    """Stands in for the HTTP client. `answers`, by URL: what to answer in turn, the last one for ever.

    An answer is a status, a kind of error, or seconds (a float) to take before answering 200.
    """

    answers: dict[str, list[int | str | float]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int | str:
        """Take a callback."""
        self.calls.append(Call(trio.current_time(), url, json.loads(body), body, headers))
        waiting = self.answers.get(url, [200])
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(answer, float):
            await trio.sleep(answer)
            return 200
        await trio.lowlevel.checkpoint()
        return answer

    def told(self, url: str = HOOK) -> list[tuple[str, str]]:
        """What a receiver heard, in order: event and status of the task."""
        return [(call.body["event"], call.body["task"]["status"]) for call in self.calls if call.url == url]


@asynccontextmanager
async def sending(
    service: RelayService, receivers: FakeReceivers, *, chance: float = 1.0
) -> AsyncIterator[trio.CancelScope]:
    """Send callbacks while the block runs. With `chance` 1 no pause is shortened."""
    async with trio.open_nursery() as nursery:
        draws = itertools.repeat(chance)
        nursery.start_soon(lambda: send_callbacks(service, receivers.post, chance=lambda: next(draws)))
        yield nursery.cancel_scope
        nursery.cancel_scope.cancel()
