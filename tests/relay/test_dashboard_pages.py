"""What the pages of the dashboard say, on both engines: as a browser without script gets them."""

import re
from typing import Any

import httpx2
import pytest
import trio
from trio.testing import MockClock

from support.relay import Room
from trio_relay.core.model import Rung
from trio_relay.core.wire import AgentRegistration, SendRequest
from trio_relay.relay.operations import threads
from trio_relay.relay.web.dashboard.live import MAX_THINGS, Pulse, digest

OURS = {"Origin": "http://127.0.0.1:4850"}
ENGINES = pytest.mark.parametrize("engine", ["sqlite", "postgres"])


class Anna:
    """A person who has come in."""

    def __init__(self, room: Room, cookie: str) -> None:
        self.room = room
        self.headers = OURS | {"Cookie": cookie}

    async def get(self, path: str, headers: dict[str, str] | None = None, *, status: int = 200) -> str:
        answer = await self.room.http("GET", path, headers=self.headers | (headers or {}))
        assert answer.status_code == status, (path, answer.status_code, answer.text)
        return answer.text

    async def post(self, path: str, **fields: str) -> httpx2.Response:
        return await self.room.http("POST", path, data=fields, headers=self.headers)


@pytest.fixture
async def anna(room: Room) -> Anna:
    answer = await room.http("POST", "/login", data={"name": "anna"}, headers=OURS)
    return Anna(room, answer.headers["set-cookie"].partition(";")[0])


async def join(room: Room, agent_id: str, **more: Any) -> None:
    await room.relay.register(AgentRegistration(**{"id": agent_id, "rig": "codex", "ready": True, **more}))


async def send(room: Room, to: str, body: str = "Hello", sender: str = "bob", **more: Any) -> int:
    return (await room.relay.send(SendRequest(sender=sender, to=to, body=body, **more))).id


