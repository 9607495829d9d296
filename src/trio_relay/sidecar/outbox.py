"""What the relay is to hear, in order: receipts, replies, the end of claims. Each job is repeated until it is through.

Every job can be done twice without harm (reports climb only once, replies carry an idempotency key, a finished claim
stays finished), so a sidecar that dies in the middle of one leaves nothing for its successor but to do it again.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import structlog
import trio

from trio_relay.codex.protocol import TurnEnded
from trio_relay.core.model import Rung
from trio_relay.core.prompts import line
from trio_relay.core.wire import InboxMessage
from trio_relay.errors import Conflict, Invalid, NotFound, Refused, StaleInstance
from trio_relay.sidecar.claims import Claims
from trio_relay.sidecar.handoff import HandOff
from trio_relay.sidecar.jobs import Conclude, Finish, Job, Tell
from trio_relay.sidecar.replies import Reply, replies_owed
from trio_relay.sidecar.session import Session
from trio_relay.supervise import Doorbell

log = structlog.get_logger(__name__)

#: Reports of one job under way at once.
_AT_ONCE = 8


class Outbox:
    """The jobs of one registration. `claims` is set once there is a nursery to hold them."""

    claims: Claims

    def __init__(self, session: Session, *, auto_reply: bool) -> None:
        self._session = session
        self._auto_reply = auto_reply
        self._jobs: deque[Job] = deque()
        self._bell = Doorbell()

    def post(self, job: Job) -> None:
        """Add a job at the end."""
        self._jobs.append(job)
        self._bell.ring()

    async def run(self, finished: Callable[[Sequence[HandOff]], None]) -> None:
        """Task: do the jobs as they come, for ever; `finished` hears of hand-offs whose end the relay now knows."""
        while True:
            await self.flush(finished)
            await self._bell.wait()

    async def flush(self, finished: Callable[[Sequence[HandOff]], None]) -> None:
        """Do the jobs there are. A job leaves the queue when it is done, so an interrupted one is done again."""
        while self._jobs:
            match job := self._jobs[0]:
                case Tell(messages, rung, evidence):
                    await self._report((message, rung, evidence) for message in messages)
                case Conclude():
                    await self._conclude(job)
                    finished(job.handoffs)
                case Finish(handoff, rung, evidence):
                    await self._finish(handoff, rung, evidence)
                    finished([handoff])
            self._jobs.popleft()

    async def _report(self, reports: Iterable[tuple[InboxMessage, Rung, dict[str, Any]]]) -> None:
        limit = trio.CapacityLimiter(_AT_ONCE)

        async def one(message: InboxMessage, rung: Rung, evidence: dict[str, Any]) -> None:
            async with limit:
                try:
                    await self._session.report(message.id, rung, evidence)
                except StaleInstance:
                    raise
                except (
                    NotFound,
                    Conflict,
                ) as refusal:  # deleted, or ended another way: there is nobody to tell
                    log.info("receipt not wanted", message=message.id, rung=rung, code=refusal.code)

        async with trio.open_nursery() as nursery:
            for report in reports:
                nursery.start_soon(one, *report)

    async def _conclude(self, job: Conclude) -> None:
        ended, messages = job.ended, job.messages
        refused: dict[int, str] = {}
        if ended.status == "completed" and self._auto_reply:
            waiting = {message.id for message in await self._session.everything(Rung.IN_CONTEXT)}
            # Those that wait no more may have been answered by the model itself, with a tool.
            gone = any(message.id not in waiting for message in messages)
            answered = await self._session.everything(Rung.ANSWERED) if gone else []
            has_one = {message.id for message in answered}
            # Whether work that was offered is done, and how it went, the model says with its tools.
            offers = self.claims.offers
            mine = [
                message
                for message in messages
                if message.id in waiting | has_one and not (offers and message.claimable)
            ]
            for reply in replies_owed(mine, ended, self._session.agent_id, has_one):
                code = await self._reply(reply)
                if code is not None:
                    refused[reply.message.id] = code
        evidence: dict[str, Any] = {"turn": ended.status}
        if ended.turn_id:
            evidence["turnId"] = ended.turn_id
        if ended.error is not None:
            evidence["error"] = line(ended.error)[:200]
        settled: list[tuple[InboxMessage, Rung, dict[str, Any]]] = []
        for message in messages:
            details = {"replyRefused": refused[message.id]} if message.id in refused else {}
            if message.claimable:
                details["claim"] = await self._finish_claim(message.id, ended)
            settled.append((message, Rung.SETTLED, evidence | details))
        await self._report(settled)
        log.info("turn over", turn=ended.turn_id, status=ended.status, messages=[m.id for m in messages])

    async def _reply(self, reply: Reply) -> str | None:
        """Post one reply; answer the code of the relay's refusal, if it will not have it."""
        session, message = self._session, reply.message
        try:
            sent = await session.insist(lambda: session.relay.send(reply.request))
        except StaleInstance:
            raise
        except Conflict:
            return None  # posted before, from an earlier reading of the same turn
        except (Invalid, NotFound, Refused) as refusal:
            log.warning("reply refused", message=message.id, code=refusal.code)
            return refusal.code
        log.info("replied", message=message.id, reply=sent.id)
        await self._report((other, Rung.ANSWERED, {"replyId": sent.id}) for other in reply.also_answers)
        return None

    async def _finish_claim(self, message_id: int, ended: TurnEnded) -> str:
        if self.claims.offers:
            return "offered"
        if not self.claims.holds(message_id):
            return "over" if self.claims.is_over(message_id) else "lost"
        if ended.status == "completed":
            return (
                "completed" if await self.claims.complete(message_id, {"turnId": ended.turn_id}) else "lost"
            )
        await self.claims.release(message_id)
        return "released"

    async def _finish(self, handoff: HandOff, rung: Rung, evidence: dict[str, Any]) -> None:
        log.info("ended", messages=sorted(handoff.message_ids), rung=rung, **evidence)
        for message_id in handoff.message_ids:
            await self.claims.release(message_id)
        await self._report((message, rung, evidence) for message in handoff.messages)
