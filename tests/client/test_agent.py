"""An agent of a program: in the room while its block runs, and honest about what it has done with each message."""

import msgspec
import pytest
import trio
from trio.testing import MockClock

from trio_relay.client import AgentSession, Received, Relay, admin
from trio_relay.client.sending import EventFields, MessageFields
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.core.wire import AgentRegistration, SendRequest, SentMessage
from trio_relay.core.wire_tasks import IntegrationEvent
from trio_relay.errors import ConnectionLost, Invalid, NotDelivered, Refused, StaleInstance, Unauthorized
from trio_relay.testing import InsideRelay


async def rungs(relay: Relay, message_id: int) -> list[str]:
    (ladder,) = await relay.client.receipts(message_id)
    return [step.state.value for step in ladder.steps]


async def test_an_agent_is_there_while_its_block_runs(relay: Relay, autojump_clock: MockClock) -> None:
    async with relay.agent("ci", tags=["build"], capabilities=["python"], channels=["c"], label="CI"):
        there = await relay.client.agent("ci")
        await trio.sleep(900)  # several times longer than a silent agent is believed to be there
        still = await relay.client.agent("ci")
    gone = await relay.client.agent("ci")
    assert (there.tags, there.capabilities, there.channels, there.label) == (
        ["build"],
        ["python"],
        ["c"],
        "CI",
    )
    assert (there.status, still.status, gone.status) == ("idle", "idle", "offline")


async def test_a_message_is_settled_when_the_loop_asks_for_the_next(
    relay: Relay, autojump_clock: MockClock
) -> None:
    async with relay.agent("ann") as ann, relay.agent("bob") as bob:
        first = await ann.send("bob", "one")
        second = await ann.send("bob", "two")
        inbox = bob.inbox()
        message = await anext(inbox)
        assert (message.id, message.body, message.sender) == (first.id, "one", "ann")
        assert await rungs(relay, first.id) == ["accepted", "queued", "handed_off"]
        assert (await anext(inbox)).id == second.id
        assert (await rungs(relay, first.id))[-1] == "settled"
        assert (await rungs(relay, second.id))[-1] == "handed_off"


async def test_what_a_loop_fails_at_is_not_settled_and_comes_again(
    relay: Relay, autojump_clock: MockClock
) -> None:
    async with relay.agent("ann") as ann, relay.agent("bob") as bob:
        sent = await ann.send("bob", "one")
        with pytest.raises(ZeroDivisionError):  # noqa: PT012  # the loop is what is tried
            async for _ in bob.inbox():
                _ = 1 / 0
        assert (await rungs(relay, sent.id))[-1] == "handed_off"
        async for message in bob.inbox():
            assert message.id == sent.id
            await message.settle()
            break
        assert (await rungs(relay, sent.id))[-2:] == ["handed_off", "settled"]


async def fail_at(bob: AgentSession, message: Received, how: str) -> None:
    if how == "seen":
        await message.seen(turnId="t1")
    if how == "answered":
        await message.reply("I will", idempotency_key="once")
    if how == "block":
        async with message:
            raise ZeroDivisionError
    raise ZeroDivisionError


@pytest.mark.parametrize("how", ["plain", "seen", "answered", "block"])
@pytest.mark.parametrize("restarts", [False, True])
async def test_a_message_nothing_can_be_done_with_ends_as_a_dead_letter(
    relay: Relay, autojump_clock: MockClock, how: str, restarts: bool
) -> None:
    failures = 0

    async def handle(bob: AgentSession) -> None:
        nonlocal failures
        with pytest.raises(ZeroDivisionError):  # noqa: PT012  # the loop is what is tried
            async for message in bob.inbox(manual=how == "block"):
                failures += 1
                await fail_at(bob, message, how)

    for agent in ("ann", "bob"):
        await relay.client.register(AgentRegistration(id=agent))
    sent = await relay.send("bob", "one", sender="ann")
    with trio.move_on_after(60):
        if restarts:
            while failures < 10:
                async with relay.agent("bob") as bob:
                    await handle(bob)
        async with relay.agent("bob") as bob:
            while failures < 10:
                await handle(bob)
    (ladder,) = await relay.client.receipts(sent.id)
    if restarts and how == "answered":  # the next run knows that it was answered
        assert (failures, ladder.state) == (1, Rung.SETTLED)
        return
    assert (failures, ladder.attempts, ladder.state) == (5, 5, Rung.DEAD)
    evidence = ladder.steps[-1].evidence
    assert evidence["reason"] == "handed off too often"
    if not restarts:
        assert evidence["after"] == ("ZeroDivisionError" if how == "block" else "its loop was left")


