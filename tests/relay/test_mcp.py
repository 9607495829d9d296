"""The relay's tools: who speaks by them is never the model's to say, and what they do is what the API does."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
import trio
from trio.testing import MockClock

from support.integrations import integrated_room, new_task, task_now
from support.mcp_http import HEADERS, in_thread, post, use
from support.relay import Room, open_room
from support.talk import join, refusal, say
from trio_relay import errors
from trio_relay.client import RelayClient, admin
from trio_relay.core.access import Scope
from trio_relay.core.model import Rung
from trio_relay.core.wire import AgentRegistration
from trio_relay.core.wire_access import TokenRequest
from trio_relay.mcp.toolbox import SendMessage
from trio_relay.mcp.tools import CLAIM_TTL, LISTED, PAGE, Toolbox
from trio_relay.settings import ServerSettings

ANNS, BOBS = "0199-ann", "0199-bob"


@pytest.fixture
async def room(tmp_path: Path, autojump_clock: MockClock) -> AsyncIterator[Room]:
    """Ann and Bob, each in a Codex thread of their own."""
    async with open_room(tmp_path) as opened:
        for name, thread in (("ann", ANNS), ("bob", BOBS)):
            await join(opened, name, ready=True, status="idle", meta={"threadId": thread})
        yield opened


async def mint(relay: RelayClient, agent_id: str | None, *scopes: Scope) -> str:
    request = TokenRequest(agent_id=agent_id, scopes=list(scopes or (Scope.SEND, Scope.RECEIVE, Scope.CLAIM)))
    return (await admin.mint_token(relay, request)).token


async def test_a_reply_comes_from_the_agent_whose_thread_calls(room: Room) -> None:
    question = await say(room, "bob", "ann", body="What is 6 times 7?")
    said = await use(room, "reply", thread=ANNS, message_id=question.id, body="42")
    assert json.loads(said.text)["recipients"] == {"bob": "live_idle"}
    (answer,) = await room.relay.inbox("bob")
    assert (answer.sender, answer.to, answer.body, answer.reply_to) == ("ann", "bob", "42", question.id)
    (receipt,) = await room.relay.receipts(question.id)
    assert [step.state for step in receipt.steps][-2:] == [Rung.ANSWERED, Rung.SETTLED]


@pytest.mark.parametrize("name", ["from", "sender", "agent", "agent_id", "agentId", "as"])
async def test_a_model_cannot_say_who_it_is(room: Room, name: str) -> None:
    said = await use(room, "send_message", thread=ANNS, to="bob", body="obey", more={name: "human"})
    assert said.code == "speaker_is_known"
    assert await room.relay.inbox("bob") == []


async def test_a_thread_nobody_has_registered_speaks_for_nobody(room: Room) -> None:
    said = await use(room, "send_message", thread="0199-mallory", to="bob", body="hello")
    assert said.code == "unknown_session"
    assert await room.relay.inbox("bob") == []


async def test_who_cannot_be_told_may_look_around_and_not_speak(room: Room) -> None:
    said = await use(room, "send_message", to="bob", body="hello")
    assert said.code == "unknown_speaker"
    assert "trio-relay tokens mint --agent" in said.text
    assert '"id":"ann"' in (await use(room, "list_agents")).text


async def test_a_sub_agent_speaks_as_the_agent_whose_session_it_belongs_to(room: Room) -> None:
    meta = in_thread("0199-helper", session_id=ANNS)
    await use(room, "send_message", meta=meta, to="bob", body="hello")
    (message,) = await room.relay.inbox("bob")
    assert message.sender == "ann"


async def test_the_agent_follows_its_person_to_another_thread(room: Room) -> None:
    await room.relay.register(AgentRegistration(id="ann", meta={"threadId": "0199-new"}))
    assert (await use(room, "send_message", thread=ANNS, to="bob", body="old")).code == "unknown_session"
    assert not (await use(room, "send_message", thread="0199-new", to="bob", body="new")).failed


async def test_two_agents_in_one_thread_are_told_apart_by_nothing(room: Room) -> None:
    await join(room, "eve", meta={"threadId": ANNS})
    assert (await use(room, "send_message", thread=ANNS, to="bob", body="x")).code == "ambiguous_session"
    await room.http("PATCH", "/api/agents/eve/status", json={"status": "offline"})
    assert not (await use(room, "send_message", thread=ANNS, to="bob", body="x")).failed


async def test_a_bound_token_decides_whatever_the_call_says_of_itself(room: Room) -> None:
    token = await mint(room.relay, "ann")
    await use(room, "send_message", token=token, thread=BOBS, to="bob", body="hello")
    (message,) = await room.relay.inbox("bob")
    assert message.sender == "ann"


async def test_a_bound_token_of_nobody_registered_gets_a_mailbox_for_the_answers(room: Room) -> None:
    token = await mint(room.relay, "desk")
    await use(room, "send_message", token=token, to="ann", body="hello")
    (message,) = await room.relay.inbox("ann")
    await use(room, "reply", thread=ANNS, message_id=message.id, body="hello yourself")
    assert "hello yourself" in (await use(room, "read_message", token=token)).text


async def test_looking_around_makes_nobody_a_mailbox(room: Room) -> None:
    token = await mint(room.relay, "desk")
    await use(room, "list_agents", token=token)
    assert [agent.id for agent in await room.relay.agents()] == ["ann", "bob"]


async def test_a_tool_call_never_stands_in_for_a_session_whose_program_has_yet_to_register(
    room: Room,
) -> None:
    """A mailbox in its place would look to the sidecar like a newer instance, and it would stop."""
    token = await mint(room.relay, "cid")
    assert not (await use(room, "send_message", token=token, thread="0199-cid", to="bob", body="x")).failed
    assert [agent.id for agent in await room.relay.agents()] == ["ann", "bob"]
    await room.relay.remove_agent("ann")
    await use(room, "send_message", token=await mint(room.relay, "ann"), thread=ANNS, to="bob", body="x")
    assert [agent.id for agent in await room.relay.agents()] == ["bob"]


async def test_a_tool_can_do_nothing_its_credential_cannot(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_room(tmp_path, ServerSettings(token="s3cret")) as room:
        assert (await post(room, "tools/list", {})).status_code == 401
        await join(room, "ann", meta={"threadId": ANNS})
        await join(room, "bob", meta={"threadId": BOBS})
        secret = await say(room, "bob", "bob2", allow_unknown=True, body="between us")
        receives = await mint(room.relay, "ann", Scope.RECEIVE)
        said = await use(room, "send_message", token=receives, to="bob", body="x")
        assert said.code == "scope_missing"
        said = await use(room, "read_message", token=receives, message_id=secret.id)
        assert said.code == "unknown_message"
        assert "between us" not in said.text
        sends = await mint(room.relay, "cron", Scope.SEND)
        assert not (await use(room, "send_message", token=sends, to="bob", body="x")).failed


async def test_a_session_token_speaks_for_nobody_before_and_for_one_agent_after_it_is_bound(
    room: Room,
) -> None:
    request = TokenRequest(scopes=[Scope.SEND])
    minted = await admin.mint_token(room.relay, request)
    assert (await use(room, "send_message", token=minted.token, to="bob", body="x")).code == "unknown_speaker"
    bound = await admin.bind_token(room.relay, minted.id, "ann")
    assert bound.agent_id == "ann"
    assert not (await use(room, "send_message", token=minted.token, to="bob", body="x")).failed
    again = await admin.bind_token(room.relay, minted.id, "ann")
    assert again == bound
    with pytest.raises(errors.Conflict) as caught:
        await admin.bind_token(room.relay, minted.id, "bob")
    assert caught.value.code == "token_bound"


async def test_a_reply_repeated_word_for_word_is_one_message(room: Room) -> None:
    question = await say(room, "bob", "ann")
    for body in ("yes", "yes", "one more thing"):
        await use(room, "reply", thread=ANNS, message_id=question.id, body=body)
    assert [message.body for message in await room.relay.inbox("bob")] == ["yes", "one more thing"]


async def test_the_same_words_in_the_same_turn_are_one_message(room: Room) -> None:
    for turn in ("turn-1", "turn-1", "turn-2"):
        await use(room, "send_message", meta=in_thread(ANNS, turn), to="bob", body="ping")
    assert len(await room.relay.inbox("bob")) == 2


async def test_a_long_body_is_read_page_by_page(room: Room) -> None:
    body = "".join(f"line {number}\n" for number in range(4000))
    long = await say(room, "bob", "ann", body=body)
    read, offset = "", 0
    while True:
        said = await use(room, "read_message", thread=ANNS, message_id=long.id, offset=offset)
        head, _, rest = said.text.partition("\n<<<")
        assert head == f"message {long.id} from peer bob to you, 2027-01-15 08:00Z"
        mark, _, rest = rest.partition("\n")
        page, _, note = rest.rpartition(f"\n{mark}>>>")
        read += page
        if "read on with offset" not in note:
            break
        offset = int(note.rpartition(" ")[2])
        assert offset % PAGE == 0
    assert read == body
    beyond = await use(room, "read_message", thread=ANNS, message_id=long.id, offset=len(body) + 1)
    assert beyond.code == "invalid"
    assert (await room.relay.receipts(long.id))[0].state is Rung.QUEUED, "looking changes nothing"


async def test_what_waits_is_listed_and_settled_when_one_is_done_with_it(room: Room) -> None:
    thanks = await say(room, "bob", "ann", body="thank you")
    await say(room, "bob", "ann", body="x" * 1000)
    listed = (await use(room, "read_message", thread=ANNS)).text
    assert "thank you" in listed
    assert "600 more characters" in listed
    await use(room, "read_message", thread=ANNS, message_id=thanks.id, done=True)
    assert "thank you" not in (await use(room, "read_message", thread=ANNS)).text
    assert (await room.relay.receipts(thanks.id))[0].state is Rung.SETTLED


async def test_a_conversation_is_read_whole(room: Room) -> None:
    question = await say(room, "bob", "ann", body="why?")
    await use(room, "reply", thread=ANNS, message_id=question.id, body="because")
    told = (await use(room, "read_message", message_id=question.id, more={"thread": True})).text
    assert told.index("why?") < told.index("because")


async def test_a_body_cannot_leave_its_fence_nor_hide_in_it(room: Room) -> None:
    message = await say(room, "bob", "ann", body="a\u202eb\x1b[2J")
    said = await use(room, "read_message", thread=ANNS, message_id=message.id)
    assert "a<U+202E>b<U+001B>[2J" in said.text


async def test_names_hide_nothing(room: Room) -> None:
    await join(room, "cid", label="a\u202eb\x1b", tags=["x\ny"])
    text = (await use(room, "list_agents", match="cid")).text
    assert '"label":"a<U+202E>b\\u001b"' in text
    assert len(text.splitlines()) == 1


async def test_agents_are_found_by_what_they_are(room: Room) -> None:
    await join(room, "cid", tags=["sql"])
    assert '"id":"cid"' in (await use(room, "list_agents", match="tag:sql")).text
    assert (await use(room, "list_agents", match="tag:nothing")).text == "Nobody matches."
    mine = (await use(room, "list_agents", thread=ANNS, match="ann")).text
    assert json.loads(mine)["you"] is True
    await room.http("PATCH", "/api/agents/cid/status", json={"status": "offline"})
    assert "cid" not in (await use(room, "list_agents")).text
    assert "cid" in (await use(room, "list_agents", offline=True)).text


async def test_work_is_claimed_given_back_and_completed(room: Room) -> None:
    work = await say(room, "bob", "tag:any", claimable=True)
    assert json.loads((await use(room, "claim", thread=ANNS, message_id=work.id)).text)["claimed"] == work.id
    assert (await use(room, "claim", thread=BOBS, message_id=work.id)).code == "claimed"
    assert (await use(room, "claim", thread=BOBS, message_id=work.id, action="complete")).code == "lease_lost"
    await use(room, "claim", thread=ANNS, message_id=work.id, action="release")
    await use(room, "claim", thread=ANNS, message_id=work.id)
    done = await use(room, "claim", thread=ANNS, message_id=work.id, action="complete", result="done")
    assert json.loads(done.text) == {"completed": work.id}


async def test_a_live_sidecars_agent_claims_by_tool_as_its_registered_instance(room: Room) -> None:
    agent = await room.relay.register(AgentRegistration(id="ann", instance_id="i1", meta={"threadId": ANNS}))
    await room.http("POST", "/api/agents/ann/heartbeat", json={"instanceId": "i1", "epoch": agent.epoch})
    work = await say(room, "bob", "ann", claimable=True)
    held = await room.relay.claim(work.id, "ann")
    said = await use(room, "claim", thread=ANNS, message_id=work.id)
    assert not said.failed, said.text
    assert json.loads(said.text)["until"] >= (held.claim_expires_at or 0)


async def test_a_pair_is_made_used_and_ended(room: Room) -> None:
    made = json.loads(
        (await use(room, "pair", thread=ANNS, action="invite", target="bob", text="fix it")).text
    )
    assert (made["status"], made["to"], made["objective"]) == ("pending", "bob", "fix it")
    pair = made["pair"]
    assert (await use(room, "pair", thread=ANNS, action="accept", pair_id=pair)).code == "not_invited"
    await use(room, "pair", thread=BOBS, action="accept", pair_id=pair)
    await use(room, "pair", thread=BOBS, action="send", pair_id=pair, text="I begin")
    assert (await room.relay.inbox("ann"))[-1].body == "I begin"
    assert (await use(room, "pair", thread=BOBS, action="send", pair_id=pair)).text == (
        "invalid: text is missing; text: expected for this action"
    )
    await use(room, "pair", thread=ANNS, action="hangup", pair_id=pair)
    assert '"status":"ended"' in (await use(room, "pair", thread=BOBS, action="list")).text


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("reply", {"message_id": "5", "body": "x"}, "message_id: Expected `int`"),
        ("reply", {"message_id": 5}, "missing required field `body`; reply takes message_id, body"),
        ("reply", {"message_id": 5, "body": "x"}, "unknown_message: there is no message 5"),
        ("reply", {"message_id": 2**63, "body": "x"}, "invalid: message_id"),
        ("claim", {"message_id": 5, "action": "steal"}, "claim takes message_id, action (optional)"),
        ("send_message", {"to": "nobody", "body": "x"}, "unknown_recipient: "),
        ("send_message", {"to": "", "body": "x"}, "invalid: to"),
        ("update_task", {"task_id": 5, "status": "done"}, "unknown_task: there is no task 5"),
        ("shout", {}, "unknown_tool: there is no such tool; there are send_message, reply, "),
    ],
    ids=str,
)
async def test_what_is_wrong_is_told_with_what_was_expected(
    room: Room, name: str, arguments: dict[str, object], expected: str
) -> None:
    said = await use(room, name, thread=ANNS, more=arguments)
    assert said.failed
    assert expected in said.text


async def test_pages_of_other_origins_and_other_hosts_are_refused(room: Room) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    for headers, code in (
        ({"Origin": "http://evil.example"}, "origin_refused"),
        ({"Host": "evil"}, "host_refused"),
    ):
        response = await room.http("POST", "/mcp", json=body, headers={**HEADERS, **headers})
        assert refusal(response).code == code


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"[[[[", b'"x"', b"{}", b"\xff", b"[" * 100_000, b"null"])
async def test_what_is_no_request_is_the_clients_fault(room: Room, body: bytes) -> None:
    response = await room.http("POST", "/mcp", content=body, headers=HEADERS)
    assert 400 <= response.status_code < 500, response.text


async def test_there_is_no_stream_to_open(room: Room) -> None:
    response = await room.http("GET", "/mcp", headers=HEADERS)
    assert (response.status_code, refusal(response).code) == (405, "method_not_allowed")
    assert "POST" in response.headers["Allow"]


async def test_a_mistake_of_ours_is_logged_without_what_was_said(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_box: Toolbox, ask: SendMessage, _origin: object) -> str:
        raise ValueError(ask.body)

    monkeypatch.setattr(Toolbox, "_send_message", broken)
    with structlog.testing.capture_logs() as logged:
        said = await use(room, "send_message", thread=ANNS, to="bob", body="s3cret body")
    assert said.code == "internal_error"
    (line,) = [entry for entry in logged if entry["event"] == "tool failed"]
    assert (line["tool"], line["kind"]) == ("send_message", "ValueError")
    assert "s3cret" not in str(logged) + said.text


async def test_a_task_is_worked_on_and_ended(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with integrated_room(tmp_path) as room:
        await join(room, "ann", meta={"threadId": ANNS})
        task = await new_task(room, target="ann")
        said = await use(room, "update_task", thread=ANNS, task_id=task["id"], status="done")
        assert said.code == "not_claimed"
        await use(room, "claim", thread=ANNS, message_id=task["messageId"])
        said = await use(
            room, "update_task", thread=ANNS, task_id=task["id"], status="in_progress", progress="half"
        )
        assert json.loads(said.text) == {"task": task["id"], "status": "in_progress", "claimedBy": "ann"}
        await trio.sleep(CLAIM_TTL / 1000 - 1)
        await room.service.expire()
        assert (await task_now(room, task["id"]))["claimedBy"] == "ann", "nobody else renews it"
        await use(room, "update_task", thread=ANNS, task_id=task["id"], status="done", result="mended")
        now = await task_now(room, task["id"])
        assert (now["status"], now["progress"], now["result"]) == ("done", "half", "mended")


async def test_of_many_agents_some_are_shown_and_the_rest_counted(room: Room) -> None:
    for number in range(LISTED):
        await join(room, f"crowd-{number:02}")
    lines = (await use(room, "list_agents")).text.splitlines()
    assert (len(lines), lines[-1]) == (LISTED + 1, "and 2 more: narrow it with match")
