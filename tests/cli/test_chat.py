"""A person at a terminal as one of the room: ``chat`` and ``inbox --follow``, in virtual time."""

import math
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager

import pytest
import trio

from support.relay import Room
from trio_relay.cli.shared.failures import Failure
from trio_relay.cli.talking.chatting import Chat, as_a_person
from trio_relay.cli.talking.inbox import Listing
from trio_relay.cli.talking.presence import present, take
from trio_relay.cli.talking.typing_line import Kind, Shown
from trio_relay.client import RelayClient, admin
from trio_relay.core.model import CANARY, AgentStatus, Rung, Verdict
from trio_relay.core.wire import AgentRegistration, SendRequest, SentMessage
from trio_relay.errors import Unavailable


class Typed:
    """Somebody who types lines at certain seconds; what is shown is kept."""

    def __init__(self, *lines: tuple[float, str], ends: float = math.inf) -> None:
        self._lines = lines
        self._ends = ends
        self.shown: list[Shown] = []

    async def lines(self) -> AsyncGenerator[str, None]:
        begun = trio.current_time()
        for at, line in self._lines:
            await trio.sleep_until(begun + at)
            yield line
        await trio.sleep_until(begun + self._ends)

    def show(self, shown: Shown) -> None:
        self.shown.append(shown)

    def of(self, kind: Kind) -> list[str]:
        return [shown.text for shown in self.shown if shown.kind is kind]


async def bob_is_there(room: Room, agent_id: str = "bob") -> None:
    await room.relay.register(
        AgentRegistration(id=agent_id, status=AgentStatus.IDLE, ready=True, tags=["dev"])
    )


async def bob_says(room: Room, body: str, **fields: object) -> SentMessage:
    request = SendRequest(sender="bob", to="ann", body=body, **fields)  # type: ignore[arg-type]
    return await room.relay.send(request)


async def talk(
    room: Room, face: Typed, *, target: str = "bob", person: bool = True, linger: float = 0.0
) -> None:
    async with present(room.relay, "ann"):
        await Chat(room.relay, "ann", target, face, person=person).run(linger)


async def states(room: Room, message_id: int) -> list[Rung]:
    [ladder] = await room.relay.receipts(message_id)
    return [step.state for step in ladder.steps]


# Being there


async def test_whoever_is_at_a_terminal_is_live_and_then_offline(room: Room) -> None:
    await bob_is_there(room)
    async with present(room.relay, "ann"):
        await trio.sleep(1000)  # longer than silence is taken for presence
        [verdict] = (await bob_says(room, "hi")).recipients
        assert verdict.verdict is Verdict.LIVE_IDLE
    ann = await room.relay.agent("ann")
    assert (ann.status, ann.ready) == (AgentStatus.OFFLINE, False)


