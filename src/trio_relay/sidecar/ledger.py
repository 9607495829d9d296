"""Every message this sidecar has taken, and where it stands. Plain functions: it waits for nothing and calls nobody.

Tasks tell it what happened (messages arrived, the app-server accepted, a user message was seen, a turn ended) and ask
it what to hand off next. What the relay should hear goes, in order, to the outbox.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from trio_relay.codex.protocol import TurnEnded
from trio_relay.core.batching import asked_delivery, message_ids, next_batch, travels_alone
from trio_relay.core.channels import wants
from trio_relay.core.model import SILENT_TYPES, Delivery, Rung
from trio_relay.core.prompts import by_reference
from trio_relay.core.timing import due_at
from trio_relay.core.wire import InboxMessage
from trio_relay.sidecar.handoff import HandOff, Phase, recovered
from trio_relay.sidecar.state_file import InFlight
from trio_relay.supervise import Doorbell

#: Seconds after which a text that an idle thread took and has not shown is looked for.
SILENCE = 5.0
#: Turns whose end is remembered, for an answer that arrives after its turn has ended.
_REMEMBERED_TURNS = 50


@dataclass(frozen=True, slots=True)
class Tell:
    """Report a rung for each of `messages`."""

    messages: tuple[InboxMessage, ...]
    rung: Rung
    evidence: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Conclude:
    """A turn is over: reply to the messages it had in context, settle them, finish their claims."""

    handoffs: tuple[HandOff, ...]
    ended: TurnEnded

    @property
    def messages(self) -> tuple[InboxMessage, ...]:
        """Every message of the turn, oldest first."""
        every = (message for handoff in self.handoffs for message in handoff.messages)
        return tuple(sorted(every, key=lambda message: message.inbox_seq))


@dataclass(frozen=True, slots=True)
class Finish:
    """A hand-off ends without having reached the model: on which rung, and why, for each of its messages."""

    handoff: HandOff
    rung: Rung
    evidence: dict[str, Any]


Job = Tell | Conclude | Finish


@dataclass(frozen=True, slots=True)
class _Arrival:
    message: InboxMessage
    at: float


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
    ) -> None:
        self.bell = Doorbell()
        self._channels = channels
        self._post = post
        self._keep = keep
        self._tools = tools
        self._arrivals: list[_Arrival] = []
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
        known |= {arrival.message.id for arrival in self._arrivals}
        for message in messages:
            if message.id in known:
                continue
            if message.type in SILENT_TYPES:
                self._post(Tell((message,), Rung.SETTLED, {"skipped": "silent", "type": message.type}))
            elif wants(self._channels, message.channel):
                self._arrivals.append(_Arrival(message, now))
            else:
                self._post(Tell((message,), Rung.SETTLED, {"skipped": "channel", "channel": message.channel}))
        self._arrivals.sort(key=lambda arrival: arrival.message.inbox_seq)
        self._changed()

    # What goes out

    def next(self, now: float, *, active: bool, window: float) -> tuple[HandOff | None, float]:
        """Pick the next hand-off, or say until when to wait for one (trio time, maybe for ever).

        `active`: a turn is running. `window`: the longest a burst may gather.
        """
        held: set[int] = set()
        wake_at = float("inf")
        for handoff in self._handoffs:
            if handoff.phase is Phase.DOUBTFUL:
                held |= handoff.conversations
            if handoff.phase is not Phase.WAITING:
                continue
            must_be_idle = active and asked_delivery(handoff.messages[0]) is Delivery.START
            if not (must_be_idle or held & handoff.conversations or handoff.not_before > now):
                return handoff, now
            held |= handoff.conversations
            if not must_be_idle:
                wake_at = min(wake_at, handoff.not_before)
        batch = next_batch([arrival.message for arrival in self._arrivals], active=active, held=held)
        if not batch:
            return None, wake_at
        chosen = {message.id for message in batch}
        arrived = [arrival.at for arrival in self._arrivals if arrival.message.id in chosen]
        if not travels_alone(batch[0]):
            due = due_at(min(arrived), max(arrived), active=active, window=window)
            if due > now:
                return None, min(wake_at, due)
        self._arrivals = [arrival for arrival in self._arrivals if arrival.message.id not in chosen]
        handoff = HandOff(batch)
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

    def refused(self, handoff: HandOff, reason: str, now: float) -> None:
        """Note that an idle thread did not take it: the next attempt comes later each time."""
        self._try_again(handoff, reason, now + 2.0**handoff.attempts)

    def postpone(self, handoff: HandOff, until: float) -> None:
        """Put it back: it cannot go now, through no fault of its own."""
        handoff.phase, handoff.not_before = Phase.WAITING, until
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
            if handoff.phase in {Phase.CALLING, Phase.ACCEPTED}:
                handoff.phase = Phase.DOUBTFUL
        self._changed()

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
        seen = {Phase.CALLING, Phase.ACCEPTED, Phase.DOUBTFUL, Phase.IN_CONTEXT}
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

        What the relay has proof of was in another thread, whose end nobody will tell: it is concluded.
        """
        if handoff.proven:
            self._conclude([handoff], TurnEnded(handoff.turn_id or "", "unknown", None, None))
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
