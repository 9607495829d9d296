"""Errors on the wire: each code with its status, the field at fault, and never a word of what was said."""

import logging
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import structlog

from support.relay import Room
from support.talk import join, paths, refusal, say
from trio_relay.core.model import Rung
from trio_relay.errors import (
    Conflict,
    ConnectionLost,
    FieldError,
    Invalid,
    LeaseLost,
    NotFound,
    RateLimited,
    Refused,
    RelayError,
    StaleInstance,
    StoreInUse,
    Unauthorized,
    Unavailable,
)
from trio_relay.relay.operations import messages
from trio_relay.relay.web.problems import invalid, status_of

SECRET = "the-body-nobody-may-see"
TOKEN = "the-token-nobody-may-see"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Invalid("d"), 400, "invalid"),
        (Unauthorized("d"), 401, "unauthorized"),
        (Refused("d"), 403, "refused"),
        (NotFound("d"), 404, "not_found"),
        (Conflict("d"), 409, "conflict"),
        (StaleInstance("d"), 409, "stale_instance"),
        (LeaseLost("d"), 409, "lease_lost"),
        (RateLimited("d", retry_after=1), 429, "rate_limited"),
        (StoreInUse("d"), 500, "store_in_use"),
        (ConnectionLost("d"), 502, "connection_lost"),
        (Unavailable("d"), 503, "unavailable"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, RelayError) else str(value),
)
def test_every_error_has_its_status(error: RelayError, status: int, code: str) -> None:
    assert (status_of(error), error.code) == (status, code)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "fields"),
    [
        ("POST", "/api/agents", {}, 400, "invalid", ["id"]),
        ("POST", "/api/messages", {"from": "a", "to": "bob", "body": 5}, 400, "invalid", ["body"]),
        ("POST", "/api/messages", {"from": "a", "to": "x", "body": ""}, 404, "unknown_recipient", ["to"]),
        (
            "POST",
            "/api/messages",
            {"from": "a", "to": "bob", "body": "", "replyTo": 9},
            404,
            "unknown_reply_to",
            ["replyTo"],
        ),
        ("POST", "/api/messages", {"from": "bob", "to": "bob", "body": ""}, 400, "own_message", ["to"]),
        ("GET", "/api/messages/9", None, 404, "unknown_message", []),
        ("GET", "/api/messages/9/thread", None, 404, "unknown_message", []),
        ("GET", "/api/messages/9/receipts", None, 404, "unknown_message", []),
        ("PATCH", "/api/messages/1", {}, 400, "invalid", ["readBy"]),
        ("PATCH", "/api/messages/1", {"readBy": "ghost"}, 404, "not_a_recipient", []),
        ("POST", "/api/messages/1/claim", {"agentId": "bob"}, 400, "not_claimable", []),
        ("POST", "/api/messages/1/claim", {"agentId": "ghost"}, 400, "not_claimable", []),
        ("POST", "/api/messages/1/receipts", {"agentId": "bob"}, 400, "invalid", ["state"]),
        ("POST", "/api/messages/1/receipts", {"agentId": "bob", "state": "seen"}, 400, "invalid", ["state"]),
        ("POST", "/api/agents/ghost/heartbeat", {}, 404, "unknown_agent", []),
        ("POST", "/api/agents/bob/heartbeat", {"epoch": 7}, 409, "stale_instance", []),
        ("POST", "/api/agents/bob/heartbeat", {"epoch": "1"}, 400, "invalid", ["epoch"]),
        ("PATCH", "/api/agents/bob/status", {"status": "gone"}, 400, "invalid", ["status"]),
        ("GET", "/api/nothing", None, 404, "no_such_route", []),
        ("PUT", "/api/agents", None, 405, "method_not_allowed", []),
        ("GET", "/api/messages/minus-one", None, 404, "no_such_route", []),
    ],
)
async def test_a_refused_request_says_why(
    room: Room, method: str, path: str, body: Any, status: int, code: str, fields: list[str]
) -> None:
    await join(room, "bob")
    await say(room, "ann", "bob")
    problem = refusal(await room.http(method, path, json=body))
    assert (problem.status, problem.code, paths(problem)) == (status, code, fields)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"hello",
        b"'single'",
        b"\xff\xfe",
        b'{"id": "\xff"}',
        b'{"id": "bob",}',
        b'{"meta": {"a": ' + b"[" * 100_000,
    ],
)
async def test_what_is_no_json_is_called_so(room: Room, body: bytes) -> None:
    problem = refusal(await room.http("POST", "/api/agents", content=body))
    assert (problem.status, problem.code) == (400, "malformed_json")


@pytest.mark.parametrize("body", [b"[]", b"5", b"null", b'"bob"'])
async def test_json_that_is_no_object_is_called_so(room: Room, body: bytes) -> None:
    problem = refusal(await room.http("POST", "/api/agents", content=body))
    assert (problem.status, problem.code, paths(problem)) == (400, "invalid", [""])


def enum_fields(kind: Any) -> list[tuple[str, list[str]]]:
    """The fields of a body or a query that take certain words only, with these words."""
    found = []
    for field in msgspec.inspect.type_info(kind).fields:  # type: ignore[attr-defined]
        kinds = field.type.types if isinstance(field.type, msgspec.inspect.UnionType) else [field.type]
        for one in kinds:
            if isinstance(one, msgspec.inspect.EnumType):
                found.append((field.encode_name, [str(word.value) for word in one.cls]))
            if isinstance(one, msgspec.inspect.LiteralType):
                found.append((field.encode_name, [str(word) for word in one.values]))
    return found


