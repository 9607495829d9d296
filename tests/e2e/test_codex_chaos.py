"""Nothing is lost, nothing comes twice, no receipt lies: relay, sidecar and the real Codex are killed again and again.

Messages of all modes go to one Codex session while each of the three processes is killed at random; a person interrupts
turns, and senders withdraw some of what they have said. Then the receipts are compared with the thread's rollout file.

``CHAOS_MESSAGES=500`` is the long form (within five minutes), ``CHAOS_SEED=7`` another fate.
"""

import os
import random
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from support.chaos_world import ChaosWorld, chaos_world
from support.mock_model import Failure, ModelRequest, Reply, Text, shell
from trio_relay.codex.app_server import open_app_server
from trio_relay.codex.protocol import CallFailed
from trio_relay.core.batching import message_ids
from trio_relay.core.ladder import FINAL
from trio_relay.core.model import Delivery, Rung
from trio_relay.core.timing import backoff
from trio_relay.core.wire import AgentRegistration, Receipt, SendRequest, SentMessage
from trio_relay.core.wire_rooms import RetractRequest, Withdrawal
from trio_relay.errors import ConnectionLost
from trio_relay.supervise import insist

pytestmark = pytest.mark.codex

MESSAGES = int(os.environ.get("CHAOS_MESSAGES", "20"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))
#: Seconds a message, and between two blows, on average.
PACE, BLOWS = 0.3, 2.0
SENDERS = ("ann", "bob", "cid")


@dataclass
class Chaos:
    """One seed's fate. `withdrawn`: what may have been taken back, and so need not arrive."""

    world: ChaosWorld
    agent_id: str
    thread_id: str
    rng: random.Random
    sent: dict[int, SentMessage] = field(default_factory=dict)
    withdrawn: set[int] = field(default_factory=set)
    blows: Counter[str] = field(default_factory=Counter)

    # Who writes

    async def write(self) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(MESSAGES):
                await trio.sleep(self.rng.expovariate(1 / PACE))
                nursery.start_soon(self._send, number, self._compose(number))

    def _compose(self, number: int) -> SendRequest:
        rng = self.rng
        kind = rng.choice(
            [*Delivery, *Delivery, None, None, "urgent", "work", "follows", "collapses", "short"]
        )
        more: dict[str, Any] = {}
        match kind:
            case "urgent":
                more = {"meta": {"priority": "urgent"}}
            case "work":
                more = {"claimable": True, "meta": {"delivery": "idle"} if rng.random() < 0.5 else {}}
            case "follows" if self.sent:
                more = {"reply_to": rng.choice(list(self.sent))}
            case "collapses":
                more = {"collapse_key": "news", "meta": {"delivery": "idle"}}
            case "short":
                more = {
                    "ttl_ms": rng.choice([500, 3000]),
                    "meta": {"delivery": rng.choice(["idle", "start"])},
                }
            case Delivery():
                more = {"meta": {"delivery": kind.value}}
        sender = rng.choice(SENDERS)
        return SendRequest(
            sender=sender, to=self.agent_id, body=f"message {number}", idempotency_key=f"k{number}", **more
        )

    async def _send(self, number: int, request: SendRequest) -> None:
        client = self.world.client
        sent = await self._insist(partial(client.send, request))
        self.sent[sent.id] = sent
        if request.ttl_ms is not None or request.collapse_key is not None:
            self.withdrawn.add(sent.id)
        if number % 12 == 0:
            self.withdrawn.add(sent.id)
            await trio.sleep(self.rng.uniform(0, 2))
            where, body = f"/api/messages/{sent.id}/retract", RetractRequest(sender=request.sender)
            await self._insist(partial(client.call, "POST", where, Withdrawal, body=body))

    async def _insist(self, call: Any) -> Any:
        return await insist(call, delays=partial(backoff, 0.05, 0.5, self.rng.random))

    # What befalls them

    async def rage(self) -> None:
        while True:
            await trio.sleep(self.rng.expovariate(1 / BLOWS))
            blow = self.rng.choice(["relay", "sidecar", "app-server", "person"])
            self.blows[blow] += 1
            match blow:
                case "relay":
                    self.world.relay.kill()
                case "sidecar":
                    self.world.sidecar.kill()
                case "app-server":
                    with trio.CancelScope(shield=True):  # it must not end without one
                        await self.world.app_server.kill(self.rng.uniform(0, 0.3))
                case "person":
                    await self._interrupt()

    async def _interrupt(self) -> None:
        """Press Escape at the terminal."""
        try:
            async with open_app_server(self.world.server.url) as server:
                attached = await server.thread_resume(self.thread_id)
                if attached.turn_id is not None:
                    await server.turn_interrupt(self.thread_id, attached.turn_id)
        except* (ConnectionLost, CallFailed):
            pass

    async def model(self, request: ModelRequest) -> Reply:
        """Think, work, fail, speak."""
        await trio.sleep(self.rng.uniform(0, 0.1))
        fate = self.rng.random()
        if fate < 0.15 and request.body["input"][-1].get("type") != "function_call_output":
            return shell(f"sleep {self.rng.choice([0.2, 1])}")
        if fate < 0.2:
            return Failure(500)
        return Text("NO_REPLY" if fate < 0.5 else f"Said {request.number}.")

    # What came of it

    async def receipts(self) -> dict[int, Receipt]:
        """The receipt of each message, once it has ended."""
        found: dict[int, Receipt] = {}
        while missing := set(self.sent) - set(found):
            for number in missing:
                (receipt,) = await self._insist(partial(self.world.client.receipts, number))
                if receipt.state in FINAL:
                    found[number] = receipt
            await trio.sleep(0.2)
        return found

    async def replies(self) -> Counter[int | None]:
        """How often the agent has replied to each message."""
        mail = [await self.world.client.inbox(name, unread=False, limit=1000) for name in SENDERS]
        return Counter(one.reply_to for inbox in mail for one in inbox if one.sender == self.agent_id)


