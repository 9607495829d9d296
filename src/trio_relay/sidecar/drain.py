"""Delivering: take what is next, claim it if it must be claimed, say it to the thread in the right way.

One hand-off at a time, so messages keep their order. What the app-server answers only says that it took a text; what
becomes of it the ledger learns from the thread.
"""

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import PurePath
from typing import assert_never

import structlog
import trio

from trio_relay.codex.app_server import AppServer
from trio_relay.codex.protocol import CallFailed, NoActiveTurn, ThreadView, TurnMismatch, read_status
from trio_relay.core.approval import Approval
from trio_relay.core.batching import choose_mode, waits_for_idle, wants_interrupt
from trio_relay.core.model import CANARY, Delivery, Rung
from trio_relay.core.prompts import MAX_INPUT_CHARS, line, render
from trio_relay.errors import ConnectionLost
from trio_relay.sidecar.announce import announce
from trio_relay.sidecar.claims import Claims, Taken
from trio_relay.sidecar.doubts import FindItems, resolve_doubts, rollout_of
from trio_relay.sidecar.handoff import HandOff
from trio_relay.sidecar.ledger import Ledger
from trio_relay.sidecar.queue import QueueWatch
from trio_relay.sidecar.session import Session
from trio_relay.sidecar.threads import Threads
from trio_relay.sidecar.trouble import Trouble

log = structlog.get_logger(__name__)

#: Seconds before a hand-off that could not go (relay away, thread busy with something that takes no text) is tried again.
_LATER = 2.0


@dataclass(frozen=True, slots=True)
class Manner:
    """How texts are put. `window`: the longest a burst may gather, seconds. `may_interrupt`: whose interrupts are obeyed."""

    agent_id: str
    auto_reply: bool
    approval: Approval
    window: float
    rng: random.Random
    find_items: FindItems
    may_interrupt: Collection[str]
    tools: bool = False


async def drain(deliver: "Deliverer") -> None:
    """Task: deliver into the thread as long as the connection holds and the agent stays in it."""
    server, view, ledger, threads = deliver.server, deliver.view, deliver.ledger, deliver.threads
    queues = QueueWatch(server, threads, ledger)
    while True:
        await resolve_doubts(server, threads, ledger, deliver.manner.find_items)
        queues_at = await queues.tend()
        await threads.let_go(ledger.threads_in_hand)
        now = trio.current_time()
        audit_at = ledger.audit(now, active=threads.active)
        held_until = deliver.trouble.holds(now, active=view.active)
        handoff, wake_at = (
            ledger.next(now, active=view.active, window=deliver.manner.window, has_queue=threads.has_queue)
            if held_until <= now
            else (None, held_until)
        )
        if handoff is not None:
            await deliver(handoff)
            deliver.trouble.handed_off(trio.current_time())
        elif audit_at > now:
            with trio.move_on_at(min(wake_at, audit_at, queues_at)):
                await ledger.bell.wait()


