"""Who may call: the shared token, and no foreign web page."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from trio.testing import MockClock

from support.relay import Room, open_room
from support.talk import refusal
from trio_relay.client import RelayClient
from trio_relay.errors import Refused, Unauthorized
from trio_relay.relay.serve import check_bind
from trio_relay.settings import ServerSettings

TOKEN = "s3cret"


@pytest.fixture
async def guarded(tmp_path: Path, autojump_clock: MockClock) -> AsyncIterator[Room]:
    async with open_room(tmp_path, ServerSettings(token=TOKEN)) as opened:
        yield opened


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Agent-Relay-Token": TOKEN},
        {"Authorization": f"Bearer {TOKEN}"},
        {"Authorization": f"bearer  {TOKEN} "},
    ],
    ids=str,
)
async def test_either_header_carries_the_token(guarded: Room, headers: dict[str, str]) -> None:
    assert (await guarded.http("GET", "/api/agents", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "token_required"),
        ({"Authorization": f"Basic {TOKEN}"}, "token_required"),
        ({"X-Agent-Relay-Token": "S3CRET"}, "bad_token"),
        ({"X-Agent-Relay-Token": TOKEN[:-1]}, "bad_token"),
        ({"X-Agent-Relay-Token": TOKEN + "x"}, "bad_token"),
        ({"X-Agent-Relay-Token": ""}, "bad_token"),
        ({"Authorization": "Bearer "}, "bad_token"),
        ({"Authorization": "Bearer sécret".encode().decode("latin-1")}, "bad_token"),
        ({"X-Agent-Relay-Token": "wrong", "Authorization": f"Bearer {TOKEN}"}, "bad_token"),
    ],
    ids=str,
)
async def test_no_token_or_a_wrong_one_is_turned_away(
    guarded: Room, headers: dict[str, str], code: str
) -> None:
    wire = {name: value.encode("latin-1") for name, value in headers.items()}
    response = await guarded.http("GET", "/api/agents", headers=wire)
    problem = refusal(response)
    assert (problem.status, problem.code) == (401, code)
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert TOKEN not in response.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/agents"),
        ("POST", "/api/messages"),
        ("DELETE", "/api/messages/1"),
        ("GET", "/api/stats"),
        ("GET", "/api/nothing-here"),
        ("PUT", "/api/agents"),
    ],
)
async def test_without_the_token_nobody_learns_what_there_is(guarded: Room, method: str, path: str) -> None:
    assert (await guarded.http(method, path)).status_code == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/login"])
async def test_signs_of_life_are_for_everybody(guarded: Room, path: str) -> None:
    assert (await guarded.http("GET", path)).status_code == 200


async def test_the_client_sends_its_token(guarded: Room) -> None:
    assert await guarded.relay.agents() == []
    async with RelayClient.open("http://127.0.0.1:4850", "wrong", transport=guarded.transport) as stranger:
        with pytest.raises(Unauthorized) as refused:
            await stranger.agents()
    assert refused.value.code == "bad_token"
    assert "wrong" not in refused.value.detail


@pytest.mark.parametrize(
    "host", ["127.0.0.1:4850", "localhost:4850", "LOCALHOST", "[::1]:4850", "127.8.8.8", "127.0.0.1"]
)
async def test_an_open_relay_answers_to_this_machines_own_names(room: Room, host: str) -> None:
    assert (await room.http("GET", "/api/agents", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example:4850", "127.0.0.1.evil.example", "192.168.1.5:4850", "[", "@"],
)
async def test_an_open_relay_answers_to_no_other_name(room: Room, host: str) -> None:
    """A page that rebinds its own name to 127.0.0.1 sends that name."""
    problem = refusal(await room.http("GET", "/api/agents", headers={"Host": host}))
    assert (problem.status, problem.code) == (403, "host_refused")


async def test_with_a_token_any_name_will_do(guarded: Room) -> None:
    headers = {"Host": "relay.example", "X-Agent-Relay-Token": TOKEN}
    assert (await guarded.http("GET", "/api/agents", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://127.0.0.1:4850", True),
        ("http://127.0.0.1:8080", False),
        ("http://localhost:4850", False),
        ("https://evil.example", False),
        ("https://127.0.0.1:4850.evil.example", False),
        ("http://127.0.0.1:4850@evil.example", False),
        ("null", False),
        ("", False),
    ],
)
async def test_a_foreign_page_does_not_drive_an_open_relay(room: Room, origin: str, allowed: bool) -> None:
    headers = {"Host": "127.0.0.1:4850", "Origin": origin}
    response = await room.http("POST", "/api/agents", json={"id": "bob"}, headers=headers)
    assert response.status_code == (201 if allowed else 403)
    if not allowed:
        assert refusal(response).code == "origin_refused"
        assert "Access-Control-Allow-Origin" not in response.headers
        assert await room.relay.agents() == []


async def test_nor_one_that_has_a_token(guarded: Room) -> None:
    headers = {"X-Agent-Relay-Token": TOKEN, "Origin": "https://evil.example"}
    assert (await guarded.http("GET", "/api/agents", headers=headers)).status_code == 403


async def test_a_page_that_was_allowed_may_call(tmp_path: Path, autojump_clock: MockClock) -> None:
    settings = ServerSettings(cors_origins=("https://app.example",))
    async with open_room(tmp_path, settings) as room:
        headers = {"Origin": "https://app.example"}
        preflight = await room.http("OPTIONS", "/api/messages", headers=headers)
        assert (preflight.status_code, preflight.content) == (204, b"")
        assert preflight.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert "PATCH" in preflight.headers["Access-Control-Allow-Methods"]
        assert "X-Agent-Relay-Token" in preflight.headers["Access-Control-Allow-Headers"]
        answer = await room.http("GET", "/api/agents", headers=headers)
        assert (answer.status_code, answer.headers["Vary"]) == (200, "Origin")
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
        missing = await room.http("GET", "/api/agents/ghost", headers=headers)
        assert missing.headers["Access-Control-Allow-Origin"] == "https://app.example"
        other = await room.http("OPTIONS", "/api/messages", headers={"Origin": "https://evil.example"})
        assert refusal(other).code == "origin_refused"


async def test_an_allowed_page_still_needs_the_token(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_room(tmp_path, ServerSettings(token=TOKEN, cors_origins=("*",))) as room:
        answer = await room.http("GET", "/api/agents", headers={"Origin": "https://any.example"})
        assert answer.status_code == 401
        assert answer.headers["Access-Control-Allow-Origin"] == "https://any.example"


async def test_an_allowed_page_does_not_make_another_host_good(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_room(tmp_path, ServerSettings(cors_origins=("*",))) as room:
        headers = {"Origin": "https://any.example", "Host": "any.example"}
        assert refusal(await room.http("GET", "/api/agents", headers=headers)).code == "host_refused"


@pytest.mark.parametrize(
    ("host", "token", "allow", "opens"),
    [
        ("127.0.0.1", None, False, True),
        ("::1", None, False, True),
        ("localhost", None, False, True),
        ("0.0.0.0", None, False, False),
        ("::", None, False, False),
        ("192.168.1.5", None, False, False),
        ("relay.example", None, False, False),
        ("0.0.0.0", TOKEN, False, True),
        ("0.0.0.0", None, True, True),
    ],
)
def test_an_open_relay_stays_on_this_machine(host: str, token: str | None, allow: bool, opens: bool) -> None:
    settings = ServerSettings(host=host, token=token, allow_unauth=allow)
    if opens:
        check_bind(settings)
        return
    with pytest.raises(Refused) as refused:
        check_bind(settings)
    assert refused.value.code == "open_bind"
