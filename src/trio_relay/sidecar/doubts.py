"""Finding out what became of hand-offs nobody can vouch for: read the thread before anything is said twice.

Codex does not recognise a client id it has seen before, so a text sent twice stands there twice. Therefore a doubtful
hand-off goes out again only when it is certain that it is not in the thread and that nothing is still on its way.
"""

import structlog
import trio

from trio_relay.codex.app_server import AppServer
from trio_relay.codex.protocol import CallFailed, ThreadView, TurnEnded, UserMessageSeen
from trio_relay.errors import ConnectionLost
from trio_relay.sidecar.ledger import Ledger

log = structlog.get_logger(__name__)

#: Seconds a call that was on its way when its connection broke is given to take effect. Codex needs milliseconds.
GRACE = 1.0


async def resolve_doubts(server: AppServer, view: ThreadView, ledger: Ledger) -> None:
    """Settle every doubt that can be settled now.

    What stands in the thread is in context; if its turn is over, so is it. What does not stand there while a turn
    runs may still be taken by it, and is doubtful again when that turn ends. What is not there though the thread
    was idle the whole time is lost.
    """
    patience = 1
    while ledger.doubtful or ledger.unfollowed(view.turn_id):
        was_active = view.active
        for thread_id in _threads(view, ledger):
            for seen in await _user_messages(server, thread_id, mine=view.thread_id):
                ledger.saw(seen.client_id, seen.turn_id, seen.item_id, thread_id)
        unknown = await _end_past_turns(server, view, ledger)
        if was_active or view.active:
            for handoff in ledger.doubtful:
                ledger.wait_for_turn(handoff, view.turn_id, trio.current_time())
            if not unknown:
                return
        if patience and (ledger.doubtful or unknown):
            patience -= 1
            await trio.sleep(GRACE)
            continue
        for turn_id in unknown:
            ledger.ended(TurnEnded(turn_id, "unknown", None, None))
        for handoff in ledger.doubtful:
            log.warning("hand-off lost", messages=sorted(handoff.message_ids), turn=handoff.turn_id)
            ledger.lost(handoff, trio.current_time())


def _threads(view: ThreadView, ledger: Ledger) -> list[str]:
    """Name the threads to read: ours, and any other a predecessor delivered into."""
    others = {handoff.thread_id for handoff in ledger.doubtful} - {None, view.thread_id}
    return [view.thread_id, *sorted(filter(None, others))]


async def _user_messages(server: AppServer, thread_id: str, *, mine: str) -> list[UserMessageSeen]:
    try:
        return await server.user_messages(thread_id)
    except CallFailed as error:
        # A thread of the older kind cannot be listed at all (Codex 0.150): then a lost answer means saying it twice.
        if thread_id != mine or "is not supported" in error.message:
            log.warning("thread cannot be read", thread=thread_id, reason=error.message)
            return []
        raise ConnectionLost(f"the thread cannot be read: {error.message}") from error


async def _end_past_turns(server: AppServer, view: ThreadView, ledger: Ledger) -> set[str]:
    """End the turns that are over, as the thread remembers them; answer those it cannot tell of."""
    unknown: set[str] = set()
    for handoff in ledger.unfollowed(view.turn_id):
        turn_id, thread_id = handoff.turn_id or "", handoff.thread_id or view.thread_id
        try:
            ended = await server.turn_result(thread_id, turn_id)
        except CallFailed:
            ended = None
        if ended is not None:
            ledger.ended(ended)
        elif turn_id != view.turn_id:
            unknown.add(turn_id)
    return unknown