async def test_an_error_in_the_block_comes_out_as_itself(relay: Relay, autojump_clock: MockClock) -> None:
    with pytest.raises(ZeroDivisionError):
        async with relay.agent("ann"):
            _ = 1 / 0
    assert (await relay.client.agent("ann")).status == "offline"


async def test_the_next_run_takes_up_what_the_last_one_did_not_finish(
    relay: Relay, autojump_clock: MockClock
) -> None:
    async with relay.agent("ann") as ann:
        async with relay.agent("bob") as bob:
            sent = await ann.send("bob", "one")
            seen = await ann.send("bob", "two")
            answered = await ann.send("bob", "three")
            await bob.receive()
            await (await bob.receive()).seen(turn="t1")
            await (await bob.receive()).reply("yes")
        async with relay.agent("bob") as bob:
            again = [(await bob.receive()).id for _ in range(2)]
            await trio.sleep(1)
    assert sorted(again) == [sent.id, seen.id]
    assert (await rungs(relay, answered.id))[-2:] == ["answered", "settled"]


async def test_messages_may_be_worked_on_side_by_side(relay: Relay, autojump_clock: MockClock) -> None:
    async def work(message: Received) -> None:
        async with message:
            await trio.sleep(10)
            if message.body == "bad":
                raise ValueError(message.body)

    async with relay.agent("ann") as ann, relay.agent("bob") as bob:
        good = await ann.send("bob", "good")
        bad = await ann.send("bob", "bad")
        inbox = bob.inbox(manual=True)
        with pytest.raises(ExceptionGroup):  # noqa: PT012  # as above
            async with trio.open_nursery() as nursery:
                nursery.start_soon(work, await anext(inbox))
                nursery.start_soon(work, await anext(inbox))
                assert trio.current_time() < 5
        assert (await rungs(relay, bad.id))[-1] == "handed_off"
        assert {(await bob.receive()).id} <= {good.id, bad.id}


async def test_a_message_that_was_withdrawn_meanwhile_is_not_given_out(
    relay: Relay, autojump_clock: MockClock
) -> None:
    async with relay.agent("ann") as ann, relay.agent("bob") as bob:
        await ann.send("bob", "old", collapse_key="status")
        await trio.sleep(1)  # bob's poll has it
        newer = await ann.send("bob", "new", collapse_key="status")
        assert (await bob.receive()).id == newer.id


async def test_a_question_gets_its_answer_and_no_loop_sees_it(
    relay: Relay, autojump_clock: MockClock
) -> None:
    async def answer(task_status: trio.TaskStatus[None]) -> None:
        async with relay.agent("bob") as bob:
            task_status.started()
            async for message in bob.inbox():
                await message.reply("at it", type="ack")
                await trio.sleep(100)
                await message.reply(f"{message.body}? yes")

    async with trio.open_nursery() as nursery, relay.agent("ann") as ann:
        await nursery.start(answer)
        taken: list[str] = []

        @nursery.start_soon
        async def read() -> None:
            async for message in ann.inbox():
                taken.append(message.body)  # noqa: PERF401  # the loop does not end

        told = await ann.ask("bob", "ready")
        assert told.body == "ready? yes"
        assert (await rungs(relay, told.id))[-1] == "settled"
        assert taken == ["at it"]
        nursery.cancel_scope.cancel()


