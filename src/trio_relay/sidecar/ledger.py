"""Every message this sidecar has taken, and where it stands. Plain functions: it waits for nothing and calls nobody.

Tasks tell it what happened (messages arrived, the app-server accepted, a user message was seen, a turn ended) and ask
it what to hand off next. What the relay should hear goes, in order, to the outbox.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from trio_relay.codex.protocol import TurnEnded
from trio_relay.core.batching import Standing, message_ids, waits_for_idle
from trio_relay.core.channels import wants
from trio_relay.core.model import SILENT_TYPES, Delivery, Rung
from trio_relay.core.prompts import by_reference
from trio_relay.core.wire import InboxMessage
from trio_relay.sidecar.arrivals import Arrivals
from trio_relay.sidecar.handoff import HandOff, Phase, recovered
from trio_relay.sidecar.jobs import Conclude, Finish, Job, Tell
from trio_relay.sidecar.state_file import InFlight
from trio_relay.supervise import Doorbell

#: Seconds after which a text that an idle thread took and has not shown is looked for.
SILENCE = 5.0
#: Turns whose end is remembered, for an answer that arrives after its turn has ended.
_REMEMBERED_TURNS = 50


class Ledger:
    """The books of one registration. `post` takes jobs for the relay, `keep` writes the hand-offs to the state file.

    `tools`: the model has the relay's tools, so that long messages are put into the thread by reference. Times are
    trio's, in seconds.
    """

    def __init__(
        self,
        *,
        channels: Collection[str],
        post: Callable[[Job], None],
        keep: Callable[[list[InFlight], int], None],
        tools: bool = False,
        digest_window: float = 60.0,
    ) -> None:
        self.bell = Doorbell()
        self._channels = channels
        self._post = post
        self._keep = keep
        self._tools = tools
        self._arrivals = Arrivals(digest_window)
        self._handoffs: list[HandOff] = []
        self._ended: deque[str] = deque(maxlen=_REMEMBERED_TURNS)

    # What arrives

    def load(
        self,
        unread: Iterable[InboxMessage],
        proven: Iterable[InboxMessage],
        records: Iterable[InFlight],
        now: float,
    ) -> None:
        """Take up what is in the inbox at the start: new messages, and those a predecessor had in its hands.

        A record counts only for the very messages it names: a new relay database gives the same ids again.
        """
        open_now = {message.id: message for message in (*unread, *proven)}
        for record in records:
            named = zip(record.message_ids, record.created_at, strict=False)
            mine = [
                open_now[i] for i, created in named if i in open_now and open_now[i].created_at == created
            ]
            for message in mine:
                del open_now[message.id]
            if mine:
                self._handoffs.append(recovered(tuple(mine), record))
        new = []
        for message in open_now.values():
            if message.state is Rung.QUEUED and message.attempts == 0:
                new.append(message)
            else:
                self._handoffs.append(recovered((message,), None))
        self._handoffs.sort(key=_age)
        self.take_in(new, now)

    def take_in(self, messages: Iterable[InboxMessage], now: float) -> None:
        """Take messages that arrived.

        Those that never wake anybody and those on channels this agent does not hear are settled, not delivered.
        """
        known = {message for handoff in self._handoffs for message in handoff.message_ids}
        known |= {message.id for message in self._arrivals.messages}
        for message in messages:
            if message.id in known:
                continue
            if message.type in SILENT_TYPES:
                self._post(Tell((message,), Rung.SETTLED, {"skipped": "silent", "type": message.type}))
            elif wants(self._channels, message.channel):
                self._collapse(message)
                self._arrivals.put(message, now)
            else:
                self._post(Tell((message,), Rung.SETTLED, {"skipped": "channel", "channel": message.channel}))
        self._changed()

    # What goes out

    def next(
        self, now: float, *, active: bool, window: float, has_queue: bool = True
    ) -> tuple[HandOff | None, float]:
        """Pick the next hand-off, or say until when to wait for one (trio time, maybe for ever).

        `active`: a turn is running. `window`: the longest a burst may gather. `has_queue`: whether Codex has one.
        """
        held: set[int] = set()
        queued: set[int] = set()
        wake_at = float("inf")
        for handoff in self._handoffs:
            if handoff.phase is Phase.DOUBTFUL:
                held |= handoff.conversations
            elif handoff.phase is Phase.QUEUED:
                queued |= handoff.conversations
            if handoff.phase is not Phase.WAITING:
                continue
            must_be_idle = active and waits_for_idle(handoff.messages, has_queue=has_queue)
            behind = held if handoff.asked is Delivery.IDLE else held | queued
            if not (must_be_idle or behind & handoff.conversations or handoff.not_before > now):
                handoff.picked = True
                return handoff, now
            held |= handoff.conversations
            if not must_be_idle:
                wake_at = min(wake_at, handoff.not_before)
        standing = Standing(active=active, held=held, queued=queued, has_queue=has_queue)
        batch, later = self._arrivals.take(now, standing, window=window)
        if not batch:
            return None, min(wake_at, later)
        handoff = HandOff(batch, picked=True)
        self._handoffs.append(handoff)
        return handoff, now

    def begin(self, handoff: HandOff, mode: Delivery, thread_id: str) -> None:
        """Write down that the app-server is about to be called."""
        handoff.phase, handoff.mode = Phase.CALLING, mode
        handoff.thread_id, handoff.turn_id = thread_id, None
        self._changed()

    def narrow(self, handoff: HandOff, unwanted: Collection[int]) -> bool:
        """Leave out messages that have lost their point; False when nothing is left to hand off."""
        handoff.messages = tuple(message for message in handoff.messages if message.id not in unwanted)
        if not handoff.messages:
            self._handoffs.remove(handoff)
        self._changed()
        return bool(handoff.messages)

    def accepted(self, handoff: HandOff, turn_id: str | None, now: float) -> None:
        """Note that the app-server took it for `turn_id`."""
        if handoff.phase is not Phase.CALLING:
            return  # the user message, or the end of its turn, was announced before the answer
        handoff.turn_id, handoff.accepted_at = turn_id, now
        handoff.phase = Phase.DOUBTFUL if turn_id in self._ended else Phase.ACCEPTED
        self._changed()

    def queued(self, handoff: HandOff, submission_id: str, running: str | None) -> None:
        """Note that it waits in Codex's queue, seen there while the turn `running` ran."""
        if handoff.phase not in {Phase.CALLING, Phase.DOUBTFUL, Phase.QUEUED}:
            return  # it has come out before the answer did
        handoff.phase, handoff.submission_id = Phase.QUEUED, submission_id
        handoff.turn_id, handoff.queued_during = None, running
        self._changed()

    def left_queue(self, handoff: HandOff, now: float, *, taken_out: bool) -> None:
        """Note that it is not in Codex's queue any more: a turn takes it, or somebody has `taken_out` what waited."""
        if handoff.phase is Phase.QUEUED:
            handoff.taken_out = taken_out
            self.wait_for_turn(handoff, handoff.queued_during if taken_out else None, now)

    def taken_along(self, handoff: HandOff, now: float) -> None:
        """Note that it was taken out of the queue of a thread the person has left: it goes to where they are."""
        if handoff.phase is Phase.QUEUED:
            self._try_again(handoff, "the person has moved", now)

    def injected(self, handoff: HandOff, thread_id: str, rollout: str) -> None:
        """Note that an item stands in the thread's file: it is in the history, and wants nothing more."""
        if handoff.phase in {Phase.IN_CONTEXT, Phase.OVER}:
            return
        handoff.thread_id, handoff.phase = thread_id, Phase.IN_CONTEXT
        evidence = {"threadId": thread_id, "itemId": handoff.client_id, "rollout": rollout, "mode": "fyi"}
        self._post(Tell(handoff.messages, Rung.IN_CONTEXT, evidence))
        self.finish(handoff, Rung.SETTLED, {"fyi": "wants no answer"})

    def refused(self, handoff: HandOff, reason: str, now: float) -> None:
        """Note that an idle thread did not take it: the next attempt comes later each time."""
        self._try_again(handoff, reason, now + 2.0**handoff.attempts)

    def postpone(self, handoff: HandOff, until: float) -> None:
        """Put it back: it cannot go now, through no fault of its own."""
        handoff.phase, handoff.not_before, handoff.picked = Phase.WAITING, until, False
        for message_id in handoff.withdrawn & handoff.message_ids:
            self._leave_out(handoff, message_id)
        self._changed()

    def drop(self, handoff: HandOff) -> None:
        """Forget it: it is not ours to deliver."""
        self._handoffs.remove(handoff)
        self._changed()

    def finish(self, handoff: HandOff, rung: Rung, evidence: dict[str, Any]) -> None:
        """End it without delivery."""
        handoff.phase = Phase.OVER
        self._post(Finish(handoff, rung, evidence))
        self._changed()

    # What is seen of the thread

    def saw(
        self, client_id: str, turn_id: str, item_id: str, thread_id: str, proof: str = "clientId"
    ) -> None:
        """Note a user message in the thread: whatever it carries of ours has reached the model.

        `proof`: by what it was recognised (`UserMessageSeen`).
        """
        seen = set(message_ids(client_id))
        for handoff in self._handoffs:
            if not seen & handoff.message_ids or handoff.phase in {Phase.IN_CONTEXT, Phase.OVER}:
                continue
            handoff.thread_id, handoff.turn_id = thread_id, turn_id
            handoff.phase = Phase.IN_CONTEXT
            evidence: dict[str, Any] = {
                "threadId": thread_id,
                "turnId": turn_id,
                "itemId": item_id,
                "clientId": client_id,
                "proof": proof,
            }
            if handoff.mode is not None:
                evidence["mode"] = str(handoff.mode)
            if handoff.refused_interrupt is not None:
                evidence["interruptRefused"] = handoff.refused_interrupt
            if cut := [message.id for message in handoff.messages if self._tools and by_reference(message)]:
                evidence["byReference"] = cut  # their beginning is in context, and how to read the rest
            self._post(Tell(handoff.messages, Rung.IN_CONTEXT, evidence))
        self._changed()

    def ended(self, turn: TurnEnded) -> None:
        """Note that a turn is over. What it had in context is concluded, what it had only accepted is doubtful."""
        self._ended.append(turn.turn_id)
        over = [h for h in self._handoffs if h.phase is Phase.IN_CONTEXT and h.turn_id == turn.turn_id]
        for handoff in self._handoffs:
            if handoff.phase is Phase.ACCEPTED and handoff.turn_id in {turn.turn_id, None}:
                handoff.phase = Phase.DOUBTFUL
        self._conclude(over, turn)

    def call_abandoned(self) -> None:
        """Doubt what was being handed off when the agent moved to another thread: whether it went out is unknown."""
        for handoff in self._handoffs:
            if handoff.phase is Phase.CALLING:
                handoff.phase = Phase.DOUBTFUL
        self._changed()

    def connection_lost(self) -> None:
        """Doubt everything whose fate would have been told over the connection that broke."""
        for handoff in self._handoffs:
            if handoff.phase in {Phase.CALLING, Phase.QUEUED, Phase.ACCEPTED}:
                handoff.phase = Phase.DOUBTFUL
        self._changed()

    # What loses its point

    @property
    def in_hand(self) -> list[int]:
        """Messages the model does not have yet: whether they still have a point is worth knowing. A hundred, at most."""
        handed = [h for h in self._handoffs if h.phase not in {Phase.IN_CONTEXT, Phase.OVER}]
        handed.sort(key=lambda handoff: handoff.phase is not Phase.QUEUED)
        numbers = [number for handoff in handed for number in sorted(handoff.message_ids - handoff.withdrawn)]
        return (numbers + [message.id for message in self._arrivals.messages])[:100]

    def withdrawn(self, message_id: int) -> bool:
        """Note that a message has lost its point; whether it was still in hand.

        What has not gone is dropped, what waits in Codex's queue is to be taken out, and what may be on
        its way is left alone: if it is lost it is not handed off again.
        """
        had = len(self._arrivals)
        self._arrivals.drop({message_id})
        was_in_hand = len(self._arrivals) < had
        for handoff in list(self._handoffs):
            if message_id not in handoff.message_ids or handoff.phase in {Phase.IN_CONTEXT, Phase.OVER}:
                continue
            was_in_hand = True
            handoff.withdrawn.add(message_id)
            if handoff.phase is Phase.WAITING and not handoff.picked:
                self._leave_out(handoff, message_id)
        self._changed()
        return was_in_hand

    def _leave_out(self, handoff: HandOff, message_id: int) -> None:
        evidence = {"from": "the sidecar"}
        if len(handoff.messages) == 1:
            self.finish(handoff, Rung.RETRACTED, evidence)
            return
        gone = tuple(message for message in handoff.messages if message.id == message_id)
        self._post(Tell(gone, Rung.RETRACTED, evidence))
        self.narrow(handoff, {message_id})

    def _collapse(self, newer: InboxMessage) -> None:
        """Withdraw what a newer message of the same sender and key takes the place of."""
        handed = [message for handoff in self._handoffs for message in handoff.messages]
        for older in (*self._arrivals.messages, *handed):
            same = (older.sender, older.collapse_key) == (newer.sender, newer.collapse_key)
            if newer.collapse_key is not None and same and older.id < newer.id:
                self.withdrawn(older.id)

    @property
    def in_queue(self) -> list[HandOff]:
        """Hand-offs that wait in Codex's queue."""
        return [handoff for handoff in self._handoffs if handoff.phase is Phase.QUEUED]

    # Doubts

    def has_ended(self, turn_id: str) -> bool:
        """Say whether a turn was seen to end."""
        return turn_id in self._ended

    @property
    def doubtful(self) -> list[HandOff]:
        """Hand-offs to look for in the thread."""
        return [handoff for handoff in self._handoffs if handoff.phase is Phase.DOUBTFUL]

    @property
    def threads_in_hand(self) -> set[str]:
        """The threads that hold hand-offs whose end is still to be seen there."""
        seen = {Phase.CALLING, Phase.QUEUED, Phase.ACCEPTED, Phase.DOUBTFUL, Phase.IN_CONTEXT}
        return {h.thread_id for h in self._handoffs if h.phase in seen and h.thread_id is not None}

    def unfollowed(self, running: Collection[str]) -> list[HandOff]:
        """Hand-offs in context of a turn that is none of the `running` ones: how it ended is to be looked up."""
        return [h for h in self._handoffs if h.phase is Phase.IN_CONTEXT and h.turn_id not in running]

    @property
    def claimable_in_hand(self) -> list[int]:
        """Claimable messages that may be in the thread: their claims are needed to the end."""
        handed = (handoff for handoff in self._handoffs if handoff.phase is not Phase.WAITING)
        return [message.id for handoff in handed for message in handoff.messages if message.claimable]

    def wait_for_turn(self, handoff: HandOff, turn_id: str | None, now: float) -> None:
        """Believe that a running turn may still take it; it is doubtful again when that turn ends."""
        handoff.phase, handoff.turn_id, handoff.accepted_at = Phase.ACCEPTED, turn_id, now
        self._changed()

    def audit(self, now: float, *, active: Callable[[str | None], bool]) -> float:
        """Doubt what an idle thread was given a while ago and has not shown; say when to look again (trio time).

        `active` tells whether a turn runs in a thread.
        """
        look_at = float("inf")
        for handoff in self._handoffs:
            if handoff.phase is Phase.ACCEPTED and not active(handoff.thread_id):
                look_at = min(look_at, handoff.accepted_at + SILENCE)
                if handoff.accepted_at + SILENCE <= now:
                    handoff.phase = Phase.DOUBTFUL
        return look_at

    def lost(self, handoff: HandOff, now: float) -> None:
        """Conclude that it is not in the thread: hand it off again.

        What the relay has proof of was in another thread, whose end nobody will tell: it is concluded. What somebody
        took out of Codex's queue is not put back.
        """
        if handoff.proven:
            self._conclude([handoff], TurnEnded(handoff.turn_id or "", "unknown", None, None))
        elif handoff.taken_out:
            self.finish(handoff, Rung.DEAD, {"reason": "taken out of Codex's queue"})
        else:
            self._try_again(handoff, "not seen in context", now)

    def finished(self, handoffs: Sequence[HandOff]) -> None:
        """Forget hand-offs whose end the relay knows."""
        self._handoffs = [handoff for handoff in self._handoffs if handoff not in handoffs]
        self._changed()

    def _try_again(self, handoff: HandOff, trouble: str, not_before: float) -> None:
        handoff.trouble = trouble
        handoff.cleared.clear()
        handoff.attempt_id = ""
        self.postpone(handoff, not_before)

    def _conclude(self, handoffs: list[HandOff], turn: TurnEnded) -> None:
        for handoff in handoffs:
            handoff.phase = Phase.OVER
        if handoffs:
            self._post(Conclude(tuple(handoffs), turn))
        self._changed()

    def _changed(self) -> None:
        records = [handoff.record() for handoff in self._handoffs if handoff.thread_id is not None]
        waiting = sum(len(h.messages) for h in self._handoffs if h.phase is Phase.WAITING)
        self._keep(records, waiting + len(self._arrivals))
        self.bell.ring()


def _age(handoff: HandOff) -> int:
    return handoff.messages[0].inbox_seq
