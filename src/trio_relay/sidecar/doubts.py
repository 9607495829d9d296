"""Finding out what became of hand-offs nobody can vouch for: read the thread before anything is said twice.

Codex does not recognise a client id it has seen before, so a text sent twice stands there twice. Therefore a doubtful
hand-off goes out again only when it is certain that it is not in the thread and that nothing is still on its way.
"""

from collections.abc import Awaitable, Callable, Collection
from pathlib import PurePath

import structlog
import trio

from trio_relay.codex.app_server import AppServer
from trio_relay.codex.protocol import CallFailed, TurnEnded, UserMessageSeen
from trio_relay.core.model import Delivery, Rung
from trio_relay.errors import ConnectionLost
from trio_relay.sidecar.handoff import HandOff
from trio_relay.sidecar.ledger import Ledger
from trio_relay.sidecar.threads import Threads

log = structlog.get_logger(__name__)

#: Seconds a call that was on its way when its connection broke is given to take effect. Codex needs milliseconds.
GRACE = 1.0


#: Which of some item ids stand in a rollout file; None when it cannot be read from here.
FindItems = Callable[[str, Collection[str]], Awaitable[set[str] | None]]


async def resolve_doubts(server: AppServer, threads: Threads, ledger: Ledger, find_items: FindItems) -> None:
    """Settle every doubt that can be settled now, each in the thread where the text went.

    What stands in the thread is in context; if its turn is over, so is it. What does not stand there is lost if the
    turn that took it is over. If nobody knows which turn took it, a running one may still; it is doubtful again when
    that turn ends. With no turn running, a call still on its way is given a moment, then it is lost.
    """
    patience = 1
    while ledger.doubtful or ledger.unfollowed(threads.running):
        were_active = {handoff.thread_id for handoff in ledger.doubtful if threads.active(handoff.thread_id)}
        await read_queues(server, threads, ledger)
        await _read_threads(server, threads, ledger)
        await read_rollouts(server, threads, ledger, find_items)
        unknown = await _end_past_turns(server, threads, ledger)
        _judge(threads, ledger, were_active)
        if not (unknown or ledger.doubtful):
            return
        if patience:
            patience -= 1
            await trio.sleep(GRACE)
            continue
        for turn_id in unknown:
            ledger.ended(TurnEnded(turn_id, "unknown", None, None))
        for handoff in ledger.doubtful:
            _lost(handoff, ledger)


def _judge(threads: Threads, ledger: Ledger, were_active: set[str | None]) -> None:
    """Decide about what was not found, as far as that is certain; `were_active`: where a turn ran before the reading."""
    for handoff in ledger.doubtful:
        view = threads.view(handoff.thread_id)
        if _its_turn_is_over(handoff, threads, ledger):
            _lost(handoff, ledger)
        elif view.active or handoff.thread_id in were_active:
            ledger.wait_for_turn(handoff, view.turn_id, trio.current_time())


def _its_turn_is_over(handoff: HandOff, threads: Threads, ledger: Ledger) -> bool:
    """Say whether the turn that took a text has ended: seen to end, or another one runs."""
    view = threads.view(handoff.thread_id)
    if handoff.turn_id is None or handoff.turn_id == view.turn_id:
        return False
    return ledger.has_ended(handoff.turn_id) or view.turn_id is not None


def _lost(handoff: HandOff, ledger: Ledger) -> None:
    log.warning("hand-off lost", messages=sorted(handoff.message_ids), turn=handoff.turn_id)
    ledger.lost(handoff, trio.current_time())


async def read_queues(server: AppServer, threads: Threads, ledger: Ledger) -> None:
    """Find what still waits in a queue of Codex: before the threads are read, which it may enter meanwhile.

    What waits in a thread that nobody of ours listens to is taken along: there it might wait for ever.
    """
    doubtful = [handoff for handoff in ledger.doubtful if handoff.asked is Delivery.IDLE]
    for thread_id in {handoff.thread_id or threads.current.thread_id for handoff in doubtful}:
        try:
            waiting = {each.client_id: each for each in await server.queue_list(thread_id)}
        except CallFailed as error:
            log.info("no queue to be read", thread=thread_id, reason=error.message)
            continue
        for handoff in doubtful:
            entry = waiting.get(handoff.client_id)
            if entry is None or (handoff.thread_id or threads.current.thread_id) != thread_id:
                continue
            view = threads.watched(thread_id)
            if view is not None:
                handoff.thread_id = thread_id
                ledger.queued(handoff, entry.submission_id, view.turn_id)
            elif await server.queue_delete(thread_id, entry.submission_id):
                _lost(handoff, ledger)


async def read_rollouts(server: AppServer, threads: Threads, ledger: Ledger, find_items: FindItems) -> None:
    """Find what was injected: no call lists it, only the file has it."""
    for handoff in ledger.doubtful:
        if handoff.asked is not Delivery.FYI:
            continue
        thread_id = handoff.thread_id or threads.current.thread_id
        path = await rollout_of(server, thread_id)
        found = None if path is None else await find_items(path, [handoff.client_id])
        if found is None and not handoff.proven:
            reason = "whether it arrived cannot be told: the thread's file cannot be read"
            ledger.finish(handoff, Rung.DEAD, {"reason": reason})
        elif found and path is not None:
            ledger.injected(handoff, thread_id, PurePath(path).name)


async def rollout_of(server: AppServer, thread_id: str) -> str | None:
    """Name the file of a thread, if it is known."""
    try:
        path = (await server.thread_read(thread_id)).get("path")
    except CallFailed:
        return None
    return path if isinstance(path, str) else None


async def _read_threads(server: AppServer, threads: Threads, ledger: Ledger) -> None:
    """Read our thread, and any other we or a predecessor delivered into."""
    ours = threads.current.thread_id
    doubtful = [handoff for handoff in ledger.doubtful if handoff.asked is not Delivery.FYI]
    if not (doubtful or ledger.unfollowed(threads.running)):
        return
    others = {handoff.thread_id for handoff in doubtful} - {None, ours}
    for thread_id in (ours, *sorted(filter(None, others))):
        for seen in await _user_messages(server, thread_id, ours=ours):
            ledger.saw(seen.client_id, seen.turn_id, seen.item_id, thread_id, seen.proof)


async def _user_messages(server: AppServer, thread_id: str, *, ours: str) -> list[UserMessageSeen]:
    try:
        return await server.user_messages(thread_id)
    except CallFailed as error:
        if thread_id == ours:
            raise ConnectionLost(f"the thread cannot be read: {error.message}") from error
        log.warning("an earlier thread cannot be read", thread=thread_id, reason=error.message)
        return []


async def _end_past_turns(server: AppServer, threads: Threads, ledger: Ledger) -> set[str]:
    """End the turns that are over, as the thread remembers them; answer those it cannot tell of."""
    unknown: set[str] = set()
    for handoff in ledger.unfollowed(threads.running):
        turn_id, thread_id = handoff.turn_id or "", handoff.thread_id or threads.current.thread_id
        try:
            ended = await server.turn_result(thread_id, turn_id)
        except CallFailed:
            ended = None
        if ended is not None:
            ledger.ended(ended)
        elif turn_id not in threads.running:
            unknown.add(turn_id)
    return unknown