@dataclass(frozen=True, slots=True)
class Deliverer:
    """Delivers one hand-off after another into `view`, the thread that was current when it was made."""

    server: AppServer
    session: Session
    view: ThreadView
    threads: Threads
    ledger: Ledger
    claims: Claims
    trouble: Trouble
    manner: Manner
    now: Callable[[], float] = trio.current_time

    async def __call__(self, handoff: HandOff) -> None:
        """Hand off, unless it turns out that it is not ours, cannot go now, or should not go any more."""
        if not await self._claimed(handoff):
            return
        self.ledger.begin(handoff, self._choose(handoff), self.view.thread_id)
        if not await self._cleared(handoff):
            return
        if handoff.messages[0].type == CANARY:
            await self._answer_canary(handoff)
            return
        text = render(
            handoff.messages,
            reader=self.manner.agent_id,
            nonce=f"{self.manner.rng.getrandbits(16):04x}",
            auto_reply=self.manner.auto_reply,
            approval=self.manner.approval,
            tools=self.manner.tools,
            offered=self.claims.offers,
        )
        if len(text) > MAX_INPUT_CHARS:
            evidence = {"reason": "too long for Codex", "chars": len(text), "limit": MAX_INPUT_CHARS}
            self.ledger.finish(handoff, Rung.DEAD, evidence)
            return
        if self.view.active and waits_for_idle(handoff.messages, has_queue=self.threads.has_queue):
            self.ledger.postpone(handoff, self.now())  # a turn began meanwhile
            return
        await self._hand_off(handoff, text)

    async def _hand_off(self, handoff: HandOff, text: str) -> None:
        """Put it where it belongs now."""
        handoff.mode = self._choose(handoff)
        try:
            match handoff.mode:
                case Delivery.IDLE:
                    await self._queue(handoff, text)
                case Delivery.FYI:
                    await self._inject(handoff, text)
                case _:
                    self.ledger.accepted(handoff, await self._say(handoff, text), self.now())
        except CallFailed as error:
            if handoff.mode is Delivery.IDLE and error.unsupported:
                self.threads.has_queue = False
                self.ledger.postpone(handoff, self.now())
            else:
                await self._refused(handoff, error)
        else:
            log.info("handed off", messages=sorted(handoff.message_ids), mode=handoff.mode)

    def _choose(self, handoff: HandOff) -> Delivery:
        """Choose the way into the thread as it stands now, and note an interrupt that is not allowed."""
        mode = choose_mode(
            handoff.messages,
            active=self.view.active,
            has_queue=self.threads.has_queue,
            may_interrupt=self.manner.may_interrupt,
        )
        refused = self.view.active and wants_interrupt(handoff.messages) and mode is not Delivery.INTERRUPT
        handoff.refused_interrupt = handoff.messages[0].authority if refused else None
        return mode

    async def _queue(self, handoff: HandOff, text: str) -> None:
        """Put it into Codex's queue, where it waits until the thread is idle."""
        running = self.view.turn_id
        queued = await self.server.queue_add(self.view.thread_id, text, handoff.client_id)
        self.ledger.queued(handoff, queued.submission_id, running)

    async def _inject(self, handoff: HandOff, text: str) -> None:
        """Put it into the history of the idle thread, and look whether it stands there.

        A turn that begins at the same moment has it wait in memory: it is looked for again when that turn is over.
        """
        thread_id = self.view.thread_id
        await self.server.inject(thread_id, text, role="user", item_id=handoff.client_id)
        self.ledger.accepted(handoff, self.view.turn_id, self.now())
        if self.view.active:
            return
        path = await rollout_of(self.server, thread_id)
        found = None if path is None else await self.manner.find_items(path, [handoff.client_id])
        if found is None:
            reason = "the thread's file cannot be read"
            self.ledger.finish(handoff, Rung.SETTLED, {"fyi": "wants no answer", "unproven": reason})
        elif found and path is not None:
            self.ledger.injected(handoff, thread_id, PurePath(path).name)

    async def _claimed(self, handoff: HandOff) -> bool:
        """Claim a claimable message, right before it goes."""
        message = handoff.messages[0]
        if not message.claimable:
            return True
        match await self.claims.take(message.id):
            case Taken.OURS | Taken.OFFERED:
                return True
            case Taken.OTHERS | Taken.GONE as taken:
                # The relay settles it when the other completes it, and offers it again if they do not.
                log.info("claim not ours", message=message.id, why=taken.value)
                self.ledger.drop(handoff)
            case Taken.WITHDRAWN:
                await self._cleared(handoff)  # which it is not: the relay ends what was in our hands before
            case Taken.LATER:
                self.ledger.postpone(handoff, self.now() + _LATER)
            case taken:
                assert_never(taken)
        return False

    async def _cleared(self, handoff: HandOff) -> bool:
        """Report the hand-off before it is made, and leave out what the relay calls pointless by now."""
        answer = await announce(self.session, handoff)
        for message_id in answer.unwanted:
            await self.claims.release(message_id)
        if not self.ledger.narrow(handoff, answer.unwanted):
            return False
        if not answer.complete:
            self.ledger.postpone(handoff, self.now() + _LATER)
        return answer.complete

    async def _answer_canary(self, handoff: HandOff) -> None:
        """Prove the way to the session without waking its model: ask whether the thread is there."""
        try:
            thread = await self.server.thread_read(self.view.thread_id)
        except CallFailed as error:
            await self._refused(handoff, error)
            return
        status, _ = read_status(thread.get("status"))
        evidence = {"canary": "the thread is there", "threadId": self.view.thread_id, "thread": status}
        self.ledger.finish(handoff, Rung.SETTLED, evidence)

    async def _say(self, handoff: HandOff, text: str) -> str | None:
        """Put the text into the thread: the id of the turn that took it, or None where it cannot be told."""
        thread_id, turn_id = self.view.thread_id, self.view.turn_id
        if handoff.mode is Delivery.INTERRUPT and turn_id is not None:
            await self._interrupt(turn_id)
        elif handoff.mode is Delivery.STEER and turn_id is not None:
            try:
                return await self._steer(turn_id, text, handoff.client_id)
            except CallFailed as error:  # the turn has ended
                if error.closed_turn is not None:
                    raise
                log.info("steer refused, starting", turn=turn_id, reason=error.message)
                handoff.mode = Delivery.START
        started = await self.server.turn_start(thread_id, text, handoff.client_id)
        return started if self.server.can.names_joined_turns else None

    async def _steer(self, turn_id: str, text: str, client_id: str) -> str:
        try:
            return await self.server.turn_steer(self.view.thread_id, turn_id, text, client_id)
        except TurnMismatch as mismatch:
            return await self.server.turn_steer(self.view.thread_id, mismatch.actual, text, client_id)

    async def _interrupt(self, turn_id: str) -> None:
        try:
            await self.server.turn_interrupt(self.view.thread_id, turn_id)
        except NoActiveTurn:
            pass
        except TurnMismatch as mismatch:
            await self.server.turn_interrupt(self.view.thread_id, mismatch.actual)

    async def _refused(self, handoff: HandOff, error: CallFailed) -> None:
        """Decide what a refusal means: that the connection is of no more use, that it must wait, or that it is at fault."""
        now, reason = self.now(), line(error.message)[:200]
        log.warning("hand-off refused", messages=sorted(handoff.message_ids), reason=reason)
        if error.too_large:
            self.ledger.finish(handoff, Rung.DEAD, {"reason": reason})
            return
        unusable = error.draining or error.message.startswith(("thread not found", "thread not loaded"))
        if self.trouble.refused(error):
            self.ledger.postpone(handoff, now)
        elif unusable or self.view.active:
            self.ledger.postpone(handoff, now if unusable else now + _LATER)
        else:
            self.ledger.refused(handoff, reason, now)
        for message_id in handoff.message_ids:
            await self.claims.release(message_id)
        if unusable:
            raise ConnectionLost(f"the app-server takes no turn: {reason}")
