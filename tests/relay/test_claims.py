"""Claims: one holder at any instant, exact expiry, and a stale token that changes nothing."""

from typing import Any

import pytest
import trio

from support.relay import EPOCH, Room
from support.talk import join, refusal, say, session
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.core.wire import ClaimedMessage, SessionFields
from trio_relay.errors import Conflict, Invalid, LeaseLost, NotFound, StaleInstance

TTL = 90


async def offer(room: Room, *agents: str, to: str = "tag:work") -> int:
    """A claimable message, offered to `agents`."""
    for agent in agents:
        await join(room, agent, tags=["work"])
    return (await say(room, "ann", to, claimable=True)).id


async def test_a_claim_says_who_until_when_and_by_which_token(room: Room) -> None:
    message_id = await offer(room, "bob")
    await trio.sleep(5)
    claimed = await room.relay.claim(message_id, "bob")
    assert (claimed.claimed_by, claimed.claimed_at) == ("bob", EPOCH + 5_000)
    assert claimed.claim_expires_at == EPOCH + 5_000 + TTL * 1000
    assert (claimed.lease_epoch, claimed.attempt) == (1, 1)
    shown = await room.relay.message(message_id)
    assert (shown.claimed_by, shown.claim_expires_at) == ("bob", claimed.claim_expires_at)


async def test_one_of_many_wins_and_the_others_hear_who(room: Room) -> None:
    names = [f"worker-{n}" for n in range(20)]
    message_id = await offer(room, *names)
    won: list[str] = []
    refusals: list[tuple[str, str]] = []

    async def race(name: str) -> None:
        try:
            won.append((await room.relay.claim(message_id, name)).claimed_by or "")
        except Conflict as lost:
            refusals.append((lost.code, lost.detail))

    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(race, name)
    assert len(won) == 1
    assert refusals == [("claimed", f"message {message_id} is claimed by {won[0]!r}")] * 19
    assert (await room.relay.message(message_id)).claimed_by == won[0]


async def test_the_holder_that_asks_again_gets_its_own_lease_renewed(room: Room) -> None:
    message_id = await offer(room, "bob")
    first = await room.relay.claim(message_id, "bob")
    await trio.sleep(60)
    second = await room.relay.claim(message_id, "bob")
    assert (second.lease_token, second.lease_epoch, second.attempt) == (first.lease_token, 1, 1)
    assert second.claim_expires_at == EPOCH + (60 + TTL) * 1000


async def test_a_lease_holds_until_its_last_millisecond_and_no_longer(room: Room) -> None:
    message_id = await offer(room, "bob", "cat")
    await room.relay.claim(message_id, "bob")
    await trio.sleep(TTL - 0.001)
    with pytest.raises(Conflict, match="'bob'"):
        await room.relay.claim(message_id, "cat")
    await trio.sleep(0.001)
    taken = await room.relay.claim(message_id, "cat")
    assert (taken.claimed_by, taken.lease_epoch, taken.attempt) == ("cat", 2, 2)


async def test_a_lapsed_lease_is_claimable_without_waiting_for_housekeeping(room: Room) -> None:
    message_id = await offer(room, "bob")
    old = await room.relay.claim(message_id, "bob")
    await trio.sleep(TTL)
    new = await room.relay.claim(message_id, "bob")
    assert new.lease_token != old.lease_token
    assert new.lease_epoch == 2


async def test_renewing_moves_the_end(room: Room) -> None:
    message_id = await offer(room, "bob")
    claimed = await room.relay.claim(message_id, "bob")
    for _ in range(10):
        await trio.sleep(TTL - 1)
        claimed = await room.relay.renew(message_id, "bob", claimed.lease_token)
    assert claimed.claim_expires_at == EPOCH + (10 * (TTL - 1) + TTL) * 1000
    await trio.sleep(TTL)
    with pytest.raises(LeaseLost):
        await room.relay.renew(message_id, "bob", claimed.lease_token)


async def test_a_claim_may_ask_for_its_own_time(room: Room) -> None:
    message_id = await offer(room, "bob")
    response = await room.http(
        "POST", f"/api/messages/{message_id}/claim", json={"agentId": "bob", "ttlMs": 5_000}
    )
    assert response.json()["claimExpiresAt"] == EPOCH + 5_000
    too_short = await room.http(
        "POST", f"/api/messages/{message_id}/claim", json={"agentId": "bob", "ttlMs": 1}
    )
    assert too_short.status_code == 400


