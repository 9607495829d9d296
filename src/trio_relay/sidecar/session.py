"""The relay, spoken to as one registered instance of one agent.

Two answers end what is going on and therefore travel as exceptions through every task: `Unregistered` (the relay has
forgotten the agent: register again) and `StaleInstance` (a newer instance has taken over: stop). Weather is waited
out here.
"""

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import structlog

from trio_relay.client import RelayClient
from trio_relay.core.model import Rung
from trio_relay.core.wire import Agent, InboxMessage, SessionFields
from trio_relay.errors import NotFound, RelayError
from trio_relay.supervise import insist

log = structlog.get_logger(__name__)
T = TypeVar("T")
Delays = Callable[[], Iterator[float]]

#: Rows of an inbox asked for at once.
PAGE = 200


class Unregistered(RelayError):  # noqa: N818  # an answer, not a failure
    """The relay no longer knows this agent."""

    default_code = "unregistered"


class Session:
    """One registration: the agent id and the instance and epoch every call carries."""

    def __init__(self, relay: RelayClient, agent: Agent, delays: Delays) -> None:
        self.relay = relay
        self.agent_id = agent.id
        self.fields = SessionFields(instance_id=agent.instance_id, epoch=agent.epoch)
        self._delays = delays
        self._away = False

    async def insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call to the relay until it gets through, with pauses that grow."""

        async def attempt() -> T:
            try:
                return await call()
            except NotFound as error:
                if error.code == "unknown_agent":
                    raise Unregistered(error.detail) from error
                raise

        answer = await insist(attempt, delays=self._delays, on_failure=self._lost)
        if self._away:
            self._away = False
            log.info("relay answers again", agent=self.agent_id)
        return answer

    async def report(self, message_id: int, rung: Rung, evidence: dict[str, Any]) -> None:
        """Report a rung that was seen, once; what the relay says to it is the caller's."""
        await self.insist(
            lambda: self.relay.report(message_id, self.agent_id, rung, evidence, session=self.fields)
        )

    async def everything(self, state: Rung | None = None) -> list[InboxMessage]:
        """Read the whole inbox, page by page: what is unread, or what stands on the rung `state`."""
        found: list[InboxMessage] = []
        while True:
            after = found[-1].inbox_seq if found else 0
            read = partial(self.relay.inbox, unread=state is None, state=state, after_seq=after, limit=PAGE)
            page = await self.insist(partial(read, self.agent_id))
            found += page
            if len(page) < PAGE:
                return found

    def _lost(self, error: Exception) -> None:
        if not self._away:
            self._away = True
            log.warning("relay is away", agent=self.agent_id, reason=str(error))
