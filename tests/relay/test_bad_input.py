"""Bad input to the real relay over a real connection: a problem document with its code and field, never a 5xx."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from support.raw_http import Answer, RawClient, raw_client, request
from support.relay import Room, open_room
from support.serving import serving
from trio_relay.core.wire import AgentRegistration
from trio_relay.settings import ServerSettings

TOKEN = "a-token-of-the-tests"
AUTHORIZED = f"Authorization: Bearer {TOKEN}"
JSON = "Content-Type: application/json"
MIB = 1024 * 1024
STALE = {"instanceId": "first", "epoch": 1}


@dataclass
class Live:
    """The relay behind a listening socket; `ann` has been registered twice, so that her first instance is stale."""

    url: str
    room: Room

    async def ask(self, *sent: bytes) -> Answer:
        """Send pieces of one request; the server's answer may come before the last."""
        async with raw_client(self.url) as client:
            return await answer_to(client, *sent)


async def answer_to(client: RawClient, *sent: bytes) -> Answer:
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            for piece in sent:
                await client.send_anyway(piece)

        nursery.start_soon(send)
        return await client.read_answer()
    raise AssertionError


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    async with open_room(tmp_path, ServerSettings(token=TOKEN)) as room:
        for instance in ("first", "second"):
            await room.relay.register(AgentRegistration(id="ann", instance_id=instance))
        async with serving(room.app, on_stop=room.service.hub.close) as served:
            yield Live(served.url, room)


def call(method: str, path: str, body: Any = None, *headers: str) -> bytes:
    """A request with the token; `body` is sent as JSON unless it is bytes already."""
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return request(method, path, AUTHORIZED, JSON, *headers, body=raw)


def message(**changes: Any) -> dict[str, Any]:
    """A message that would be accepted, but for `changes`; an ellipsis leaves a field out."""
    fields = {"from": "script", "to": "ann", "body": "hello", "allowUnknown": True} | changes
    return {name: value for name, value in fields.items() if value is not ...}


@dataclass(frozen=True)
class Bad:
    """A request that cannot be meant. `path`: the field the answer must name, if any."""

    name: str
    sent: bytes
    status: int
    code: str
    path: str | None = None
    also: dict[str, str] = field(default_factory=dict)


def _send(name: str, path: str | None, **changes: Any) -> Bad:
    return Bad(name, call("POST", "/api/messages", message(**changes)), 400, "invalid", path)


def _query(text: str, path: str) -> Bad:
    return Bad(f"query {text}", call("GET", f"/api/messages?{text}"), 400, "invalid", path)


