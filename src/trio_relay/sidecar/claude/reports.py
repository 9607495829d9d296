"""What the relay is to hear of messages, in order; each report is repeated until it is through, and repeats do no harm."""

from collections import deque
from typing import Any

import structlog

from trio_relay.core.model import Rung
from trio_relay.errors import Conflict, NotFound, StaleInstance
from trio_relay.sidecar.session import Session
from trio_relay.supervise import Doorbell

log = structlog.get_logger(__name__)


class Reports:
    """The receipts that are still to be reported in one registration."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, Rung, dict[str, Any]]] = deque()
        self._bell = Doorbell()

    def post(self, message_id: int, rung: Rung, **evidence: Any) -> None:
        """Add a report at the end."""
        self._waiting.append((message_id, rung, evidence))
        self._bell.ring()

    async def run(self, session: Session) -> None:
        """Task: report, for ever."""
        while True:
            await self.flush(session)
            await self._bell.wait()

    async def flush(self, session: Session) -> None:
        """Report what there is. A report leaves the queue once it is through."""
        while self._waiting:
            message_id, rung, evidence = self._waiting[0]
            try:
                await session.report(message_id, rung, evidence)
            except StaleInstance:
                raise
            except (NotFound, Conflict) as refusal:  # deleted, or ended another way
                log.info("receipt not wanted", message=message_id, rung=rung, code=refusal.code)
            self._waiting.popleft()
