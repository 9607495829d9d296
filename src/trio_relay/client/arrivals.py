"""What has arrived for an agent and nobody has taken up yet: messages, offers of work, answers that are waited for.

Plain bookkeeping: the poll of `presence` puts in, the loops of a program take out. Who waits is woken by a bell that
is hung up before looking, so that no arrival between two looks is lost.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

import anyio

from trio_relay.core.model import SILENT_TYPES
from trio_relay.core.wire import InboxMessage

T = TypeVar("T")
#: Messages kept in full while nobody takes them; of those beyond, only the id is kept.
KEPT = 1_000


class Answer:
    """The answer to one message, once it is there."""

    def __init__(self) -> None:
        self.message: InboxMessage | None = None
        self.bell = anyio.Event()

    def give(self, message: InboxMessage) -> None:
        """Hand it over."""
        self.message = message
        self.bell.set()


class Arrivals:
    """The arrivals of one agent, in order; each is taken once."""

    def __init__(self) -> None:
        self._messages: dict[int, InboxMessage | None] = {}
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
            waiting = self._answers.get(message.reply_to or 0)
            if waiting is not None and waiting.message is None and is_answer(message):
                waiting.give(message)
                self._in_hand.add(message.id)
            else:
                self._messages[message.id] = message if len(self._messages) < KEPT else None
        self._ring()

    def forget(self) -> None:
        """Drop everything that was not taken: the inbox is read anew."""
        self._messages.clear()
        self._offers.clear()

    async def message(self) -> tuple[int, InboxMessage | None]:
        """Wait for the next message; by its id alone where too many were waiting."""
        return await self._next(self._look_for_message)

    async def offer(self) -> int:
        """Wait for the next offer of work: the id of its message."""
        return await self._next(self._look_for_offer)

    def put_back(self, message_id: int, message: InboxMessage | None) -> None:
        """What was taken was not finished: it comes again, before the others."""
        self._in_hand.discard(message_id)
        self._messages = {message_id: message, **self._messages}
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
            for message in list(self._messages.values()):
                if message is not None and message.reply_to == message_id and is_answer(message):
                    del self._messages[message.id]
                    self._in_hand.add(message.id)
                    answer.give(message)
                    break
            else:
                self._answers[message_id] = answer
        self._ring()
        return answer

    def answered(self, message_id: int) -> None:
        """Nobody waits for the answer to this message any more."""
        self._answers.pop(message_id, None)

    def _look_for_message(self) -> tuple[int, InboxMessage | None] | None:
        for message_id, message in self._messages.items():
            if self._asking and message is not None and message.reply_to is not None:
                continue
            del self._messages[message_id]
            self._in_hand.add(message_id)
            return message_id, message
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


def is_answer(message: InboxMessage) -> bool:
    """Whether a reply answers: an acknowledgement only says that it will come."""
    return message.type not in SILENT_TYPES
