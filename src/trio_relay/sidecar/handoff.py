"""A hand-off: the messages that travel into the thread together, and how far they have come.

```
WAITING → CALLING → (QUEUED →) ACCEPTED → IN_CONTEXT → OVER
   ↑         └──────────┴─────────┴──→ DOUBTFUL ──┘
   └──────────────────────────────────────┘
```

A hand-off is reported to the relay before it is made: its answer is the last word on whether the message still has a
point, and it counts the attempts. Codex answers ``turn/start`` and ``turn/steer`` before the text has reached the model, and an interrupt can lose what
was accepted. So ACCEPTED proves nothing: only the user message with our client id, announced or found among the
thread's items, does. Whenever that cannot be known (the answer never came, the connection broke, the turn ended) the
hand-off is DOUBTFUL, and the thread is read before anything is said twice.

QUEUED: it waits in Codex's own queue, from which it can still be taken back. ``fyi`` takes no turn: it goes from ACCEPTED
over IN_CONTEXT to its end when it was found in the thread's file.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from trio_relay.core.batching import asked_delivery, client_id, keeps_order
from trio_relay.core.model import Delivery, Rung
from trio_relay.core.wire import InboxMessage
from trio_relay.sidecar.state_file import InFlight


class Phase(StrEnum):
    """How far a hand-off has come."""

    WAITING = "waiting"
    CALLING = "calling"
    QUEUED = "queued"
    ACCEPTED = "accepted"
    DOUBTFUL = "doubtful"
    IN_CONTEXT = "in_context"
    OVER = "over"


@dataclass(slots=True, eq=False)
class HandOff:
    """Messages that travel together.

    `attempt_id` names the present attempt, so that reporting it again after a lost answer counts once. `cleared` are
    those whose present attempt the relay has heard of and agreed to, `attempts` the number it counts,
    `trouble` why the last attempt failed, `thread_id` where it went. `not_before` and `accepted_at` are trio times.
    `submission_id` is its id in Codex's queue, `queued_during` the turn that ran when it was seen there last, and
    `taken_out` says that it left the queue though that turn still ran: somebody has removed it. `refused_interrupt`
    is the authority that may not interrupt. `withdrawn` are messages that have lost their point while in hand;
    while it is `picked` to be handed off, the relay's last word decides about them.
    """

    messages: tuple[InboxMessage, ...]
    phase: Phase = Phase.WAITING
    attempts: int = 0
    not_before: float = 0.0
    accepted_at: float = 0.0
    mode: Delivery | None = None
    thread_id: str | None = None
    turn_id: str | None = None
    trouble: str | None = None
    cleared: set[int] = field(default_factory=set)
    attempt_id: str = ""
    submission_id: str = ""
    queued_during: str | None = None
    taken_out: bool = False
    refused_interrupt: str | None = None
    withdrawn: set[int] = field(default_factory=set)
    picked: bool = False

    @property
    def client_id(self) -> str:
        """The id the thread knows it by; the same at every attempt."""
        return client_id(message.id for message in self.messages)

    @property
    def message_ids(self) -> frozenset[int]:
        """The messages it carries."""
        return frozenset(message.id for message in self.messages)

    @property
    def conversations(self) -> frozenset[int]:
        """The reply chains in which its messages have a place to keep."""
        return frozenset(message.thread_id for message in self.messages if keeps_order(message))

    @property
    def asked(self) -> Delivery | None:
        """The mode its (first) message asks for."""
        return asked_delivery(self.messages[0])

    @property
    def proven(self) -> bool:
        """Whether the relay already has proof that it reached the model, in this thread or an earlier one."""
        return all(message.state in {Rung.IN_CONTEXT, Rung.ANSWERED} for message in self.messages)

    def name_attempt(self, instance_id: str | None) -> str:
        """Name the present attempt; the same until it is lost."""
        self.attempt_id = self.attempt_id or f"{instance_id}:{self.attempts}"
        return self.attempt_id

    def record(self) -> InFlight:
        """Write it down for a successor."""
        return InFlight(
            client_id=self.client_id,
            message_ids=[message.id for message in self.messages],
            created_at=[message.created_at for message in self.messages],
            thread_id=self.thread_id or "",
            turn_id=self.turn_id,
            mode=self.mode,
            phase=self.phase,
        )


def recovered(messages: tuple[InboxMessage, ...], record: InFlight | None) -> HandOff:
    """Take up messages that a predecessor may have handed off; `record` is what it wrote down about them."""
    return HandOff(
        messages,
        phase=Phase.DOUBTFUL,
        attempts=max(message.attempts for message in messages),
        mode=Delivery(record.mode) if record is not None and record.mode in set(Delivery) else None,
        thread_id=(record.thread_id or None) if record is not None else None,
        turn_id=record.turn_id if record is not None else None,
    )