async def test_a_wrong_word_is_answered_with_the_right_ones_in_every_route(room: Room) -> None:
    views = [getattr(function, "api_view", None) for function in room.app.view_functions.values()]
    kinds = {
        kind for view in views if view is not None for kind in (view.body, view.query) if kind is not None
    }
    tried = set()
    for kind in kinds:
        for name, words in enum_fields(kind):
            with pytest.raises(msgspec.ValidationError) as caught:
                msgspec.convert({name: SECRET}, kind, strict=False)
            expected = f"Expected one of {', '.join(f'`{word}`' for word in words)}"
            told = invalid(caught.value, kind)
            assert (told.detail, told.fields) == (f"{name}: {expected}", (FieldError(name, expected),))
            tried.add(name)
    assert {"status", "state", "authority"} <= tried


class Nested(msgspec.Struct):
    """Words in every place where JSON can hold them."""

    items: list[Rung] = []
    keys: dict[Rung, int] = {}
    values: dict[str, tuple[Rung, ...]] = {}


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"items": [SECRET]}, "items[0]"),
        ({"keys": {SECRET: 1}}, "keys"),
        ({"values": {"a": [SECRET]}}, "values[...][0]"),
    ],
)
def test_so_it_is_in_lists_and_in_objects(given: dict[str, Any], path: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(given, Nested)
    told = invalid(caught.value, Nested).detail
    assert told == f"{path}: Expected one of {', '.join(f'`{word}`' for word in Rung)}"


async def test_a_wrong_method_says_which_are_right(room: Room) -> None:
    response = await room.http("PUT", "/api/agents")
    assert {"GET", "POST"} <= set(response.headers["Allow"].split(", "))


async def test_a_body_that_is_too_large_is_refused(room: Room) -> None:
    body = b'{"id": "' + b"x" * room.settings.max_body + b'"}'
    problem = refusal(await room.http("POST", "/api/agents", content=body))
    assert (problem.status, problem.code) == (413, "body_too_large")


@pytest.fixture
def nothing_said(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> Callable[[list[str]], None]:
    """A check that neither logs nor output hold one of the secrets, nor the given texts."""
    caplog.set_level(logging.DEBUG)

    def check(texts: list[str]) -> None:
        printed = capsys.readouterr()
        for text in (*texts, printed.out, printed.err, caplog.text):
            assert SECRET not in text
            assert TOKEN not in text

    return check


async def test_bodies_and_tokens_reach_no_error_text_and_no_log(
    room: Room, nothing_said: Callable[[list[str]], None]
) -> None:
    await join(room, "bob")
    await say(room, "ann", "bob", SECRET, idempotency_key="k")
    message = {"from": "ann", "to": "bob", "body": SECRET}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    refused: list[dict[str, Any]] = [
        {"json": message | {"to": "ghost"}},
        {"json": message | {"replyTo": 99}},
        {"json": message | {"claimable": SECRET}},
        {"json": message | {"meta": {"delivery": SECRET}}},
        {"json": message | {"meta": SECRET}},
        {"json": message | {"idempotencyKey": "k", "subject": SECRET}},
        {"json": {"body": SECRET}},
        {"json": [SECRET]},
        {"content": b'{"from":"ann","to":"bob","body":"' + SECRET.encode()},
        {"content": SECRET.encode() + b"\xff"},
        {"content": SECRET.encode() * 100_000},
    ]
    with structlog.testing.capture_logs() as logged:
        texts = []
        for request in refused:
            response = await room.http("POST", "/api/messages", headers=headers, **request)
            assert 400 <= response.status_code < 500
            texts.append(response.text)
        with pytest.raises(NotFound) as failed:
            await say(room, "ann", "ghost", SECRET)
        texts += [str(failed.value), repr(failed.value)]
    nothing_said([*texts, str(logged)])


async def test_a_bug_is_logged_without_what_was_said_and_shown_to_nobody(
    room: Room, monkeypatch: pytest.MonkeyPatch, nothing_said: Callable[[list[str]], None]
) -> None:
    await join(room, "bob")

    def fail(text: str) -> None:
        raise ValueError(SECRET + text)

    monkeypatch.setattr(messages, "parse_target", fail)
    with structlog.testing.capture_logs() as logged:
        response = await room.http("POST", "/api/messages", json={"from": "ann", "to": "bob", "body": SECRET})
    problem = refusal(response)
    assert (problem.status, problem.code) == (500, "internal_error")
    (entry,) = [entry for entry in logged if entry["log_level"] == "error"]
    assert entry["kind"] == "ValueError"
    assert "messages.py" in entry["frames"]
    nothing_said([response.text, str(logged)])


async def test_a_stopping_relay_says_so(room: Room) -> None:
    room.service.hub.close()
    response = await room.http("GET", "/readyz")
    assert (refusal(response).status, refusal(response).code) == (503, "shutting_down")
    assert response.headers["Retry-After"] == "1"
    assert (await room.http("GET", "/healthz")).status_code == 200
