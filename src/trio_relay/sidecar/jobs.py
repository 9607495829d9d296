"""What the relay is to hear of hand-offs: the ledger posts these, the outbox does them."""

from dataclasses import dataclass
from typing import Any

from trio_relay.codex.protocol import TurnEnded
from trio_relay.core.model import Rung
from trio_relay.core.wire import InboxMessage
from trio_relay.sidecar.handoff import HandOff


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
