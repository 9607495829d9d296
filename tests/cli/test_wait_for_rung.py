"""``send --wait`` and ``inbox --follow``, in virtual time."""

import pytest
import trio

from support.relay import Room
from trio_relay.cli.shared.session import myself
from trio_relay.cli.shared.waiting import Outcome, wait_for
from trio_relay.cli.talking.inbox import arrivals
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.core.wire import AgentRegistration, SendRequest, SentMessage


async def message_to_ben(room: Room) -> SentMessage:
    await room.relay.register(AgentRegistration(id="ben", status=AgentStatus.IDLE, ready=True))
    return await room.relay.send(SendRequest(sender="anna", to="ben", body="hello"))


async def waited(room: Room, message: SentMessage, rung: Rung, seconds: float) -> tuple[float, Outcome]:
    begun = trio.current_time()
    outcome = await wait_for(room.relay, message, rung, seconds)
    return round(trio.current_time() - begun, 3), outcome


async def test_waiting_ends_at_the_first_look_after_the_rung_is_reached(
    room: Room, nursery: trio.Nursery
) -> None:
    message = await message_to_ben(room)

    async def climb() -> None:
        await trio.sleep(2.05)
        await room.relay.report(message.id, "ben", Rung.IN_CONTEXT, {})

    nursery.start_soon(climb)
    took, outcome = await waited(room, message, Rung.HANDED_OFF, 60)
    assert (took, outcome.reached) == (2.1, True)


async def test_waiting_gives_up_when_time_is_up(room: Room) -> None:
    message = await message_to_ben(room)
    took, outcome = await waited(room, message, Rung.HANDED_OFF, 5)
    assert (took, outcome.reached, [ladder.state for ladder in outcome.receipts]) == (5, False, [Rung.QUEUED])


async def test_waiting_for_an_answer_brings_the_answer(room: Room) -> None:
    message = await message_to_ben(room)
    await room.relay.send(
        SendRequest(sender="ben", to="anna", body="hi", reply_to=message.id, allow_unknown=True)
    )
    _, outcome = await waited(room, message, Rung.ANSWERED, 60)
    assert (outcome.reached, [answer.body for answer in outcome.answers]) == (True, ["hi"])


@pytest.mark.parametrize("rung", [Rung.HANDED_OFF, Rung.IN_CONTEXT, Rung.ANSWERED])
async def test_a_read_mark_settles_but_proves_no_delivery(room: Room, rung: Rung) -> None:
    message = await message_to_ben(room)
    await room.relay.mark_read(message.id, "ben")
    took, outcome = await waited(room, message, rung, 60)
    assert (took, outcome.reached) == (0, False)
    _, outcome = await waited(room, message, Rung.SETTLED, 60)
    assert outcome.reached


async def test_waiting_ends_at_once_when_the_recipient_is_removed(room: Room) -> None:
    message = await message_to_ben(room)
    await room.relay.remove_agent("ben")
    took, outcome = await waited(room, message, Rung.IN_CONTEXT, 60)
    assert (took, outcome.reached, outcome.receipts[0].state) == (0, False, Rung.DEAD)


async def test_a_parked_message_is_waited_for(room: Room, nursery: trio.Nursery) -> None:
    message = await room.relay.send(SendRequest(sender="anna", to="cap:sums", body="1 + 1"))

    async def arrive() -> None:
        await trio.sleep(1.05)
        await room.relay.register(AgentRegistration(id="ben", capabilities=["sums"]))
        await room.relay.report(message.id, "ben", Rung.HANDED_OFF, {})

    nursery.start_soon(arrive)
    took, outcome = await waited(room, message, Rung.HANDED_OFF, 60)
    assert (took, outcome.reached) == (1.1, True)


async def test_of_those_who_were_offered_a_claimable_one_is_enough(room: Room) -> None:
    for name in ("ben", "carl"):
        await room.relay.register(AgentRegistration(id=name, capabilities=["sums"]))
    message = await room.relay.send(SendRequest(sender="anna", to="cap:sums", body="1 + 1", claimable=True))
    claim = await room.relay.claim(message.id, "ben")
    await room.relay.report(message.id, "ben", Rung.IN_CONTEXT, {})
    _, outcome = await waited(room, message, Rung.IN_CONTEXT, 60)
    assert outcome.reached
    await room.relay.complete(message.id, "ben", claim.lease_token)
    await room.relay.report(message.id, "ben", Rung.SETTLED, {})
    took, outcome = await waited(room, message, Rung.ANSWERED, 60)
    assert (took, outcome.reached) == (0, False)


async def test_following_an_inbox_outlives_the_relay_being_away(
    room: Room, nursery: trio.Nursery, capsys: pytest.CaptureFixture[str]
) -> None:
    await myself(room.relay, "anna")
    seen: list[tuple[float, str]] = []

    async def follow() -> None:
        async for message in arrivals(room.relay, "anna", unread=True, follow=True):
            seen.append((round(trio.current_time()), message.body))  # noqa: PERF401  # an endless loop

    async def send(body: str) -> None:
        await room.relay.send(SendRequest(sender="ben", to="anna", body=body))

    begun = round(trio.current_time())
    await send("before")
    nursery.start_soon(follow)
    await trio.sleep(100)
    await send("live")
    await trio.sleep(1)
    room.transport.broken = True
    await trio.sleep(120)
    room.transport.broken = False
    await send("after")
    await trio.sleep(20)
    assert [body for _, body in seen] == ["before", "live", "after"]
    assert seen[1][0] == begun + 100
    assert capsys.readouterr().err.count("waiting for it to come back") == 1
    nursery.cancel_scope.cancel()


async def test_an_inbox_of_many_pages_is_read_to_its_end(room: Room) -> None:
    await myself(room.relay, "anna")
    for number in range(401):
        await room.relay.send(SendRequest(sender="ben", to="anna", body=str(number)))
    bodies = [message.body async for message in arrivals(room.relay, "anna", unread=True, follow=False)]
    assert bodies == [str(number) for number in range(401)]


async def test_a_mailbox_is_registered_once_and_changes_nobody_who_is_there(room: Room) -> None:
    await room.relay.register(AgentRegistration(id="ben", label="b", status=AgentStatus.BUSY, ready=True))
    before = await room.relay.agent("ben")
    assert (await myself(room.relay, "ben")).agent_id == "ben"
    assert await room.relay.agent("ben") == before
    assert (await myself(room.relay, "carl")).agent_id == "carl"
    carl = await room.relay.agent("carl")
    assert (carl.status, carl.ready) == (AgentStatus.OFFLINE, False)
