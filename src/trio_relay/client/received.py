"""A message in a program's hands: what it says, how to answer it, and when it is done with.

A message is reported as handed off before the program sees it, and as settled only when the program is done with it:
when its loop asks for the next one, at the end of ``async with message``, or by `Received.settle`. What the program
leaves in any other way (an exception, a ``break``) is not settled: it comes again, as often as the relay allows,
which counts the hand-offs and is told why the last one came to nothing.
"""

import uuid
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from trio_relay.client.arrivals import Arrival
from trio_relay.client.sending import MessageFields
from trio_relay.core.model import Rung
from trio_relay.core.wire import Message, SentMessage
from trio_relay.errors import Conflict, NotFound, StaleInstance

if TYPE_CHECKING:
    from trio_relay.client.agent import AgentSession
    from trio_relay.client.presence import Presence

#: What is told of a message whose loop was left, nobody knows by what.
LEFT = "its loop was left"


class Received:
    """A message for this agent. `wire` is the whole of it, as the API has it."""

    def __init__(self, agent: "AgentSession", wire: Message) -> None:
        self.wire = wire
        self._agent = agent
        #: Whether it is settled.
        self.settled = False

    def __repr__(self) -> str:
        return f"<message {self.id} from {self.sender}>"

    @property
    def id(self) -> int:
        """Its number."""
        return self.wire.id

    @property
    def sender(self) -> str:
        """The agent it comes from; ``system`` is the relay itself."""
        return self.wire.sender

    @property
    def body(self) -> str:
        """What it says: somebody else's text, never an order."""
        return self.wire.body

    @property
    def subject(self) -> str | None:
        """Its subject line."""
        return self.wire.subject

    @property
    def kind(self) -> str:
        """Its type, such as ``message``, ``task``, ``pair.invite``."""
        return self.wire.type

    @property
    def meta(self) -> dict[str, Any]:
        """What its sender has added."""
        return self.wire.meta

    @property
    def authority(self) -> str:
        """Whose word it is, as the relay attests it: human, operator, peer, integration."""
        return self.wire.authority

    async def reply(self, body: str, **fields: Unpack[MessageFields]) -> SentMessage:
        """Answer its sender; `fields` as of `AgentSession.send`."""
        fields["reply_to"] = self.id
        return await self._agent.send(self.sender, body, **fields)

    async def seen(self, **evidence: Any) -> None:
        """Say that it is in a model's context, and what shows that (ids, never text). It is not done with yet."""
        await self._agent.presence.report(self.id, Rung.IN_CONTEXT, **evidence)

    async def settle(self) -> None:
        """Be done with it, now."""
        if not self.settled:
            await settle(self._agent.presence, self.id)
            self.settled = True
            self._agent.presence.arrivals.done(self.id)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if kind is None:
            await self.settle()
        else:
            self.put_back(kind.__name__)
        return None

    def put_back(self, trouble: str = LEFT) -> None:
        """Leave it undone: a loop of this program gets it again. `trouble` says why, by the name of an error."""
        if not self.settled:
            self._agent.presence.arrivals.put_back(Arrival.of(self.wire, trouble=trouble))


class Hand:
    """The message a loop has in hand."""

    def __init__(self) -> None:
        self.message: Received | None = None


class Inbox:
    """The messages for an agent, one after another as they come: an async iterator that does not end.

    Asking for the next message settles the one before, unless it is `manual`.
    """

    def __init__(self, agent: "AgentSession", *, manual: bool) -> None:
        self.hand = Hand()
        self._agent = agent
        self._manual = manual

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Received:
        if self.hand.message is not None:
            await self.hand.message.settle()
            self.hand.message = None
        received = await self._agent.receive()
        if not self._manual:
            self.hand.message = received
        return received


async def take(agent: "AgentSession") -> Received:
    """Wait for the next message that still has a point, and report that it is handed off."""
    presence = agent.presence
    while True:
        arrival = await presence.arrivals.message()
        given = False
        try:
            message = await whole(presence, arrival)
            given = message is not None and await hand_off(presence, arrival)
        except BaseException:
            presence.arrivals.put_back(arrival)
            raise
        if message is not None and given:
            return Received(agent, message)
        presence.arrivals.done(arrival.id)


async def hand_off(presence: "Presence", arrival: Arrival) -> bool:
    """Report a hand-off before it is made; False when there is no point in it any more, or it was made too often."""
    evidence = {"by": "client", "attemptId": uuid.uuid4().hex}
    if arrival.trouble is not None:
        evidence["after"] = arrival.trouble
    try:
        rung = await presence.report(arrival.id, Rung.HANDED_OFF, **evidence)
    except StaleInstance:
        raise
    except (Conflict, NotFound):
        return False
    return rung in {Rung.HANDED_OFF, Rung.IN_CONTEXT, Rung.ANSWERED}


async def settle(presence: "Presence", message_id: int) -> None:
    """Report that a message is done with; if it has ended otherwise meanwhile, so be it."""
    try:
        await presence.report(message_id, Rung.SETTLED, by="client")
    except StaleInstance:
        raise
    except (Conflict, NotFound):
        return


async def whole(presence: "Presence", arrival: Arrival) -> Message | None:
    """The message that has arrived; None if it was taken out of the room."""
    if arrival.message is not None:
        return arrival.message
    try:
        return await presence.insist(lambda: presence.relay.message(arrival.id))
    except NotFound:
        return None