def hear_late(agent: AgentSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what this agent sends arrive at once, and the relay's answer to it five seconds later."""
    send = agent.relay.send

    async def send_slowly(request: SendRequest) -> SentMessage:
        sent = await send(request)
        if request.sender == agent.id:
            await trio.sleep(5)
        return sent

    monkeypatch.setattr(agent.relay, "send", send_slowly)


async def test_an_answer_behind_many_unread_messages_is_found(
    relay: Relay, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is here before the relay has said which message the question is, and more wait than are kept whole."""
    await relay.client.register(AgentRegistration(id="ann"))
    for number in range(1_500):
        await relay.send("ann", str(number), sender="log")
    async with relay.agent("bob") as bob, relay.agent("ann") as ann, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def answer() -> None:
            async for message in bob.inbox():
                await message.reply("at it", type="ack")
                await message.reply("yes")

        hear_late(ann, monkeypatch)
        told = await ann.ask("bob", "ready?")
        assert told.body == "yes"
        assert (await rungs(relay, told.id))[-1] == "settled"
        inbox = ann.inbox()
        assert [(await anext(inbox)).body for _ in range(3)] == ["0", "1", "2"]
        nursery.cancel_scope.cancel()


async def test_a_question_that_was_answered_before_gets_that_answer(
    relay: Relay, autojump_clock: MockClock
) -> None:
    async with relay.agent("bob") as bob, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def answer() -> None:
            async for message in bob.inbox():
                await message.reply("yes")

        told = []
        for _ in range(2):
            async with relay.agent("ann") as ann:
                told.append(await ann.ask("bob", "ready?", idempotency_key="once"))
        assert told[0].id == told[1].id
        nursery.cancel_scope.cancel()


async def test_an_answer_that_was_taken_out_of_the_room_is_not_waited_for(
    relay: Relay, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_relay.client.arrivals.KEPT", 0)
    async with relay.agent("bob") as bob, relay.agent("ann") as ann, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def answer() -> None:
            message = await bob.receive()
            reply = await message.reply("yes")
            await trio.sleep(1)
            await relay.client.delete(reply.id)

        hear_late(ann, monkeypatch)
        with pytest.raises(NotDelivered, match="taken out of the room"):
            await ann.ask("bob", "ready?")


async def test_a_question_nobody_can_answer_any_more_ends(relay: Relay, autojump_clock: MockClock) -> None:
    await relay.client.register(AgentRegistration(id="bob", status=AgentStatus.OFFLINE))
    async with relay.agent("ann") as ann:
        with pytest.raises(NotDelivered, match="expired"):
            await ann.ask("bob", "quick", ttl_ms=5_000)
        with trio.move_on_after(60) as patience:
            await ann.ask("bob", "anytime")
    assert patience.cancelled_caught


async def test_a_sender_may_wait_for_a_rung(relay: Relay, autojump_clock: MockClock) -> None:
    async with relay.agent("ann") as ann, relay.agent("bob") as bob, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read() -> None:
            await trio.sleep(30)
            async for _ in bob.inbox():
                await trio.sleep(30)

        sent = await ann.send("bob", "one", wait="handed_off")
        assert 30 <= trio.current_time() <= 31
        await relay.send("bob", "two", sender="ann", wait=Rung.HANDED_OFF)
        assert (await rungs(relay, sent.id))[-1] == "settled"
        nursery.cancel_scope.cancel()


async def test_whoever_is_replaced_is_stopped_and_told(relay: Relay, autojump_clock: MockClock) -> None:
    with pytest.raises(StaleInstance, match="a newer instance has registered"):  # noqa: PT012
        async with relay.agent("ci"):
            await relay.client.register(AgentRegistration(id="ci", instance_id="the newer one"))
            await trio.sleep_forever()
    assert (await relay.client.agent("ci")).status == "online"


async def test_a_relay_that_has_forgotten_an_agent_hears_of_it_again(
    relay: Relay, autojump_clock: MockClock
) -> None:
    async with relay.agent("ann") as ann, relay.agent("bob", tags=["build"]) as bob:
        await relay.client.remove_agent("bob")
        await trio.sleep(60)
        assert (await relay.client.agent("bob")).tags == ["build"]
        await ann.send("bob", "still there?")
        assert (await bob.receive()).body == "still there?"


async def test_an_agent_that_is_not_let_in_again_is_over(
    relay: Relay, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that wait for its messages hear of it by `Presence.over`."""

    async def refused(_: AgentRegistration) -> None:
        raise Refused("not any more")

    with pytest.raises(Refused, match="not any more"):  # noqa: PT012
        async with relay.agent("ann") as ann:
            monkeypatch.setattr(ann.relay, "register", refused)
            await relay.client.remove_agent("ann")
            await trio.sleep_forever()
    assert ann.presence.over.is_set()
    assert isinstance(ann.presence.error, Refused)


async def test_a_relay_that_is_away_is_waited_for(
    relay: Relay, inside: InsideRelay, autojump_clock: MockClock
) -> None:
    async with relay.agent("ann") as ann, relay.agent("bob") as bob:
        inside.cut()
        with pytest.raises(ConnectionLost):
            await ann.send("bob", "lost")
        await trio.sleep(600)
        inside.mend()
        await trio.sleep(60)
        assert (await relay.client.agent("bob")).status == "idle"
        await ann.send("bob", "found")
        assert (await bob.receive()).body == "found"
    inside.cut()
    with pytest.raises(ConnectionLost, match="cannot be reached"):
        async with relay.agent("cid"):
            pass


async def test_an_agent_whose_relay_is_away_leaves_soon(
    relay: Relay, inside: InsideRelay, autojump_clock: MockClock
) -> None:
    with trio.fail_after(6):
        async with relay.agent("ann"):
            inside.cut()


async def test_a_field_that_no_message_has_is_named(relay: Relay, autojump_clock: MockClock) -> None:
    async with relay.agent("ann") as ann:
        with pytest.raises(Invalid, match="a message has no titel"):
            await ann.send("bob", "one", titel="x")  # type: ignore[call-arg]
        with pytest.raises(Invalid, match="subject"):
            await ann.send("bob", "one", subject=7)  # type: ignore[arg-type]


async def test_a_person_is_asked_and_the_answer_awaited(
    relay: Relay, inside: InsideRelay, autojump_clock: MockClock
) -> None:
    from trio_relay.client import approvals
    from trio_relay.core.wire_approvals import Decision

    async with relay.agent("ann") as ann, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def decide() -> None:
            await trio.sleep(90)
            (asked,) = await approvals.list_approvals(relay.client, agent="ann")
            await approvals.decide(relay.client, asked.id, Decision.ALLOW, "go on")

        answer = await ann.ask_person("deploy", "Deploy 7 to production")
    assert (answer.state, answer.reason) == ("allowed", "go on")


async def test_of_several_who_are_asked_one_answer_is_enough(relay: Relay, autojump_clock: MockClock) -> None:
    async def take_note(name: str, task_status: trio.TaskStatus[None]) -> None:
        async with relay.agent(name, tags=["all"]) as me:
            task_status.started()
            async for message in me.inbox():
                await trio.sleep(30)
                if name == "bob":
                    await message.reply("I will")

    async with trio.open_nursery() as nursery, relay.agent("ann") as ann:
        for name in ("bob", "cid"):
            await nursery.start(take_note, name)
        assert (await ann.ask("tag:all", "who?")).body == "I will"
        nursery.cancel_scope.cancel()


async def test_an_answer_to_a_question_given_up_is_in_the_inbox(
    relay: Relay, autojump_clock: MockClock
) -> None:
    async with relay.agent("ann") as ann, relay.agent("bob") as bob:
        with trio.move_on_after(5):
            await ann.ask("bob", "quick?")
        async with await bob.receive() as question:
            await question.reply("late")
        assert (await ann.receive()).body == "late"


async def test_a_token_that_is_revoked_ends_the_block(inside: InsideRelay, autojump_clock: MockClock) -> None:
    async with inside.connect(await inside.mint("tmp")) as guest:
        with pytest.raises(Unauthorized):  # noqa: PT012
            async with guest.agent("ann"), inside.connect() as owner:
                await admin.revoke_token(owner.client, (await admin.list_tokens(owner.client))[0].id)
                await trio.sleep_forever()


def test_every_field_of_a_message_and_of_an_event_can_be_given() -> None:
    for fields, struct, named in (
        (MessageFields, SendRequest, {"sender", "to", "body"}),
        (EventFields, IntegrationEvent, {"title"}),
    ):
        known = {field.name: field.type for field in msgspec.structs.fields(struct)}
        assert set(fields.__annotations__) == set(known) - named
