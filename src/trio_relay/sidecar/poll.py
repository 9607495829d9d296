"""Reading the inbox: everything unread at the start, then a long poll for what arrives, and for what is withdrawn."""

from functools import partial

import structlog
import trio

from trio_relay.core.model import Rung
from trio_relay.sidecar.ledger import Ledger
from trio_relay.sidecar.session import PAGE, Session
from trio_relay.sidecar.state_file import StateFile
from trio_relay.sidecar.status import Situation

log = structlog.get_logger(__name__)

#: Seconds the relay may hold a poll open.
WAIT = 25.0


async def read_inbox(session: Session, ledger: Ledger, book: StateFile) -> int:
    """Take up everything that is open, also what a predecessor had in its hands; the cursor to poll from.

    The cursor starts at nothing, not at the newest message, so what arrived while the sidecar was down is there.
    Unread messages are read before those in context, so that one that climbs in between is seen in either.
    """
    unread = await session.everything()
    proven = await session.everything(Rung.IN_CONTEXT) + await session.everything(Rung.ANSWERED)
    ledger.load(unread, proven, book.state.in_flight, trio.current_time())
    return max((message.inbox_seq for message in unread), default=0)


async def poll_inbox(
    session: Session,
    ledger: Ledger,
    situation: Situation,
    book: StateFile,
    interval: float,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Task: take in what arrives; started once the inbox was read for the first time.

    A relay that answers an empty inbox at once does not hold polls open (or is stopping): then `interval` seconds
    pass between two.
    """
    cursor = await read_inbox(session, ledger, book)
    situation.polled()
    task_status.started()
    while True:
        asked_at = trio.current_time()
        arrived = await session.insist(
            partial(
                session.relay.inbox,
                session.agent_id,
                unread=True,
                after_seq=cursor,
                wait=WAIT,
                limit=PAGE,
                watch=ledger.in_hand,
            )
        )
        for message in arrived:
            # What has meanwhile been settled by us is told as well: the poll was sent before that.
            if message.inbox_seq <= cursor and ledger.withdrawn(message.id):
                log.info("withdrawn", message=message.id, state=message.state)
        if arrived:
            ledger.take_in([one for one in arrived if one.inbox_seq > cursor], trio.current_time())
            cursor = max(cursor, arrived[-1].inbox_seq)
            book.update(cursor=cursor)
        elif trio.current_time() - asked_at < WAIT / 2:
            await trio.sleep(interval)
