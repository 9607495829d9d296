"""Finding out what became of hand-offs nobody can vouch for: read the thread before anything is said twice.

Codex does not recognise a client id it has seen before, so a text sent twice stands there twice. Therefore a doubtful
hand-off goes out again only when it is certain that it is not in the thread and that nothing is still on its way.
"""

import structlog
import trio

from trio_relay.codex.app_server import AppServer
from trio_relay.codex.protocol import CallFailed, ThreadView, TurnEnded, UserMessageSeen
from trio_relay.errors import ConnectionLost
from trio_relay.sidecar.handoff import HandOff
from trio_relay.sidecar.ledger import Ledger

log = structlog.get_logger(__name__)

#: Seconds a call that was on its way when its connection broke is given to take effect. Codex needs milliseconds.
GRACE = 1.0


async def resolve_doubts(server: AppServer, view: ThreadView, ledger: Ledger) -> None:
    """Settle every doubt that can be settled now.

    What stands in the thread is in context; if its turn is over, so is it. What does not stand there is lost if the
    turn that took it is over. If nobody knows which turn took it, a running one may still; it is doubtful again when
    that turn ends. With no turn running, a call still on its way is given a moment, then it is lost.
    """
    patience = 1
    while ledger.doubtful or ledger.unfollowed(view.turn_id):
        was_active = view.active
        await _read_threads(server, view, ledger)
        unknown = await _end_past_turns(server, view, ledger)
        _judge(view, ledger, active=was_active or view.active)
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


def _judge(view: ThreadView, ledger: Ledger, *, active: bool) -> None:
    """Decide about what was not found, as far as that is certain; `active`: a turn ran before or after the reading."""
    for handoff in ledger.doubtful:
        if _its_turn_is_over(handoff, view, ledger):
            _lost(handoff, ledger)
        elif active:
            ledger.wait_for_turn(handoff, view.turn_id, trio.current_time())


def _its_turn_is_over(handoff: HandOff, view: ThreadView, ledger: Ledger) -> bool:
    """Say whether the turn that took a text has ended: seen to end, or another one runs."""
    if handoff.turn_id is None or handoff.turn_id == view.turn_id:
        return False
    return ledger.has_ended(handoff.turn_id) or view.turn_id is not None


def _lost(handoff: HandOff, ledger: Ledger) -> None:
    log.warning("hand-off lost", messages=sorted(handoff.message_ids), turn=handoff.turn_id)
    ledger.lost(handoff, trio.current_time())


async def _read_threads(server: AppServer, view: ThreadView, ledger: Ledger) -> None:
    """Read our thread, and any other a predecessor delivered into."""
    others = {handoff.thread_id for handoff in ledger.doubtful} - {None, view.thread_id}
    for thread_id in (view.thread_id, *sorted(filter(None, others))):
        for seen in await _user_messages(server, thread_id, ours=view.thread_id):
            ledger.saw(seen.client_id, seen.turn_id, seen.item_id, thread_id)


async def _user_messages(server: AppServer, thread_id: str, *, ours: str) -> list[UserMessageSeen]:
    try:
        return await server.user_messages(thread_id)
    except CallFailed as error:
        if thread_id == ours:
            raise ConnectionLost(f"the thread cannot be read: {error.message}") from error
        log.warning("an earlier thread cannot be read", thread=thread_id, reason=error.message)
        return []


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
