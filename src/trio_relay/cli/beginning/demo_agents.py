"""The two agents of the demo: scripts that do over HTTP what an agent's sidecar does.

Each registers as an instance, waits at its inbox, reports every rung when it is true, and answers. They have no
model; what their script has read is what they know, so that is when they report ``in_context``.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from trio_relay.client.http import RelayClient
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.core.wire import AgentRegistration, InboxMessage, SendRequest, SentMessage, SessionFields


@dataclass(frozen=True, slots=True)
class DemoAgent:
    """An agent in the room; `pace` is how long a rung lasts, in seconds, for the eye."""

    id: str
    session: SessionFields
    relay: RelayClient
    pace: float

    async def next_message(self) -> InboxMessage:
        """Wait for the next message, and say truthfully how far it has come."""
        found: list[InboxMessage] = []
        while not found:
            found = await self.relay.inbox(self.id, unread=True, wait=30, limit=1)
        await self.report(found[0], Rung.HANDED_OFF)
        await trio.sleep(self.pace)
        await self.report(found[0], Rung.IN_CONTEXT)
        await trio.sleep(self.pace)
        return found[0]

    async def report(self, message: InboxMessage, rung: Rung) -> None:
        """Report one rung."""
        await self.relay.report(message.id, self.id, rung, {"reader": "demo script"}, self.session)

    async def say(
        self, to: str, body: str, *, answering: InboxMessage | None = None, claimable: bool = False
    ) -> SentMessage:
        """Send a message; what it answers is settled by it."""
        reply_to = answering.id if answering else None
        request = SendRequest(sender=self.id, to=to, body=body, reply_to=reply_to, claimable=claimable)
        sent = await self.relay.send(request)
        if answering:
            await self.report(answering, Rung.SETTLED)
        return sent


@asynccontextmanager
async def present(
    url: str, agent_id: str, *, capabilities: list[str], pace: float
) -> AsyncIterator[DemoAgent]:
    """Have an agent in the room while the block runs."""
    async with RelayClient.open(url) as relay:
        instance = f"demo-{agent_id}"
        registration = AgentRegistration(
            id=agent_id,
            rig="demo",
            capabilities=capabilities,
            status=AgentStatus.IDLE,
            ready=True,
            instance_id=instance,
        )
        agent = await relay.register(registration)
        yield DemoAgent(agent_id, SessionFields(instance_id=instance, epoch=agent.epoch), relay, pace)


async def anna(me: DemoAgent) -> None:
    """Greet Ben, hand over a piece of work, thank whoever did it."""
    await me.say("ben", "Hello Ben! Have you time for something?")
    greeting = await me.next_message()
    await me.say("cap:sums", "For exactly one of you: add up 1 to 100.", answering=greeting, claimable=True)
    result = await me.next_message()
    await me.say(result.sender, "Thank you!", answering=result)


async def ben(me: DemoAgent) -> None:
    """Greet back, claim the work and do it under the lease, answer; thanks need no answer."""
    greeting = await me.next_message()
    await me.say(greeting.sender, "Hello Anna! Sure, what is it?", answering=greeting)
    work = await me.next_message()
    claim = await me.relay.claim(work.id, me.id, me.session)
    await trio.sleep(me.pace)
    total = sum(range(1, 101))
    await me.relay.complete(work.id, me.id, claim.lease_token, {"total": total}, me.session)
    await me.say(work.sender, f"Done: it is {total}.", answering=work)
    thanks = await me.next_message()
    await me.report(thanks, Rung.SETTLED)