async def change(room: Room, how: str, message_id: int, agent_id: str, token: str) -> Any:
    return await getattr(room.relay, how)(message_id, agent_id, token)


@pytest.mark.parametrize("how", ["renew", "release", "complete"])
class TestAStaleTokenChangesNothing:
    async def refused(self, room: Room, how: str, message_id: int, agent_id: str, token: str) -> None:
        before = await room.relay.message(message_id)
        with pytest.raises(LeaseLost):
            await change(room, how, message_id, agent_id, token)
        assert await room.relay.message(message_id) == before

    async def test_after_another_has_taken_over(self, room: Room, how: str) -> None:
        message_id = await offer(room, "bob", "cat")
        old = await room.relay.claim(message_id, "bob")
        await trio.sleep(TTL)
        new = await room.relay.claim(message_id, "cat")
        await self.refused(room, how, message_id, "bob", old.lease_token)
        await room.relay.renew(message_id, "cat", new.lease_token)

    async def test_after_the_same_agent_has_taken_it_anew(self, room: Room, how: str) -> None:
        message_id = await offer(room, "bob")
        old = await room.relay.claim(message_id, "bob")
        await trio.sleep(TTL)
        new = await room.relay.claim(message_id, "bob")
        await self.refused(room, how, message_id, "bob", old.lease_token)
        await room.relay.renew(message_id, "bob", new.lease_token)

    async def test_once_it_has_run_out(self, room: Room, how: str) -> None:
        message_id = await offer(room, "bob")
        old = await room.relay.claim(message_id, "bob")
        await trio.sleep(TTL)
        await self.refused(room, how, message_id, "bob", old.lease_token)

    async def test_in_another_agents_hand(self, room: Room, how: str) -> None:
        message_id = await offer(room, "bob", "cat")
        held = await room.relay.claim(message_id, "bob")
        await self.refused(room, how, message_id, "cat", held.lease_token)

    async def test_when_it_was_never_one(self, room: Room, how: str) -> None:
        message_id = await offer(room, "bob")
        await room.relay.claim(message_id, "bob")
        await self.refused(room, how, message_id, "bob", "")
        await self.refused(room, how, message_id, "bob", "guess")

    async def test_when_nobody_holds_it(self, room: Room, how: str) -> None:
        message_id = await offer(room, "bob")
        await self.refused(room, how, message_id, "bob", "guess")

    async def test_after_the_holder_was_replaced(self, room: Room, how: str) -> None:
        message_id = await offer(room)
        old = await join(room, "bob", instance_id="one", tags=["work"])
        held = await room.relay.claim(message_id, "bob", session(old))
        await join(room, "bob", instance_id="two", tags=["work"])
        await self.refused(room, how, message_id, "bob", held.lease_token)
        with pytest.raises(StaleInstance):
            await getattr(room.relay, how)(message_id, "bob", held.lease_token, session=session(old))


class TestWithoutAToken:
    """Older clients send no token: the holder's name and session decide."""

    async def post(self, room: Room, message_id: int, what: str, **body: Any) -> Any:
        return await room.http(
            "POST", f"/api/messages/{message_id}/claim{what}", json={"agentId": "bob"} | body
        )

    async def test_the_holder_renews_by_its_name(self, room: Room) -> None:
        message_id = await offer(room, "bob")
        await self.post(room, message_id, "")
        await trio.sleep(60)
        renewed = await self.post(room, message_id, "/renew")
        assert renewed.json()["claimExpiresAt"] == EPOCH + (60 + TTL) * 1000

    async def test_nobody_else_does(self, room: Room) -> None:
        message_id = await offer(room, "bob", "cat")
        await room.relay.claim(message_id, "cat")
        problem = refusal(await self.post(room, message_id, "/renew"))
        assert (problem.status, problem.code) == (409, "lease_lost")

    async def test_nor_who_does_not_name_a_live_instance(self, room: Room) -> None:
        message_id = await offer(room)
        bob = await join(room, "bob", instance_id="one", tags=["work"])
        await room.relay.heartbeat("bob", session(bob))
        held = await room.relay.claim(message_id, "bob", session(bob))
        for what in ("/renew", "/release", "/complete"):
            assert refusal(await self.post(room, message_id, what)).code == "lease_lost"
        assert refusal(await self.post(room, message_id, "")).code == "claimed"
        await room.relay.complete(message_id, "bob", held.lease_token, session=session(bob))