async def test_every_message_is_in_the_thread_once_though_everything_dies(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    settings = {
        "AGENT_RELAY_CODEX_DIGEST_WINDOW_MS": "3000",
        "AGENT_RELAY_MAY_INTERRUPT": "human,operator,peer",
        "AGENT_RELAY_MAX_ATTEMPTS": "50",
    }
    with trio.fail_after(300):
        async with chaos_world(tmp_path, **settings) as world:
            agent = await insist(world.agent, delays=partial(backoff, 0.05, 0.2, rng.random))
            for name in SENDERS:
                await world.client.register(AgentRegistration(id=name))
            chaos = Chaos(world, agent.id, agent.meta["threadId"], rng)
            world.model.script = chaos.model
            start = trio.current_time()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(chaos.rage)
                await chaos.write()
                nursery.cancel_scope.cancel()
            stormy = trio.current_time() - start
            receipts = await chaos.receipts()
            calm = trio.current_time() - start - stormy
            replies = await chaos.replies()
            shown = shown_in(world.rollout(chaos.thread_id))
    states = Counter(str(receipt.state) for receipt in receipts.values())
    modes = Counter(step_of(receipt, Rung.IN_CONTEXT).get("mode") for receipt in receipts.values())
    print(f"seed {SEED}: {len(receipts)} messages, {dict(states)}, {dict(modes)}, blows {dict(chaos.blows)}")
    print(f"{stormy:.0f} s of storm, {calm:.0f} s of calm; lives: relay {world.relay.lives}, ", end="")
    print(f"sidecar {world.sidecar.lives}, app-server {world.app_server.lives}")
    assert len(receipts) == MESSAGES
    assert [number for number, items in shown.items() if len(items) > 1] == [], "said twice"
    assert wrong_receipts(chaos, receipts, shown) == []
    assert [number for number, count in replies.items() if count > 1] == [], "answered twice"
    answered = {number for number, receipt in receipts.items() if step_of(receipt, Rung.ANSWERED)}
    assert answered >= replies.keys()
    assert all(step_of(receipts[number], Rung.ANSWERED)["replyId"] for number in answered)


def wrong_receipts(chaos: Chaos, receipts: dict[int, Receipt], shown: dict[int, list[str]]) -> list[str]:
    """Whatever a receipt says that the thread does not show, and the other way round; and what was lost."""
    wrong = []
    for number, receipt in receipts.items():
        story = f"message {number}: {[(str(s.state), s.evidence) for s in receipt.steps]}, shown {shown.get(number)}"
        proof = step_of(receipt, Rung.IN_CONTEXT)
        if bool(proof) != (number in shown):
            wrong.append(f"in context, or not: {story}")
        elif proof and proof["itemId"] != shown[number][0]:
            wrong.append(f"another item: {story}")
        if not proof and number not in chaos.withdrawn:
            wrong.append(f"lost: {story}")
        if not proof and receipt.state not in {Rung.RETRACTED, Rung.EXPIRED}:
            wrong.append(f"ended without a reason: {story}")
    return wrong


def step_of(receipt: Receipt, rung: Rung) -> dict[str, Any]:
    """The evidence of a rung, empty where it was not reached."""
    return next((step.evidence for step in receipt.steps if step.state is rung), {})


def shown_in(rollout: list[dict[str, Any]]) -> dict[int, list[str]]:
    """Each message of ours in a rollout file, with the ids of the items that show it."""
    shown: dict[int, list[str]] = {}
    for payload in rollout:
        item = payload.get("item") or {}
        if payload.get("type") == "item_completed" and item.get("type") == "UserMessage":
            client, item_id = item.get("client_id"), item["id"]
        else:
            client = item_id = payload.get("id") if payload.get("role") == "user" else None
        for number in message_ids(client):
            shown.setdefault(number, []).append(item_id)
    return shown