async def test_a_relay_that_is_busy_ends_no_chat(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    async def busy(*_: object, **__: object) -> None:
        raise Unavailable("the store is busy")

    await bob_is_there(room)
    async with present(room.relay, "ann"):
        said = await bob_says(room, "hi")
        [message] = await room.relay.inbox("ann")
        with monkeypatch.context() as patched:
            patched.setattr(RelayClient, "heartbeat", busy)
            patched.setattr(RelayClient, "report", busy)
            await trio.sleep(100)
            assert await take(room.relay, "ann", message)
        await trio.sleep(100)
        assert (await room.relay.agent("ann")).status is AgentStatus.IDLE
    assert await states(room, said.id) == [Rung.ACCEPTED, Rung.QUEUED]


async def test_of_two_terminals_one_may_leave(room: Room) -> None:
    async with present(room.relay, "ann"):
        async with present(room.relay, "ann"):
            pass
        assert (await room.relay.agent("ann")).status is AgentStatus.OFFLINE
        await trio.sleep(21)
        ann = await room.relay.agent("ann")
        assert (ann.status, ann.ready, ann.epoch) == (AgentStatus.IDLE, True, 1)


async def test_a_mailbox_keeps_its_label_and_tags(room: Room) -> None:
    async with present(room.relay, "ann"):
        await room.relay.set_label("ann", "boss")
        await room.relay.set_tags("ann", ["oncall"])
    async with present(room.relay, "ann"):
        ann = await room.relay.agent("ann")
    assert (ann.label, ann.tags) == ("boss", ["oncall"])


async def test_nobody_sits_down_as_a_programs_agent(room: Room) -> None:
    await room.relay.register(AgentRegistration(id="session", rig="codex-live", status=AgentStatus.IDLE))
    with pytest.raises(Failure, match="the agent of a program"):
        async with present(room.relay, "session"):
            pass
    assert (await room.relay.agent("session")).status is AgentStatus.IDLE


# Talking


async def test_lines_are_sent_and_what_comes_is_shown(room: Room, nursery: trio.Nursery) -> None:
    await bob_is_there(room)
    face = Typed((1, "is it"), (2, "done? \\"), (3, "really?"), (4, ""), ends=30)
    nursery.start_soon(talk, room, face)
    await trio.sleep(5)
    first, second = reversed(await room.relay.browse(**{"from": "ann"}))
    assert (first.body, second.body, second.to) == ("is it", "done? \nreally?", "bob")
    await bob_says(room, "Yes.\nSince \x1b[2J nine.", reply_to=second.id)
    await trio.sleep(1)
    [message] = face.of(Kind.MESSAGE)
    assert message.splitlines()[1:] == ["  Yes.", "  Since \\x1b[2J nine."]
    assert message.startswith("bob  ")
    nursery.cancel_scope.cancel()


async def test_a_line_answers_what_was_said_last_and_proves_that_the_rest_was_read(room: Room) -> None:
    await bob_is_there(room)
    async with present(room.relay, "ann"):
        pass
    one, two = await bob_says(room, "one"), await bob_says(room, "two")
    face = Typed((1, "both seen"), ends=2)
    await talk(room, face)
    [answer] = await room.relay.browse(**{"from": "ann"})
    assert (answer.reply_to, answer.type) == (two.id, "reply")
    assert await states(room, one.id) == [Rung.ACCEPTED, Rung.QUEUED, Rung.HANDED_OFF, Rung.SETTLED]
    assert await states(room, two.id) == [
        *(Rung.ACCEPTED, Rung.QUEUED, Rung.HANDED_OFF, Rung.ANSWERED, Rung.SETTLED)
    ]


async def test_what_is_shown_to_nobody_in_particular_is_handed_off_and_stays_unread(room: Room) -> None:
    await bob_is_there(room)
    async with present(room.relay, "ann"):
        pass
    message = await bob_says(room, "anybody?")
    await talk(room, Typed(ends=1), person=False)
    for _ in range(10):  # however often it is shown, it is one hand-off
        await talk(room, Typed(ends=1), person=False)
    assert await states(room, message.id) == [Rung.ACCEPTED, Rung.QUEUED, Rung.HANDED_OFF]
    assert [each.id for each in await room.relay.inbox("ann")] == [message.id]


async def test_leaving_with_a_key_proves_that_somebody_sat_there(room: Room) -> None:
    await bob_is_there(room)
    async with present(room.relay, "ann"):
        pass
    message = await bob_says(room, "bye")
    await talk(room, Typed(ends=1))
    assert (await states(room, message.id))[-1] is Rung.SETTLED


async def test_it_is_told_how_far_a_line_has_got(room: Room, nursery: trio.Nursery) -> None:
    await bob_is_there(room)
    face = Typed((0, "hello"), ends=30)
    nursery.start_soon(talk, room, face)
    await trio.sleep(1)
    [sent] = await room.relay.browse(**{"from": "ann"})
    await room.relay.report(sent.id, "bob", Rung.HANDED_OFF, {})
    await trio.sleep(1)
    await room.relay.report(sent.id, "bob", Rung.IN_CONTEXT, {})
    await trio.sleep(1)
    await room.relay.report(sent.id, "bob", Rung.SETTLED, {})
    await trio.sleep(1)
    assert face.of(Kind.STATUS) == [
        f"  [{sent.id}] handed_off after 1.00 s",
        f"  [{sent.id}] in_context after 2.00 s",
        f"  [{sent.id}] settled after 3.00 s",
    ]
    assert {shown.key for shown in face.shown if shown.kind is Kind.STATUS} == {sent.id}
    nursery.cancel_scope.cancel()


async def test_of_many_recipients_it_is_counted(room: Room, nursery: trio.Nursery) -> None:
    for name in ("bob", "carl", "dora"):
        await bob_is_there(room, name)
    face = Typed((0, "all hands"), ends=30)

    async def chat() -> None:
        await talk(room, face, target="tag:dev")

    nursery.start_soon(chat)
    await trio.sleep(1)
    [sent] = await room.relay.browse(**{"from": "ann"})
    await room.relay.report(sent.id, "bob", Rung.IN_CONTEXT, {})
    await room.relay.report(sent.id, "dora", Rung.HANDED_OFF, {})
    await trio.sleep(1)
    assert face.of(Kind.STATUS)[-1] == f"  [{sent.id}] 1 of 3 in_context, 1 of 3 handed_off"
    nursery.cancel_scope.cancel()


async def test_doubts_are_said_at_once(room: Room) -> None:
    await bob_is_there(room)
    await room.relay.set_status("bob", AgentStatus.OFFLINE)
    face = Typed((0, "hello"), (1, "/to tag:night"), (2, "anybody?"), (3, "/to nobody"), ends=4)
    await talk(room, face)
    assert face.of(Kind.STATUS) == [
        "  [1] bob is offline: it waits in the inbox",
        "  [2] nobody answers to that yet: it waits for the first who does",
    ]
    assert face.of(Kind.NOTE)[-1].startswith("no agent 'nobody'")


async def test_commands_are_not_sent(room: Room) -> None:
    await bob_is_there(room)
    face = Typed((0, "/help"), (1, "/frob x"), (2, "//etc is a directory"), (3, "/quit"))
    await talk(room, face)
    assert [message.body for message in await room.relay.browse()] == ["/etc is a directory"]
    assert "No such command: /frob x." in face.of(Kind.NOTE)[1]


async def test_a_line_outlives_the_relay_being_away_and_is_sent_once(
    room: Room, nursery: trio.Nursery, capsys: pytest.CaptureFixture[str]
) -> None:
    await bob_is_there(room)
    face = Typed((5, "important"), ends=1000)
    nursery.start_soon(talk, room, face)
    await trio.sleep(2)
    room.transport.broken = True
    await trio.sleep(60)
    room.transport.broken = False
    await trio.sleep(30)
    assert [message.body for message in await room.relay.browse()] == ["important"]
    assert face.of(Kind.NOTE) == ["The relay is away; this is sent as soon as it is back."]
    nursery.cancel_scope.cancel()
    capsys.readouterr()


async def test_a_script_stays_for_the_answers_to_what_it_sent(room: Room, nursery: trio.Nursery) -> None:
    await bob_is_there(room)
    face = Typed((0, "ready?"), ends=0)

    async def answer() -> None:
        await trio.sleep(7)
        await bob_says(room, "Ready.", reply_to=1)

    nursery.start_soon(answer)
    begun = trio.current_time()
    await talk(room, face, person=False, linger=30)
    assert 7 <= trio.current_time() - begun < 8
    assert face.of(Kind.MESSAGE)[-1].endswith("  Ready.")
    begun = trio.current_time()
    await talk(room, Typed((0, "again?"), ends=0), person=False, linger=30)
    assert round(trio.current_time() - begun) == 30


async def test_a_person_speaks_as_one_for_as_long_as_they_chat(room: Room) -> None:
    async with present(room.relay, "ann"):
        pass

    def connect(url: str, token: str) -> AbstractAsyncContextManager[RelayClient]:
        return RelayClient.open(url, token, transport=room.transport)

    async with as_a_person(room.relay, "ann", connect) as personal:
        said = await personal.send(SendRequest(sender="ann", to="tag:x", body="hear, hear"))
        assert (said.authority, (await personal.whoami()).agent_id) == ("human", "ann")
        async with as_a_person(personal, "ann", connect) as same:
            assert same is personal
    [token] = await admin.list_tokens(room.relay)
    assert (token.name, token.revoked_at is not None) == ("chat", True)


# Following an inbox


async def test_who_follows_is_there_and_what_is_shown_was_handed_off(
    room: Room, nursery: trio.Nursery, capsys: pytest.CaptureFixture[str]
) -> None:
    await bob_is_there(room)
    async with present(room.relay, "ann"):
        pass
    listing = Listing(room.relay, "ann", unread=True, mark_read=False, as_json=False)
    nursery.start_soon(listing.follow)
    await trio.sleep(1)
    message = await bob_says(room, "news")
    assert message.recipients[0].verdict is Verdict.LIVE_IDLE
    canary = await bob_says(room, "canary", type=CANARY)
    await trio.sleep(1)
    assert capsys.readouterr().out.endswith("\n  news\n")
    assert (await states(room, message.id))[-1] is Rung.HANDED_OFF
    assert (await states(room, canary.id))[-1] is Rung.SETTLED
    nursery.cancel_scope.cancel()


async def test_following_a_programs_inbox_is_only_looking(
    room: Room, nursery: trio.Nursery, capsys: pytest.CaptureFixture[str]
) -> None:
    await room.relay.register(
        AgentRegistration(id="session", rig="codex-live", status=AgentStatus.BUSY, instance_id="run-1")
    )
    listing = Listing(room.relay, "session", unread=True, mark_read=False, as_json=False)
    nursery.start_soon(listing.follow)
    await trio.sleep(1)
    message = await room.relay.send(SendRequest(sender="bob", to="session", body="psst"))
    await trio.sleep(1)
    assert "psst" in capsys.readouterr().out
    assert (await states(room, message.id))[-1] is Rung.QUEUED
    session = await room.relay.agent("session")
    assert (session.status, session.ready) == (AgentStatus.BUSY, False)
    nursery.cancel_scope.cancel()
