"""What has arrived for an agent and nobody has taken up yet: messages, offers of work, answers that are waited for.

Plain bookkeeping: the poll of `presence` puts in, the loops of a program take out. Who waits is woken by a bell that
is hung up before looking, so that no arrival between two looks is lost.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import anyio

from trio_relay.core.model import SILENT_TYPES
from trio_relay.core.wire import InboxMessage, Message

T = TypeVar("T")
#: Messages kept in full while nobody takes them; of those beyond, only what is needed to find them again.
KEPT = 1_000


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message that waits to be taken. Without `message` it is to be read again: too many were waiting.

    `answers`: the message it answers; an acknowledgement answers none. `replies`: it is a reply, of either kind.
    `trouble`: why the last who took it did not finish it, the name of an error.
    """

    id: int
    message: Message | None
    answers: int | None
    replies: bool
    trouble: str | None = None

    @classmethod
    def of(cls, message: Message, *, whole: bool = True, trouble: str | None = None) -> "Arrival":
        """Take note of a message, as a whole or not."""
        answers = message.reply_to if is_answer(message) else None
        return cls(message.id, message if whole else None, answers, message.reply_to is not None, trouble)


class Answer:
    """The answer to one message, once it is there."""

    def __init__(self) -> None:
        self.arrival: Arrival | None = None
        self.bell = anyio.Event()

    def give(self, arrival: Arrival) -> None:
        """Hand it over."""
        self.arrival = arrival
        self.bell.set()


class Arrivals:
    """The arrivals of one agent, in order; each is taken once."""

    def __init__(self) -> None:
        self._messages: dict[int, Arrival] = {}
        self._offers: dict[int, None] = {}
        #: What a loop has taken and not finished: told again by a poll, it is not given out a second time.
        self._in_hand: set[int] = set()
        #: Work of those that is offered again: its claim is lost, and its block will hear of it.
        self._offered_again: set[int] = set()
        self._answers: dict[int, Answer] = {}
        #: Questions on their way to the relay: until their ids are known any reply may be the answer to one.
        self._asking = 0
        self._bell = anyio.Event()

    def put(self, arrived: Iterable[InboxMessage]) -> None:
        """Take in what a poll has brought."""
        for message in arrived:
            if message.id in self._in_hand:
                if message.claimable:
                    self._offered_again.add(message.id)
                continue
            if message.claimable:
                self._offers[message.id] = None
                continue
            arrival = Arrival.of(message)
            if not self._give(arrival):
                whole = len(self._messages) < KEPT
                self._messages[message.id] = arrival if whole else Arrival.of(message, whole=False)
        self._ring()

    def forget(self) -> None:
        """Drop everything that was not taken: the inbox is read anew."""
        self._messages.clear()
        self._offers.clear()

    async def message(self) -> Arrival:
        """Wait for the next message."""
        return await self._next(self._look_for_message)

    async def offer(self) -> int:
        """Wait for the next offer of work: the id of its message."""
        return await self._next(self._look_for_offer)

    def put_back(self, arrival: Arrival) -> None:
        """What was taken was not finished: it comes again, before the others."""
        self._in_hand.discard(arrival.id)
        self._messages = {arrival.id: arrival, **self._messages}
        self._ring()

    def offer_again(self, message_id: int) -> None:
        """The offer that was taken was not made use of."""
        self._offers = {message_id: None, **self._offers}
        self._ring()

    def hold(self, message_id: int) -> None:
        """Work is begun: until it is `done` with, nobody here begins it a second time."""
        self._in_hand.add(message_id)

    def done(self, message_id: int) -> None:
        """What was taken is finished, or given up."""
        self._in_hand.discard(message_id)
        if message_id in self._offered_again:
            self._offered_again.discard(message_id)
            self._offers[message_id] = None
            self._ring()

    def begin_to_ask(self) -> None:
        """A question is being sent; end it with `asked`."""
        self._asking += 1

    def asked(self, message_id: int | None) -> Answer:
        """The question has this id (None: it was not sent); its answer comes to what this returns."""
        self._asking -= 1
        answer = Answer()
        if message_id is not None:
            self._answers[message_id] = answer
            for arrival in self._messages.values():
                if self._give(arrival):
                    break
        self._ring()
        return answer

    def told_before(self, message: Message) -> None:
        """Answer a question that was asked before with what was answered then; nothing if it has its answer."""
        self._give(Arrival.of(message))

    def answered(self, message_id: int) -> None:
        """Nobody waits for the answer to this message any more."""
        self._answers.pop(message_id, None)

    def _give(self, arrival: Arrival) -> bool:
        """Give an answer to whoever waits for it."""
        waiting = self._answers.get(arrival.answers or 0)
        if waiting is None or waiting.arrival is not None:
            return False
        self._messages.pop(arrival.id, None)
        self._in_hand.add(arrival.id)
        waiting.give(arrival)
        return True

    def _look_for_message(self) -> Arrival | None:
        for arrival in self._messages.values():
            if self._asking and arrival.replies:
                continue
            del self._messages[arrival.id]
            self._in_hand.add(arrival.id)
            return arrival
        return None

    def _look_for_offer(self) -> int | None:
        for message_id in self._offers:
            del self._offers[message_id]
            return message_id
        return None

    async def _next(self, look: Callable[[], T | None]) -> T:
        while True:
            bell = self._bell
            found = look()
            if found is not None:
                return found
            await bell.wait()

    def _ring(self) -> None:
        self._bell.set()
        self._bell = anyio.Event()


def is_answer(message: Message) -> bool:
    """Whether a reply answers: an acknowledgement only says that it will come."""
    return message.type not in SILENT_TYPES
