"""Claims this sidecar holds: taken right before a hand-off, renewed while the turn runs, finished with it.

Each held claim is a task of the registration's nursery. When a lease cannot be kept it is lost, and nothing is done
with its token any more: the relay may have given the message to somebody else.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import structlog
import trio

from trio_relay.core.wire import ClaimedMessage
from trio_relay.errors import Conflict, LeaseLost, NotFound, StaleInstance
from trio_relay.sidecar.session import Session
from trio_relay.supervise import WEATHER, held_lease

log = structlog.get_logger(__name__)


class Taken(Enum):
    """What became of an attempt to claim."""

    OURS = "ours"
    OFFERED = "offered"  # nobody holds it, and it is the model that claims here, not we
    OTHERS = "others"  # somebody else holds it; the relay offers it again if they give it back
    GONE = "gone"  # done, or no longer there
    WITHDRAWN = "withdrawn"  # it has lost its point
    LATER = "later"  # the relay could not be asked


@dataclass(slots=True, eq=False)
class _Claim:
    token: str
    released: trio.Event = field(default_factory=trio.Event)


class Claims:
    """The claims of one registration; `every` is the pause between renewals, seconds.

    `offers`: work is not claimed here but shown to the model, which claims it with its tool when its person agrees.
    """

    def __init__(
        self, session: Session, nursery: trio.Nursery, every: float, *, offers: bool = False
    ) -> None:
        self.offers = offers
        self._session = session
        self._nursery = nursery
        self._every = every
        self._held: dict[int, _Claim] = {}
        self._over: set[int] = set()

    def holds(self, message_id: int) -> bool:
        """Say whether the claim on a message is ours, as far as we know."""
        return message_id in self._held

    async def take(self, message_id: int) -> Taken:
        """Try to claim a message, once; or look whether it can be offered."""
        if message_id in self._held:
            return Taken.OURS
        if self.offers:
            return await self._look(message_id)
        session = self._session
        try:
            claimed = await session.relay.claim(message_id, session.agent_id, session=session.fields)
        except StaleInstance:
            raise
        except Conflict as refusal:
            if refusal.code == "completed":
                self._over.add(message_id)
            return {"completed": Taken.GONE, "withdrawn": Taken.WITHDRAWN}.get(refusal.code, Taken.OTHERS)
        except NotFound:
            return Taken.GONE
        except WEATHER:
            return Taken.LATER
        claim = self._held[message_id] = _Claim(claimed.lease_token)
        self._nursery.start_soon(self._hold, claimed, claim)
        return Taken.OURS

    async def _look(self, message_id: int) -> Taken:
        try:
            message = await self._session.relay.message(message_id)
        except NotFound:
            return Taken.GONE
        except WEATHER:
            return Taken.LATER
        if message.withdrawn is not None:
            return Taken.WITHDRAWN
        return Taken.OFFERED if message.claimed_by in {None, self._session.agent_id} else Taken.OTHERS

    def is_over(self, message_id: int) -> bool:
        """Say whether the relay called the work completed when it was last asked: by a predecessor or another agent."""
        return message_id in self._over

    async def complete(self, message_id: int, result: dict[str, Any]) -> bool:
        """Complete claimed work; False when the claim is not ours any more."""
        return await self._finish(message_id, result)

    async def release(self, message_id: int) -> None:
        """Give a claim back, if it is still ours."""
        await self._finish(message_id, None)

    async def _finish(self, message_id: int, result: dict[str, Any] | None) -> bool:
        claim = self._held.get(message_id)
        if claim is None:
            return False
        session = self._session
        finish = session.relay.release if result is None else session.relay.complete
        extra: dict[str, Any] = {} if result is None else {"result": result}
        try:
            await session.insist(
                lambda: finish(message_id, session.agent_id, claim.token, session=session.fields, **extra)
            )
        except StaleInstance:
            raise
        except (Conflict, NotFound):
            return False
        else:
            return True
        finally:
            self._held.pop(message_id, None)
            claim.released.set()

    async def _hold(self, claimed: ClaimedMessage, claim: _Claim) -> None:
        """Keep one claim until it is finished or lost."""
        session = self._session

        async def renew() -> float:
            try:
                renewed = await session.relay.renew(
                    claimed.id, session.agent_id, claim.token, session=session.fields
                )
            except NotFound as gone:
                raise LeaseLost(gone.detail) from gone
            claim.token = renewed.lease_token
            return ttl

        ttl = ((claimed.claim_expires_at or 0) - (claimed.claimed_at or 0)) / 1000
        async with held_lease(renew, ttl=ttl, every=self._every) as lease:
            await claim.released.wait()
        if lease.lost and self._held.get(claimed.id) is claim:
            del self._held[claimed.id]
            log.warning("claim lost", agent=session.agent_id, message=claimed.id)