def text_of(html: str) -> str:
    """What a page says, without its markup."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


@ENGINES
async def test_every_page_shows_a_room_with_something_in_it(room: Room, anna: Anna) -> None:
    await join(room, "ann", label="desk", tags=["red"], capabilities=["sql"])
    await join(room, "deaf", ready=False)
    await join(room, "gone", status="offline")
    first = await send(room, "ann", "Is it safe?", subject="Migration")
    await room.relay.report(first, "ann", Rung.IN_CONTEXT, {"itemId": "i"})
    await send(room, "bob", "It is.", sender="ann", reply_to=first, allow_unknown=True)
    for to in ("gone", "cap:nobody", "broadcast", "anna"):
        await send(room, to, f"To {to}")

    overview = text_of(await anna.get("/"))
    assert "gone : offline, and messages wait; 1 unread." in overview
    assert "deaf : it has not said that it is ready; 1 unread." in overview
    assert "waits for somebody who answers to cap:nobody" in overview
    agents = text_of(await anna.get("/agents"))
    assert agents.index("deaf") < agents.index("desk")
    assert "desk" in await anna.get("/agents?q=red sql&status=online")
    assert "No agent matches" in await anna.get("/agents?q=blue")
    one = text_of(await anna.get("/agents/ann"))
    assert "Is it safe?" in one
    assert "To broadcast" in one
    assert "No message holds" not in await anna.get("/messages?q=safe")
    assert "Is it safe?" in text_of(await anna.get("/messages?to=ann"))
    assert "No message matches" in text_of(await anna.get("/messages?from=nobody"))
    thread = text_of(await anna.get(f"/threads/{first}"))
    assert "answered ; its" not in thread
    assert "itemId: i" in thread
    assert "It is." in thread
    assert "To anna" in text_of(await anna.get("/inbox"))
    assert "1 waiting" in text_of(await anna.get("/"))
    assert "Recipients of message" in await anna.get(f"/messages/{first}/recipients")
    assert "everybody who is there" in await anna.get("/compose")


async def test_an_empty_room_says_what_to_do(anna: Anna) -> None:
    assert "Nothing is stuck" in await anna.get("/")
    assert "trio-relay demo" in await anna.get("/")
    assert "trio-relay send broadcast" in await anna.get("/messages")
    assert "trio-relay send anna" in await anna.get("/inbox")


async def test_what_is_not_there_is_said_in_a_sentence(anna: Anna) -> None:
    assert "No agent &#39;x&#39; is registered." in await anna.get("/agents/x", status=404)
    assert "There is no message 7." in await anna.get("/threads/7", status=404)
    assert "There is no message 0." in await anna.get(f"/messages/{10**30}", status=404)
    assert "There is nothing to search for." in await anna.get("/messages?q=%22%22")


async def test_a_ladder_is_drawn_rung_by_rung(room: Room, anna: Anna, autojump_clock: MockClock) -> None:
    await join(room, "ann")
    message = await send(room, "ann")
    for state in (Rung.HANDED_OFF, Rung.HANDED_OFF, Rung.IN_CONTEXT):
        await trio.sleep(2)
        attempt = {"attemptId": str(trio.current_time())}
        await room.relay.report(message, "ann", state, attempt)
    drawn = await anna.get(f"/threads/{message}")
    rungs = re.findall(
        r'<li class="(\w+)( now)?[\w ]*"[^>]*>\s*<span class="mark".*?title="[^"]+">(.*?)</li>',
        drawn,
        re.DOTALL,
    )
    assert [(reached, bool(now), text_of(text)) for reached, now, text in rungs if reached in {"reached", "ahead"}] == [
        ("reached", False, "accepted 08:00:00.000"),
        ("reached", False, "queued +0 ms"),
        ("reached", False, "handed off \u00d72 +4.0 s"),
        ("reached", True, "in context +6.0 s"),
        ("ahead", False, "answered not yet"),
        ("ahead", False, "settled not yet"),
    ]  # fmt: skip
    assert "in the model&#39;s context; the turn has not ended" in drawn


@pytest.mark.parametrize(
    ("end", "says"),
    [("retract", "retracted: not needed"), ("expire", "expired"), ("remove", "dead: agent removed")],
)
async def test_a_delivery_that_ended_says_how_and_why(
    room: Room, anna: Anna, end: str, says: str, autojump_clock: MockClock
) -> None:
    await join(room, "ann")
    message = await send(room, "ann", ttl_ms=1000 if end == "expire" else None)
    if end == "retract":
        await room.http(
            "POST", f"/api/messages/{message}/retract", json={"from": "bob", "reason": "not needed"}
        )
    elif end == "expire":
        await trio.sleep(2)
        await room.service.expire()
    else:
        await room.relay.remove_agent("ann")
    assert says in text_of(await anna.get(f"/threads/{message}"))


async def test_a_long_thread_and_many_recipients_come_in_pages(room: Room, anna: Anna) -> None:
    for number in range(120):
        await join(room, f"agent-{number:03}")
    root = await send(room, "broadcast", "To all")
    for number in range(60):
        await send(room, "broadcast", f"Note {number}", sender="anna", reply_to=root, type="ack")
    newest = await anna.get(f"/threads/{root}")
    assert ("Note 59" in newest, "Note 10" in newest, "To all" in newest) == (True, True, False)
    earlier = re.search(r'href="(/threads/\d+\?before=\d+)"', newest)
    assert earlier is not None
    assert "To all" in await anna.get(earlier[1])
    assert "All 120 recipients" in newest
    first = await anna.get(f"/messages/{root}/recipients")
    assert ("agent-099" in first, "agent-100" in first) == (True, False)
    assert "agent-119" in await anna.get(f"/messages/{root}/recipients?after=agent-099")


async def test_a_form_that_is_sent_twice_is_sent_once(room: Room, anna: Anna) -> None:
    await join(room, "ann", label="Desk")
    form = await anna.get("/compose?to=ann")
    key = re.search(r'name="key" value="([^"]+)"', form)
    assert key is not None
    sent = [await anna.post("/compose", to="desk", body="Once", key=key[1]) for _ in range(2)]
    assert {answer.headers["location"] for answer in sent} == {"/threads/1#message-1"}
    [message] = await room.relay.browse()
    assert (message.to, message.authority, message.sender) == ("ann", "human", "anna")
    again = await anna.post("/compose", to="ann", body="Something else", key=key[1])
    assert (again.status_code, "Something else" in again.text) == (409, True)


async def test_everything_a_person_can_ask_of_a_message(room: Room, anna: Anna) -> None:
    await join(room, "ann", tags=["red"])
    fields = {"subject": "S", "channel": "", "urgent": "on", "claimable": "on", "ttl": "600000"}
    answer = await anna.post("/compose", to="tag:red", body="Do this", key="k", **fields)
    assert answer.status_code == 303
    [message] = await room.relay.browse()
    assert (message.subject, message.channel, message.claimable) == ("S", None, True)
    assert message.meta == {"priority": "urgent"}
    assert message.expires_at == message.created_at + 600_000
    reply = await anna.post("/compose", to="ann", body="And?", key="k2", reply_to=str(message.id))
    assert reply.headers["location"] == f"/threads/{message.id}#message-{message.id + 1}"


@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [
        ({"to": "nobody", "body": "x"}, 404, "expected a registered agent id or a target"),
        ({"to": "", "body": "x"}, 400, "expected an agent id or a target"),
        ({"to": "ann", "body": "  "}, 400, "expected some text"),
        ({"to": "twin", "body": "x"}, 404, "expected one of ann, bea"),
    ],
)
async def test_a_mistake_is_shown_where_it_was_made(
    room: Room, anna: Anna, fields: dict[str, str], status: int, says: str
) -> None:
    for agent in ("ann", "bea"):
        await join(room, agent, label="twin")
    answer = await anna.post("/compose", subject="Kept", **fields)
    assert (answer.status_code, says in answer.text, 'value="Kept"' in answer.text) == (status, True, True)


async def test_the_sender_hears_the_truth_about_who_gets_it(room: Room, anna: Anna) -> None:
    await join(room, "busy", status="busy")
    await join(room, "deaf", ready=False)

    async def told(to: str) -> str:
        answer = await anna.post("/compose", to=to, body="x", key=to)
        cookie = anna.headers["Cookie"] + "; " + answer.headers["set-cookie"].partition(";")[0]
        return text_of(await anna.get(answer.headers["location"].partition("#")[0], {"Cookie": cookie}))

    assert "busy is busy and gets it as soon as that is possible" in await told("busy")
    assert "deaf is not ready: it waits in the inbox" in await told("deaf")
    assert "Nobody answers to tag:none yet." in await told("tag:none")
    for number in range(3):
        await join(room, f"idle-{number}", status="idle")
    assert "Of 5 recipients 3 are idle, 1 are busy, 1 are not ready" in await told("broadcast")


async def test_only_the_regions_that_are_asked_for_are_answered(room: Room, anna: Anna) -> None:
    await join(room, "ann")
    message = await send(room, "ann", "Hello there")
    part = await anna.get("/", {"X-Regions": "latest counts"})
    assert ("Hello there" in part, "What is stuck" in part, "<html" in part) == (True, False, False)
    assert 'data-count="inbox"' in part
    newer = await send(room, "ann", "Newer")
    headers = {
        "X-Regions": "messages",
        "X-Keys": f"message:{message} message:x junk",
        "X-After": str(message),
    }
    rows = await anna.get("/messages", headers)
    assert re.findall(r'data-key="message:(\d+)"', rows) == [str(newer), str(message)]
    rows = await anna.get(f"/threads/{message}", headers | {"X-Regions": "thread", "X-After": "0"})
    assert re.findall(r'data-key="message:(\d+)"', rows) == [str(message)]
    await join(room, "zoe")
    rows = await anna.get(
        "/agents", {"X-Regions": "agents", "X-Keys": "agent:ann agent:none", "X-After": "0"}
    )
    assert sorted(re.findall(r'data-key="agent:(\w+)"', rows)) == ["ann", "anna", "zoe"]


async def test_text_of_others_stays_text(room: Room, anna: Anna) -> None:
    nasty = "<script>alert(1)</script>\"'&\x1b[31m"
    await join(
        room, "ann", label=nasty, tags=[nasty.replace(" ", "")], meta={"cwd": nasty, "threadId": nasty}
    )
    message = await send(room, "ann", nasty, subject=nasty, channel=nasty)
    for path in (
        "/",
        "/agents",
        "/agents/ann",
        "/messages",
        f"/threads/{message}",
        "/compose",
        f"/messages?q={nasty}",
    ):
        assert "<script>alert" not in await anna.get(path.replace("\x1b", ""))


async def test_the_digest_names_what_changed_and_not_what_was_said(
    room: Room, anna: Anna, autojump_clock: MockClock
) -> None:
    pulse = Pulse(room.service)
    number, _ = await pulse.begin()
    await join(room, "ann")
    message = await send(room, "ann", "A secret")
    reply = await send(room, "bob", "Another", sender="ann", reply_to=message, allow_unknown=True)
    number, words = await pulse.after(number)
    assert {"message", "message.new", f"message:{message}", f"thread:{message}", f"message:{reply}"} <= words
    assert {"agent", "agent.status", "agent:ann"} <= words
    assert "secret" not in str(words)
    began = trio.current_time()
    number, words = await pulse.after(number)
    assert (words, trio.current_time() - began) == (frozenset(), 1.0)
    await room.relay.remove_agent("ann")
    first = await pulse.after(number)
    assert first == await pulse.after(number)  # another page hears the same, of the same look at the log


async def test_who_is_far_behind_looks_at_everything(room: Room, autojump_clock: MockClock) -> None:
    pulse = Pulse(room.service)
    number, _ = await pulse.begin()
    late = number
    for _ in range(40):
        await join(room, "ann")
        number, _ = await pulse.after(number)
    assert await pulse.after(late) == (number, frozenset({"*"}))
    many = digest(("message.new", {"messageId": number}) for number in range(MAX_THINGS + 1))
    assert many == {"message", "message.new", "*"}


async def test_a_person_reads_what_was_sent_to_them(room: Room, anna: Anna) -> None:
    await join(room, "ann")
    message = await send(room, "anna", "For you", sender="ann")
    assert "Mark as read" in await anna.get(f"/threads/{message}")
    await anna.post(f"/messages/{message}/read")
    [receipt] = await room.relay.receipts(message)
    assert receipt.state is Rung.SETTLED
    assert "Mark as read" not in await anna.get(f"/threads/{message}")


async def test_what_is_held_in_a_parked_thread_says_so(room: Room, anna: Anna) -> None:
    await join(room, "ann")
    await join(room, "bob")
    message = await send(room, "ann", "Ping")
    for number in range(30):
        to, sender = ("bob", "ann") if number % 2 == 0 else ("ann", "bob")
        message = await send(room, to, f"Pong {number}", sender=sender, reply_to=message)
    assert await room.service.read(threads.parked, 5)
    assert "Held: this thread is parked" in await anna.get("/threads/1")
    assert "waits for a person" in await anna.get("/")
