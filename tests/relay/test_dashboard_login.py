"""Who sees the dashboard: the token is traded for a cookie, which counts there and nowhere else."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio
from trio.testing import MockClock

from support.relay import Room, open_room
from trio_relay.client.admin import list_tokens, mint_token
from trio_relay.core.access import Scope
from trio_relay.core.integrations import Integration
from trio_relay.core.model import Authority
from trio_relay.core.wire import AgentRegistration
from trio_relay.core.wire_access import TokenRequest
from trio_relay.relay.web.dashboard.login import ATTEMPTS
from trio_relay.relay.web.dashboard.session import COOKIE, LIFETIME
from trio_relay.settings import ServerSettings

TOKEN = "correct-horse-battery"
OURS = {"Origin": "http://127.0.0.1:4850"}
ALARM = Integration(name="alarm", token="alarm-token", scopes=("events:write",))


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Room]:
    settings = ServerSettings(token=TOKEN, cors_origins=("https://friend.example",), integrations=(ALARM,))
    async with open_room(tmp_path, settings) as room:
        yield room


async def log_in(room: Room, **fields: str) -> httpx2.Response:
    return await room.http("POST", "/login", data={"name": "anna", **fields}, headers=OURS)


def cookie_of(answer: httpx2.Response) -> dict[str, str]:
    assert answer.status_code == 303, answer.text
    return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}


async def post(room: Room, path: str, cookie: dict[str, str], **fields: str) -> httpx2.Response:
    return await room.http("POST", path, data=fields, headers=OURS | cookie)


@pytest.mark.parametrize(
    "path", ["/", "/agents", "/messages?q=a%20b", "/threads/1", "/live", "/compose?to=bob"]
)
async def test_whoever_is_not_known_is_sent_to_the_login_and_back(room: Room, path: str) -> None:
    sent = await room.http("GET", path)
    assert sent.status_code == 303
    asked = await room.http("GET", sent.headers["location"])
    assert asked.status_code == 200
    answer = await room.http("POST", "/login", data={"name": "anna", "next": path}, headers=OURS)
    assert answer.headers["location"] == path
    assert path == "/live" or (await room.http("GET", path, headers=cookie_of(answer))).status_code in {
        200,
        404,
    }


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/logout", ""],
)
async def test_the_login_leads_nowhere_else(room: Room, elsewhere: str) -> None:
    assert (await log_in(room, next=elsewhere)).headers["location"] == "/"


async def test_a_link_on_another_site_finds_a_visitor_who_is_logged_in(room: Room) -> None:
    """SameSite=Strict holds the cookie back there; the page that comes instead asks again, by itself, with it."""
    answer = await room.http("GET", "/threads/1", headers={"Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, "url=/login?next=/threads/1" in answer.text) == (200, True)
    cookie = cookie_of(await log_in(room))
    again = await room.http("GET", "/login?next=/threads/1", headers=cookie)
    assert again.headers["location"] == "/threads/1"


async def test_what_may_mint_is_traded_for_a_token_of_a_person(guarded: Room) -> None:
    answer = await log_in(guarded, token=TOKEN)
    cookie = answer.headers["set-cookie"]
    assert TOKEN not in cookie
    assert {"HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={LIFETIME // 1000}"} <= set(cookie.split("; "))
    [token] = await list_tokens(guarded.relay)
    assert (token.agent_id, token.authority, token.scopes) == ("anna", Authority.HUMAN, [Scope.ADMIN])
    await guarded.relay.register(AgentRegistration(id="bob"))
    sent = await post(guarded, "/compose", cookie_of(answer), to="bob", body="Hello", key="k")
    assert sent.status_code == 303
    [message] = await guarded.relay.browse()
    assert (message.sender, message.authority) == ("anna", "human")


async def test_a_token_that_may_not_mint_is_used_as_it_is(guarded: Room) -> None:
    minted = await mint_token(guarded.relay, TokenRequest(name="eyes", scopes=[Scope.OBSERVE]))
    cookie = cookie_of(await log_in(guarded, token=minted.token))
    assert (await guarded.http("GET", "/agents", headers=cookie)).status_code == 200
    refused = await post(guarded, "/compose", cookie, to="bob", body="Hello")
    assert refused.status_code == 403
    assert "This token lacks the scope send" in refused.text
    assert "New message" not in (await guarded.http("GET", "/", headers=cookie)).text
    await post(guarded, "/logout", cookie)
    assert (
        await guarded.http("GET", "/agents", headers=cookie)
    ).status_code == 200  # it was not ours to revoke


@pytest.mark.parametrize(
    ("token", "status", "says"),
    [
        ("wrong", 401, "This token is unknown, revoked or expired."),
        ("", 401, "This relay needs a token"),
        ("alarm-token", 403, "This token is an integration"),
    ],
)
async def test_what_is_wrong_is_said_and_the_name_stays(
    guarded: Room, token: str, status: int, says: str
) -> None:
    answer = await log_in(guarded, token=token)
    assert (answer.status_code, says in answer.text) == (status, True)
    assert 'value="anna"' in answer.text
    assert COOKIE not in answer.headers.get("set-cookie", "")
    assert not token or token not in answer.text


async def test_a_name_must_be_an_address(room: Room) -> None:
    for name in ("", "  ", "tag:x", "broadcast", "system", "a/b", "x" * 61):
        answer = await log_in(room, name=name)
        assert (name, answer.status_code, 'role="alert"' in answer.text) == (name, 400, True)


async def test_nobody_takes_the_name_of_an_agent(room: Room) -> None:
    await room.relay.register(AgentRegistration(id="bob", rig="codex"))
    answer = await log_in(room, name="bob")
    assert (answer.status_code, "An agent here is called bob" in answer.text) == (409, True)
    for _ in range(2):
        cookie_of(await log_in(room, name="Anna Maria"))
    assert (await room.relay.agent("Anna-Maria")).status == "offline"


async def test_the_cookie_does_not_count_for_the_api(guarded: Room) -> None:
    cookie = cookie_of(await log_in(guarded, token=TOKEN))
    for headers in (cookie, cookie | OURS):
        assert (await guarded.http("GET", "/api/agents", headers=headers)).status_code == 401
        assert (await guarded.http("GET", "/metrics", headers=headers)).status_code == 401
        assert (await guarded.http("POST", "/mcp", headers=headers)).status_code == 401


async def test_only_our_own_pages_change_anything(guarded: Room) -> None:
    """An origin that may use the API brings its own token; here a cookie would do its work for it."""
    cookie = cookie_of(await log_in(guarded, token=TOKEN))
    for origin in ("https://evil.example", "https://friend.example", "null", "", None):
        for path in ("/login", "/logout", "/theme", "/compose", "/agents/bob/label"):
            headers = cookie if origin is None else cookie | {"Origin": origin}
            fields = {"name": "eve", "body": "x", "to": "bob"}
            answer = await guarded.http("POST", path, data=fields, headers=headers)
            assert (path, origin, answer.status_code) == (path, origin, 403)
            assert "set-cookie" not in answer.headers
    assert (await guarded.http("GET", "/", headers=cookie)).status_code == 200
    assert await guarded.relay.browse() == []


async def test_logging_out_ends_the_session_everywhere(guarded: Room) -> None:
    answer = await log_in(guarded, token=TOKEN)
    cookie = cookie_of(answer)
    assert (await post(guarded, "/logout", cookie)).headers["location"] == "/login"
    assert (await guarded.http("GET", "/agents", headers=cookie)).status_code == 303
    [token] = await list_tokens(guarded.relay)
    assert token.revoked_at is not None


async def test_a_login_ends_after_a_week(room: Room, autojump_clock: MockClock) -> None:
    cookie = cookie_of(await log_in(room))
    await trio.sleep(LIFETIME / 1000 - 60)
    assert (await room.http("GET", "/", headers=cookie)).status_code == 200
    await trio.sleep(61)
    assert (await room.http("GET", "/", headers=cookie)).status_code == 303


async def test_the_mailbox_of_who_looks_stays(room: Room, autojump_clock: MockClock) -> None:
    cookie = cookie_of(await log_in(room))
    prune = room.settings.offline_prune
    await room.relay.set_tags("anna", ["red"])
    for _ in range(3):
        await trio.sleep(prune / 2)
        await room.http("GET", "/", headers=cookie)
        await room.service.keep_house()
    assert (await room.relay.agent("anna")).tags == ["red"]
    await trio.sleep(prune * 1.1)
    await room.service.keep_house()
    assert await room.relay.agents() == []
    await room.http("GET", "/", headers=cookie)
    assert (await room.relay.agent("anna")).rig == "cli"


async def test_attempts_are_limited(guarded: Room, autojump_clock: MockClock) -> None:
    for _ in range(ATTEMPTS):
        assert (await log_in(guarded, token="wrong")).status_code == 401
    refused = await log_in(guarded, token=TOKEN)
    assert (refused.status_code, "Too many attempts" in refused.text) == (429, True)
    await trio.sleep(61)
    cookie_of(await log_in(guarded, token=TOKEN))


async def test_a_cookie_of_no_meaning_is_none(room: Room) -> None:
    for cookie in (
        "m",
        "m..",
        "x.YW5uYQ==.trt_x",
        "m.YW5uYQ==.",
        "g.%%%.x",
        "m.YW5uYQ==.anything",
        "g.gA==.x",
    ):
        answer = await room.http("GET", "/", headers={"Cookie": f"{COOKIE}={cookie}"})
        assert (cookie, answer.status_code) == (cookie, 303)


async def test_pages_allow_no_foreign_content(room: Room) -> None:
    answer = await room.http("GET", "/", headers=cookie_of(await log_in(room)))
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert not any(word in policy for word in ("unsafe", "http", "*"))
    assert answer.headers["cache-control"] == "no-store"
    assert not any(word in answer.text for word in ("style=", "<script>", "onclick"))
    assets = {part.split('"')[0] for part in answer.text.split("/assets/")[1:]}
    for asset in assets:
        served = await room.http("GET", f"/assets/{asset}")
        assert (served.status_code, "immutable" in served.headers["cache-control"]) == (200, True)
        kept = await room.http("GET", f"/assets/{asset}", headers={"If-None-Match": served.headers["etag"]})
        assert (kept.status_code, kept.content) == (304, b"")
    older = await room.http("GET", "/assets/0123456789abcdef/app.css")
    assert (older.status_code, older.headers["cache-control"]) == (200, "no-cache")
    assert (await room.http("GET", "/assets/x/..%2fframe.py")).status_code == 404


async def test_what_a_page_cannot_read_is_no_mistake_of_ours(room: Room) -> None:
    cookie = cookie_of(await log_in(room))
    json: dict[str, Any] = {"json": {"to": "bob"}}
    answer = await room.http("POST", "/compose", headers=OURS | cookie, **json)
    assert (answer.status_code, "This page takes forms only." in answer.text) == (400, True)
    many = "&".join(f"a{number}=1" for number in range(300))
    form = {"content": many, "headers": OURS | cookie | {"Content-Type": "application/x-www-form-urlencoded"}}
    assert (await room.http("POST", "/compose", **form)).status_code == 400
