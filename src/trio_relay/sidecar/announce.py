"""Reporting a hand-off before it is made.

The relay's answer is the last check that a message still has a point (it may have been withdrawn, or have expired, a
moment ago) and the bound on how often it is tried.
"""

from dataclasses import dataclass, field

import structlog
import trio

from trio_relay.core.ladder import FINAL
from trio_relay.core.model import Rung
from trio_relay.core.wire import InboxMessage
from trio_relay.errors import Conflict, NotFound, StaleInstance
from trio_relay.sidecar.handoff import HandOff
from trio_relay.sidecar.session import Session, Unregistered
from trio_relay.supervise import WEATHER

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Answer:
    """What the relay says: the messages that must not go, and whether it could be asked about all of them."""

    unwanted: set[int] = field(default_factory=set)
    complete: bool = True


async def announce(session: Session, handoff: HandOff) -> Answer:
    """Report the hand-off of every message that is not cleared yet, once. Those that may go are cleared then."""
    answer = Answer()
    evidence = {
        "attemptId": handoff.name_attempt(session.fields.instance_id),
        "threadId": handoff.thread_id,
        "clientId": handoff.client_id,
        "mode": handoff.mode,
        **({"after": handoff.trouble} if handoff.trouble is not None else {}),
        **({"interruptRefused": handoff.refused_interrupt} if handoff.refused_interrupt is not None else {}),
    }

    async def one(message: InboxMessage) -> None:
        try:
            receipt = await session.relay.report(
                message.id, session.agent_id, Rung.HANDED_OFF, evidence, session=session.fields
            )
        except StaleInstance:
            raise
        except (NotFound, Conflict) as refusal:
            if refusal.code == "unknown_agent":
                raise Unregistered(refusal.detail) from refusal
            log.info("not to be delivered any more", message=message.id, code=refusal.code)
            answer.unwanted.add(message.id)
        except WEATHER:
            answer.complete = False
        else:
            if receipt.state in FINAL:
                log.warning(
                    "not handed off again", message=message.id, state=receipt.state, attempts=receipt.attempts
                )
                answer.unwanted.add(message.id)
            handoff.attempts = max(handoff.attempts, receipt.attempts)
            handoff.cleared.add(message.id)

    async with trio.open_nursery() as nursery:
        for message in handoff.messages:
            if message.id not in handoff.cleared:
                nursery.start_soon(one, message)
    return answer
