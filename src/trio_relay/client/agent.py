"""An agent of a program: in the room while its block runs. Made by `Relay.agent`."""

import uuid
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Unpack

import anyio

from trio_relay.client import approvals
from trio_relay.client.following import reach
from trio_relay.client.holding import Delays, bare_errors
from trio_relay.client.http import RelayClient
from trio_relay.client.outbox import Outbox
from trio_relay.client.presence import Presence, new_instance
from trio_relay.client.received import Hand, Inbox, Received, hand_off, settle, take, whole
from trio_relay.client.sending import MessageFields, deliver, message_of
from trio_relay.client.work import Claimables, HeldLease, hold_resource
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.core.wire import AgentRegistration, Message, SentMessage
from trio_relay.core.wire_approvals import Approval, ApprovalRequest, ApprovalState
from trio_relay.errors import NotDelivered

#: How often a question's fate is looked at while its answer is waited for, seconds.
LOOK_EVERY = 5.0


class AgentSession:
    """An agent that is in the room. `id` is its name there; `presence` what keeps it there."""

    def __init__(self, presence: Presence, outbox: Callable[[], Outbox]) -> None:
        self.presence = presence
        self._outbox = outbox
        self._loops: list[tuple[weakref.ref[Inbox], Hand]] = []

    @property
    def id(self) -> str:
        """The agent's id."""
        return self.presence.agent_id

    @property
    def relay(self) -> RelayClient:
        """Every call of the API."""
        return self.presence.relay

    def inbox(self, *, manual: bool = False) -> Inbox:
        """The messages for this agent, as they come; asking for the next settles the one before.

        With `manual` nothing is settled by itself: use ``async with message`` or `Received.settle`, for instance in
        tasks of their own.
        """
        # What a loop that is over has left in hand was not finished, or its loop would have asked for the next.
        for _, hand in [loop for loop in self._loops if loop[0]() is None]:
            if hand.message is not None:
                hand.message.put_back()
        self._loops = [loop for loop in self._loops if loop[0]() is not None]
        opened = Inbox(self, manual=manual)
        self._loops.append((weakref.ref(opened), opened.hand))
        return opened

    async def receive(self) -> Received:
        """Wait for one message. It is the caller's to settle."""
        return await take(self)

    def claimables(self) -> Claimables:
        """The work there is for this agent, each claimed for it: ``async with work:`` keeps the claim."""
        return Claimables(self)

    def lease(self, key: str, ttl: float = 60.0) -> AbstractAsyncContextManager[HeldLease]:
        """Hold a named resource, such as ``file:src/**``, for a block; renewed, and lapsing `ttl` seconds after we do.

        Raises:
            Conflict: somebody holds it, or something that collides with it (``held``).

        """
        return hold_resource(self, key, ttl)

    async def send(
        self, to: str, body: str, *, wait: Rung | str | None = None, **fields: Unpack[MessageFields]
    ) -> SentMessage:
        """Send a message; with `wait`, return once every recipient was seen on that rung (``in_context``, …).

        `fields`: subject, channel, reply_to, claimable, type, meta, ttl_ms, … of `SendRequest`.

        Raises:
            NotDelivered: it cannot get to the rung any more.

        """
        sent = await deliver(self.relay, message_of(self.id, to, body, fields))
        if wait is not None:
            await reach(self.relay, sent, Rung(wait))
        return sent

    async def post(self, to: str, body: str, **fields: Unpack[MessageFields]) -> str:
        """Put a message into the outbox: on disk when this returns, sent in order when the relay is there."""
        return await self._outbox().post(message_of(self.id, to, body, fields))

    async def ask(self, to: str, body: str, **fields: Unpack[MessageFields]) -> Message:
        """Send a message and wait for the first answer. Acknowledgements are no answers; `inbox` does not see it.

        With the `idempotency_key` of a question that was asked before, its answer may be one that is there already.

        Raises:
            NotDelivered: nobody will answer it: it has expired, was withdrawn, or was handed out in vain; or its
                answer was taken out of the room.

        """
        arrivals = self.presence.arrivals
        arrivals.begin_to_ask()
        sent: SentMessage | None = None
        try:
            sent = await deliver(self.relay, message_of(self.id, to, body, fields))
        finally:
            answer = arrivals.asked(None if sent is None else sent.id)
        finished = False
        try:
            with bare_errors():
                async with anyio.create_task_group() as group:
                    group.start_soon(self._watch, sent)
                    if "idempotency_key" in fields:
                        group.start_soon(self._look_back, sent)
                    await answer.bell.wait()
                    group.cancel_scope.cancel()
            assert answer.arrival is not None
            told = await whole(self.presence, answer.arrival)
            if told is not None and await hand_off(self.presence, answer.arrival):
                await settle(self.presence, told.id)
            finished = True
        finally:
            arrivals.answered(sent.id)
            if answer.arrival is not None:
                if finished:
                    arrivals.done(answer.arrival.id)
                else:  # it came while the asking was given up: `inbox` has it
                    arrivals.put_back(answer.arrival)
        if told is None:
            raise NotDelivered(f"the answer to message {sent.id} was taken out of the room")
        return told

    async def ask_person(
        self, tool: str, summary: str, *, detail: str | None = None, ttl: float = 600.0
    ) -> Approval:
        """Ask whether this agent may do something, and wait until a person has answered or `ttl` seconds are over."""
        request = ApprovalRequest(
            agent_id=self.id,
            tool=tool,
            summary=summary,
            detail=detail,
            ttl_ms=round(ttl * 1000),
            key=uuid.uuid4().hex,
            instance_id=self.presence.session.instance_id,
            epoch=self.presence.session.epoch,
        )
        asked = await self.presence.insist(lambda: approvals.ask(self.relay, request))
        look = partial(approvals.get_approval, self.relay, asked.id, wait=25.0)
        while asked.state is ApprovalState.PENDING:
            asked = await self.presence.insist(look)
        return asked

    async def set_status(self, status: AgentStatus | str) -> None:
        """Say what it is doing: ``idle``, ``busy``."""
        await self.presence.say(AgentStatus(status))

    async def set_ready(self, ready: bool, reason: str | None = None) -> None:
        """Say whether it can take messages now, and if not, why."""
        await self.relay.set_ready(self.id, ready, self.presence.session, reason)

    async def _watch(self, sent: SentMessage) -> None:
        await reach(self.relay, sent, Rung.ANSWERED, every=LOOK_EVERY, one_is_enough=True)

    async def _look_back(self, sent: SentMessage) -> None:
        """Look for an answer that was given, and settled, when the same was asked before."""
        for message in await self.presence.insist(lambda: self.relay.thread(sent.id)):
            if message.reply_to == sent.id and message.to == self.id:
                self.presence.arrivals.told_before(message)


@asynccontextmanager
async def join(
    relay: RelayClient,
    agent_id: str,
    *,
    outbox: Callable[[], Outbox],
    tags: Sequence[str],
    capabilities: Sequence[str],
    channels: Sequence[str],
    label: str | None,
    meta: dict[str, Any],
    delays: Delays,
) -> AsyncIterator[AgentSession]:
    """Be in the room as `agent_id` while the block runs."""
    wanted = AgentRegistration(
        id=agent_id,
        name=agent_id,
        label=label,
        rig="python",
        tags=list(tags),
        capabilities=list(capabilities),
        status=AgentStatus.IDLE,
        ready=True,
        instance_id=new_instance(),
        meta={"client": "python", **({"channels": list(channels)} if channels else {}), **meta},
    )
    presence = Presence(relay, wanted, delays)
    joined = False
    try:
        with bare_errors():
            async with anyio.create_task_group() as group:
                await group.start(presence.keep)
                joined = True
                yield AgentSession(presence, outbox)
                group.cancel_scope.cancel()
    finally:
        if joined:
            await presence.leave()
