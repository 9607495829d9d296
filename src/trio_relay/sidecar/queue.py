"""What waits in Codex's queue: noticing that it leaves, taking out what was withdrawn, setting a queue going that stands.

Codex announces that a queue has changed, not what. A text leaves the queue before its turn begins, so one that is gone
is expected to show in the thread soon. After an interrupt a queue stands still, without a word, until some turn
completes: when the thread is idle and something of ours still waits, it is started. What waits in a thread that the
person has left is taken along.
"""

import structlog
import trio

from trio_relay.codex.app_server import AppServer
from trio_relay.codex.protocol import CallFailed
from trio_relay.core.model import Rung
from trio_relay.sidecar.handoff import HandOff
from trio_relay.sidecar.ledger import Ledger
from trio_relay.sidecar.threads import Threads

log = structlog.get_logger(__name__)

#: Seconds an idle thread is given to take the next text out of its queue by itself. Codex needs milliseconds.
NUDGE = 0.5


class QueueWatch:
    """Looks after the queues of one connection."""

    def __init__(self, server: AppServer, threads: Threads, ledger: Ledger) -> None:
        self._server = server
        self._threads = threads
        self._ledger = ledger
        self._idle_since: dict[str, float] = {}

    async def tend(self) -> float:
        """Do what is to be done now; say when to look again (trio time, maybe for ever)."""
        for handoff in self._ledger.in_queue:
            if handoff.message_ids <= handoff.withdrawn:
                if await self._taken_out(handoff):
                    self._ledger.finish(handoff, Rung.RETRACTED, {"from": "Codex's queue"})
            elif handoff.thread_id != self._threads.current.thread_id and await self._taken_out(handoff):
                log.info("taken along", messages=sorted(handoff.message_ids), thread=handoff.thread_id)
                self._ledger.taken_along(handoff, trio.current_time())
        if self._threads.queue_changed and self._ledger.in_queue:
            self._threads.queue_changed = False
            await self._look()
        return await self._start_what_stands()

    async def _taken_out(self, handoff: HandOff) -> bool:
        """Take a text out of its queue; False when it has left it already."""
        try:
            deleted = await self._server.queue_delete(handoff.thread_id or "", handoff.submission_id)
        except CallFailed as error:
            log.warning("queue takes nothing out", reason=error.message)
            deleted = False
        if not deleted:
            self._ledger.left_queue(handoff, trio.current_time(), taken_out=False)
        return deleted

    async def _look(self) -> None:
        """Find out what has left the queues."""
        for thread_id in {handoff.thread_id or "" for handoff in self._ledger.in_queue}:
            running = self._threads.view(thread_id).turn_id
            try:
                waiting = {each.submission_id for each in await self._server.queue_list(thread_id)}
            except CallFailed as error:
                log.warning("queue cannot be read", thread=thread_id, reason=error.message)
                continue
            for handoff in self._ledger.in_queue:
                if handoff.thread_id != thread_id:
                    continue
                if handoff.submission_id in waiting:
                    self._ledger.queued(handoff, handoff.submission_id, running)
                else:
                    taken_out = await self._still_runs(thread_id, handoff.queued_during)
                    self._ledger.left_queue(handoff, trio.current_time(), taken_out=taken_out)

    async def _still_runs(self, thread_id: str, turn_id: str | None) -> bool:
        """Say whether a turn that ran while a text waited runs on: then no turn of its own has taken that text."""
        if turn_id is None:
            return False
        try:
            return await self._server.turn_result(thread_id, turn_id) is None
        except CallFailed:
            return False

    async def _start_what_stands(self) -> float:
        first = {handoff.thread_id or "": handoff for handoff in reversed(self._ledger.in_queue)}
        idle = {thread_id for thread_id in first if not self._threads.active(thread_id)}
        now = trio.current_time()
        self._idle_since = {thread_id: self._idle_since.get(thread_id, now) for thread_id in idle}
        for thread_id, since in self._idle_since.items():
            if since + NUDGE <= now:
                self._idle_since[thread_id] = now
                await self._start(first[thread_id])
        return min((since + NUDGE for since in self._idle_since.values()), default=float("inf"))

    async def _start(self, handoff: HandOff) -> None:
        try:
            turn_id = await self._server.queue_start(handoff.thread_id or "", handoff.submission_id)
        except CallFailed as error:  # it has gone meanwhile, or a turn is about to begin
            log.info("queue was not started", messages=sorted(handoff.message_ids), reason=error.message)
            self._threads.queue_changed = True
        else:
            log.info("queue started", messages=sorted(handoff.message_ids), turn=turn_id)
            self._ledger.left_queue(handoff, trio.current_time(), taken_out=False)