BAD = (
    Bad("nothing for a body", call("POST", "/api/messages"), 400, "malformed_json"),
    Bad("not JSON", call("POST", "/api/messages", b"{from: me}"), 400, "malformed_json"),
    Bad("half of it", call("POST", "/api/messages", b'{"from": "a'), 400, "malformed_json"),
    Bad("two of it", call("POST", "/api/messages", json.dumps(message()).encode() * 2), 400, "malformed_json"),
    Bad("not UTF-8", call("POST", "/api/messages", b'{"from": "\xff"}'), 400, "malformed_json"),
    Bad("200,000 lists", call("POST", "/api/messages", b"[" * 200_000), 400, "invalid"),
    Bad("200,000 lists in meta", call("POST", "/api/messages", b'{"meta": {"a": ' + b"[" * 200_000), 400, "malformed_json"),
    Bad("a list", call("POST", "/api/messages", []), 400, "invalid"),
    Bad("null", call("POST", "/api/messages", b"null"), 400, "invalid"),
    _send("body is a number", "body", body=5),
    _send("body is missing", "body", body=...),
    _send("to is missing", "to", to=...),
    _send("to is empty", "to", to=""),
    _send("to is null", "to", to=None),
    _send("from is very long", "from", **{"from": "x" * 1000}),
    _send("replyTo is text", "replyTo", replyTo="5"),
    _send("replyTo is zero", "replyTo", replyTo=0),
    _send("replyTo is beyond the store", "replyTo", replyTo=2**63),
    _send("replyTo is a fraction", "replyTo", replyTo=1.5),
    _send("claimable is text", "claimable", claimable="yes"),
    _send("meta is a list", "meta", meta=[]),
    _query("limit=zero", "limit"),
    _query("limit=0", "limit"),
    _query("for=ann&wait=61", "wait"),
    _query("for=ann&wait=nan", "wait"),
    _query("for=ann&wait=-1", "wait"),
    _query("for=ann&sinceId=99999999999999999999", "sinceId"),
    _query("for=ann&state=asleep", "state"),
    Bad("agent without id", call("POST", "/api/agents", {"name": "x"}), 400, "invalid", "id"),
    Bad("tags that are no list", call("POST", "/api/agents", {"id": "x", "tags": "a,b"}), 400, "invalid", "tags"),
    Bad("a tag that is no text", call("POST", "/api/agents", {"id": "x", "tags": ["a", 5]}), 400, "invalid", "tags[1]"),
    Bad("status unknown", call("PATCH", "/api/agents/ann/status", {"status": "asleep"}), 400, "invalid", "status"),
    Bad("epoch is text", call("POST", "/api/agents/ann/heartbeat", {"epoch": "1"}), 400, "invalid", "epoch"),
    Bad("unknown agent", call("POST", "/api/agents/nobody/heartbeat", {}), 404, "unknown_agent"),
    Bad("unknown recipient", call("POST", "/api/messages", message(to="nobody", allowUnknown=False)), 404, "unknown_recipient"),
    Bad("unknown message", call("GET", "/api/messages/7"), 404, "unknown_message"),
    Bad("a message id beyond the store", call("GET", f"/api/messages/{10**30}"), 404, "unknown_message"),
    Bad("a message id that is none", call("GET", "/api/messages/x"), 404, "no_such_route"),
    Bad("no such route", call("GET", "/api/nowhere"), 404, "no_such_route"),
    Bad("wrong method", call("PUT", "/api/messages", {}), 405, "method_not_allowed"),
    Bad("stale instance", call("POST", "/api/agents/ann/heartbeat", STALE), 409, "stale_instance"),
    Bad("stale instance sets a status", call("PATCH", "/api/agents/ann/status", STALE | {"status": "idle"}), 409, "stale_instance"),
    Bad("no token", request("GET", "/api/agents"), 401, "token_required"),
    Bad("bad token", request("GET", "/api/agents", "Authorization: Bearer wrong"), 401, "bad_token"),
    Bad("token not ASCII", request("GET", "/api/agents", "X-Agent-Relay-Token: \xff"), 401, "bad_token"),
    Bad("empty token", request("GET", "/api/agents", "Authorization: Bearer "), 401, "token_required"),
    Bad("another kind of token", request("GET", "/api/agents", f"Authorization: Basic {TOKEN}"), 401, "token_required"),
    Bad("foreign page", call("GET", "/api/agents", None, "Origin: http://evil.test"), 403, "origin_refused"),
    Bad("2 MiB", call("POST", "/api/messages", message(body="x" * 2 * MIB)), 413, "body_too_large"),
    Bad("2 MiB in chunks", request("POST", "/api/messages", AUTHORIZED, JSON, "Transfer-Encoding: chunked")
        + b"200000\r\n" + bytes(2 * MIB), 413, "body_too_large"),
    Bad("a header of 100 KB", call("GET", "/api/agents", None, "X: " + "x" * 100_000), 431, "headers_too_large"),
    Bad("a path of 100 KB", call("GET", "/api/agents/" + "x" * 100_000), 431, "headers_too_large"),
)  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
async def test_it_is_answered_with_the_reason(live: Live, bad: Bad) -> None:
    answer = await live.ask(bad.sent)
    assert answer.status == bad.status, answer.body
    problem = answer.problem()
    assert problem["code"] == bad.code
    if bad.path is not None:
        assert [error["path"] for error in problem["errors"]] == [bad.path]
        assert problem["errors"][0]["message"]
    assert TOKEN not in answer.body.decode()
    assert (await live.ask(call("GET", "/api/agents/ann"))).status == 200


async def test_a_body_that_breaks_off_is_answered_400(live: Live) -> None:
    async with raw_client(live.url) as client:
        await client.send(call("POST", "/api/messages", message())[:-3])
        await client.stream.send_eof()
        answer = await client.read_answer()
        assert (answer.status, answer.problem()["code"]) == (400, "bad_request")
    assert await live.room.relay.browse() == []


async def test_a_client_that_vanishes_in_the_middle_of_a_body_leaves_nothing_behind(live: Live) -> None:
    async with raw_client(live.url) as client:
        await client.send(call("POST", "/api/messages", message())[:-3])
        client.reset()
    assert (await live.ask(call("GET", "/api/agents/ann"))).status == 200
    assert await live.room.relay.browse() == []


async def test_the_body_limit_is_a_mebibyte_and_can_be_changed(tmp_path: Path) -> None:
    overhead = len(json.dumps(message(body="")))
    for settings, limit in (
        (ServerSettings(token=TOKEN), MIB),
        (ServerSettings(token=TOKEN, max_body=1000), 1000),
    ):
        directory = tmp_path / str(limit)
        directory.mkdir()
        async with open_room(directory, settings) as room:
            await room.relay.register(AgentRegistration(id="ann"))
            async with serving(room.app, on_stop=room.service.hub.close) as served:
                live = Live(served.url, room)
                fits = call("POST", "/api/messages", message(body="x" * (limit - overhead)))
                accepted = await live.ask(fits)
                assert accepted.status == 201, accepted.body[-500:]
                too_much = call("POST", "/api/messages", message(body="x" * (limit - overhead + 1)))
                assert (await live.ask(too_much)).problem()["code"] == "body_too_large"


async def test_without_a_token_another_host_name_is_refused(tmp_path: Path) -> None:
    # What a web page sends that has its own name resolve to this machine.
    async with (
        open_room(tmp_path) as room,
        serving(room.app, on_stop=room.service.hub.close) as served,
        raw_client(served.url) as client,
    ):
        answer = await client.get("/api/agents")
        assert (answer.status, answer.problem()["code"]) == (403, "host_refused")
