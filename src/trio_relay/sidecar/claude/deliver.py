"""Announcing messages: picked by the books, claimed where that is wanted, told to the relay, then written."""

from collections.abc import Sequence

import structlog
import trio

from trio_relay.claude.ledger import Entry
from trio_relay.claude.notices import PAUSE, batches, notice
from trio_relay.core.ladder import FINAL
from trio_relay.core.model import Rung
from trio_relay.errors import Conflict, NotFound, StaleInstance
from trio_relay.sidecar.claims import Claims, Taken
from trio_relay.sidecar.claude.hooks import Sitting
from trio_relay.sidecar.session import Session

log = structlog.get_logger(__name__)

#: Seconds before what could not be asked about is tried again.
_LATER = 5.0


class Deliverer:
    """One registration's announcing. `window`: how long a burst gathers, seconds."""

    def __init__(self, sitting: Sitting, session: Session, claims: Claims, window: float) -> None:
        self._sitting = sitting
        self._session = session
        self._claims = claims
        self._window = window
        self._said_at = float("-inf")

    async def run(self) -> None:
        """Task: announce what is due, for ever; never more often than every `PAUSE` seconds."""
        ledger, presence = self._sitting.ledger, self._sitting.presence
        while True:
            now = trio.current_time()
            later = await self._give_back(now)
            due, again_at = ledger.due(now, idle_since=presence.idle_since, window=self._window)
            if due and self._said_at + PAUSE > now:
                await trio.sleep_until(self._said_at + PAUSE)
                continue
            if due and self._sitting.outlet.ready and await self._announce(due):
                continue
            if due:
                again_at = now + _LATER
            with trio.move_on_at(min(again_at, later)):
                await self._sitting.bell.wait()

    async def _give_back(self, now: float) -> float:
        """Leave to others the work that this session does not look at; when to see about it again."""
        found, again_at = self._sitting.ledger.given_up(now, idle_since=self._sitting.presence.idle_since)
        for entry in found:
            log.info("given back", message=entry.message.id)
            self._sitting.ledger.drop(entry.message.id)
            await self._claims.release(entry.message.id)
        return again_at

    async def _announce(self, due: Sequence[Entry]) -> bool:
        """Announce one batch; False when none of it could be."""
        entries = [entry for entry in due if await self._may_go(entry)]
        lines = {entry.message.id: self._notice(entry) for entry in entries}
        batch = next(iter(batches(lines.values())), [])
        entries = entries[: len(batch)]
        if not entries:
            return len(due) > 0 and not any(entry.message.id in self._sitting.ledger for entry in due)
        if not await self._sitting.outlet.say(batch):
            return False
        self._said_at = trio.current_time()
        self._sitting.ledger.told(entries, self._said_at)
        log.info("announced", messages=[entry.message.id for entry in entries], by=self._sitting.outlet.name)
        return True

    def _notice(self, entry: Entry) -> str:
        held = self._claims.holds(entry.message.id)
        return notice(entry.message, self._sitting.me.agent_id, again=entry.tellings > 0, held=held)

    async def _may_go(self, entry: Entry) -> bool:
        """Claim what is to be claimed and report the hand-off: whether the message still has a point."""
        message = entry.message
        if message.claimable:
            taken = await self._claims.take(message.id)
            if taken is Taken.LATER:
                return False
            if taken not in {Taken.OURS, Taken.OFFERED}:
                log.info("not for us", message=message.id, taken=taken)
                self._sitting.ledger.drop(message.id)
                return False
        evidence = {
            "by": self._sitting.outlet.name,
            "sessionId": self._sitting.presence.session_id,
            "attemptId": f"{self._session.fields.instance_id}:{message.id}:{entry.tellings + 1}",
        }
        relay = self._session.relay
        try:
            receipt = await self._session.insist(
                lambda: relay.report(
                    message.id,
                    self._session.agent_id,
                    Rung.HANDED_OFF,
                    evidence,
                    session=self._session.fields,
                )
            )
        except StaleInstance:
            raise
        except (NotFound, Conflict) as refusal:
            log.info("not to be delivered any more", message=message.id, code=refusal.code)
            self._sitting.ledger.drop(message.id)
            return False
        if receipt.state in FINAL:
            log.warning("not announced again", message=message.id, state=receipt.state)
            self._sitting.ledger.drop(message.id)
            return False
        return True
