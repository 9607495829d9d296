"""The people of a simulation: what they send, and how they read their mail in the end."""

import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio

from trio_relay.client import RelayClient
from trio_relay.core.model import MAILBOX_RIG, Delivery
from trio_relay.core.timing import backoff
from trio_relay.core.wire import AgentRegistration, SendRequest
from trio_relay.core.wire_rooms import RetractRequest, Withdrawal
from trio_relay.supervise import insist

PEOPLE = ("ann", "bob", "cid")
#: Who is registered and never there: what is sent to it waits for good.
GHOST = "ghost"


def body_of(key: str) -> str:
    """What a message says, by its idempotency key."""
    return f"message {key}"


Open = Callable[[], AbstractAsyncContextManager[RelayClient]]


@dataclass
class People:
    """Three people at work. `agents` tells whom they can write to now."""

    agents: Callable[[], list[str]]
    open_relay: Open
    rng: random.Random
    #: Everything that was accepted: the message's id by sender and idempotency key.
    sent: dict[tuple[str, str], int] = field(default_factory=dict)

    async def live(self, messages: int, seconds: float) -> None:
        """Send so many messages within so many seconds, each until it is accepted."""
        async with self.open_relay() as relay:
            for name in (*PEOPLE, GHOST):
                registration = AgentRegistration(id=name, rig=MAILBOX_RIG)
                await self._insist(partial(relay.register, registration))
            times = sorted(self.rng.uniform(5, seconds - 60) for _ in range(messages))
            start = trio.current_time()
            async with trio.open_nursery() as nursery:
                for number, time in enumerate(times):
                    await trio.sleep_until(start + time)
                    nursery.start_soon(self._send, relay, number)
            await trio.sleep_until(start + seconds)

    async def read(self) -> None:
        """Read all mail: over a network that works by now."""
        async with self.open_relay() as relay:
            for name in PEOPLE:
                for message in await relay.inbox(name, limit=1000):
                    await relay.mark_read(message.id, name)

    async def _send(self, relay: RelayClient, number: int) -> None:
        request = self._compose(f"key-{number}")
        for _ in range(1 if self.rng.random() < 0.8 else self.rng.randrange(2, 6)):  # a burst, at times
            assert request.idempotency_key is not None
            sent = await self._insist(partial(relay.send, request))
            key = request.sender, request.idempotency_key
            assert self.sent.setdefault(key, sent.id) == sent.id, "one key, two messages"
            if self.rng.random() < 0.05:
                await trio.sleep(self.rng.uniform(0, 3))
                retract = partial(
                    relay.call,
                    "POST",
                    f"/api/messages/{sent.id}/retract",
                    Withdrawal,
                    body=RetractRequest(sender=request.sender),
                )
                await self._insist(retract)
            request = self._compose(f"{request.idempotency_key}+")

    def _compose(self, key: str) -> SendRequest:
        """Think of a message."""
        rng = self.rng
        agents = self.agents()
        person = rng.choice(PEOPLE)
        someone = rng.choice(agents) if agents else "tag:worker"
        more: dict[str, Any] = {}
        sender, to = person, someone
        match rng.choices(
            [
                "direct",
                "peer",
                "tag",
                "all",
                "work",
                "urgent",
                "delivery",
                "ttl",
                "follow",
                "collapse",
                "odd",
            ],
            [25, 8, 10, 4, 20, 6, 20, 8, 6, 4, 3],
        )[0]:
            case "peer" if len(agents) > 1:
                sender, to = rng.sample(agents, 2)
            case "tag":
                to = rng.choice(["tag:worker", "tag:reviewer"])
            case "all":
                to = "broadcast"
            case "work":
                to, more = rng.choice(["tag:worker", "tag:reviewer", someone]), {"claimable": True}
            case "urgent":
                more = {"meta": {"priority": "urgent"}}
            case "delivery":
                more = {"meta": {"delivery": rng.choice(list(Delivery)).value}}
            case "ttl":
                to = rng.choice([someone, "tag:worker", "tag:nobody"])
                more = {"ttl_ms": rng.choice([50, 1000, 5000, 60_000]), "claimable": rng.random() < 0.3}
            case "follow" if self.sent:
                more = {"reply_to": rng.choice(list(self.sent.values()))}
            case "collapse":
                more = {"collapse_key": "state of the build"}
            case "odd":
                to = rng.choice([GHOST, "tag:nobody", "agent-to-come"])
        return SendRequest(
            sender=sender, to=to, body=body_of(key), idempotency_key=key, allow_unknown=True, **more
        )

    async def _insist(self, call: Callable[[], Any]) -> Any:
        return await insist(call, delays=partial(backoff, 0.5, 20.0, self.rng.random))