async def test_a_claim_for_a_live_agent_is_taken_also_from_a_client_that_names_no_instance(
    room: Room,
) -> None:
    message_id = await offer(room)
    bob = await join(room, "bob", instance_id="one", tags=["work"])
    await room.relay.heartbeat("bob", session(bob))
    assert (await room.relay.claim(message_id, "bob")).claimed_by == "bob"


async def test_only_claimables_of_registered_agents_are_claimed(room: Room) -> None:
    await join(room, "bob")
    plain = await say(room, "ann", "bob")
    with pytest.raises(Invalid) as refused:
        await room.relay.claim(plain.id, "bob")
    assert refused.value.code == "not_claimable"
    claimable = await offer(room)
    with pytest.raises(NotFound) as unknown:
        await room.relay.claim(claimable, "ghost")
    assert unknown.value.code == "unknown_agent"
    with pytest.raises(NotFound) as missing:
        await room.relay.claim(999, "bob")
    assert missing.value.code == "unknown_message"


async def test_a_stale_instance_claims_nothing(room: Room) -> None:
    message_id = await offer(room)
    await join(room, "bob", instance_id="one")
    await join(room, "bob", instance_id="two")
    with pytest.raises(StaleInstance):
        await room.relay.claim(message_id, "bob", SessionFields(instance_id="one", epoch=1))
    assert (await room.relay.message(message_id)).claimed_by is None


async def test_deleting_the_message_ends_the_claim(room: Room) -> None:
    message_id = await offer(room, "bob")
    held = await room.relay.claim(message_id, "bob")
    await room.relay.delete(message_id)
    with pytest.raises(NotFound):
        await room.relay.renew(message_id, "bob", held.lease_token)


async def rung(room: Room, message_id: int, agent_id: str) -> Rung:
    return {receipt.agent_id: receipt.state for receipt in await room.relay.receipts(message_id)}[agent_id]


async def test_completing_settles_the_others_and_nobody_can_claim_it_again(room: Room) -> None:
    message_id = await offer(room, "bob", "cat", "dan")
    held: ClaimedMessage = await room.relay.claim(message_id, "bob")
    await room.relay.report(message_id, "bob", Rung.HANDED_OFF, {})
    done = await room.relay.complete(message_id, "bob", held.lease_token, {"ok": True})
    assert (done.claimed_by, done.claim_expires_at) == ("bob", None)
    assert await rung(room, message_id, "bob") is Rung.HANDED_OFF
    for other in ("cat", "dan"):
        assert await rung(room, message_id, other) is Rung.SETTLED
        assert await room.relay.inbox(other) == []
        with pytest.raises(Conflict) as late:
            await room.relay.claim(message_id, other)
        assert late.value.code == "completed"
    await join(room, "eve", tags=["work"])
    assert await room.relay.inbox("eve") == []


async def test_repeating_a_completion_is_safe(room: Room) -> None:
    message_id = await offer(room, "bob", "cat")
    held = await room.relay.claim(message_id, "bob")
    done = await room.relay.complete(message_id, "bob", held.lease_token, {"n": 1})
    steps = await room.relay.receipts(message_id)
    await trio.sleep(TTL * 2)
    assert await room.relay.complete(message_id, "bob", held.lease_token, {"n": 2}) == done
    assert await room.relay.receipts(message_id) == steps
    with pytest.raises(LeaseLost):
        await room.relay.complete(message_id, "bob", "another")
    with pytest.raises(LeaseLost):
        await room.relay.complete(message_id, "cat", held.lease_token)
    with pytest.raises(LeaseLost):
        await room.relay.renew(message_id, "bob", held.lease_token)


async def test_who_completes_without_ever_having_reported_is_settled_too(room: Room) -> None:
    message_id = await offer(room, "bob")
    held = await room.relay.claim(message_id, "bob")
    await room.relay.complete(message_id, "bob", held.lease_token)
    assert await rung(room, message_id, "bob") is Rung.SETTLED


async def test_going_offline_gives_the_claim_back_at_once(room: Room) -> None:
    message_id = await offer(room, "bob", "cat")
    held = await room.relay.claim(message_id, "bob")
    await room.relay.set_status("bob", AgentStatus.OFFLINE)
    assert (await room.relay.claim(message_id, "cat")).claimed_by == "cat"
    with pytest.raises(LeaseLost):
        await room.relay.renew(message_id, "bob", held.lease_token)


async def test_leaving_gives_the_claim_back_at_once(room: Room) -> None:
    message_id = await offer(room, "bob", "cat")
    await room.relay.claim(message_id, "bob")
    await room.relay.remove_agent("bob")
    assert (await room.relay.claim(message_id, "cat")).claimed_by == "cat"
