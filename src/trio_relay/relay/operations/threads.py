"""The loop breaker at work: threads that are parked, what is held in them, and how a person lets them go on."""

from trio_relay.core.loops import verdict
from trio_relay.core.wire_rooms import ParkedThread
from trio_relay.errors import Conflict, NotFound
from trio_relay.relay.operations.notices import notify
from trio_relay.relay.operations.tx import Row, Tx
from trio_relay.store.queries import queries


def why_parked(tx: Tx, thread_id: int, hop: int, path: list[str]) -> str | None:
    """Why a program's message must wait in its thread, or None. Parks the thread at the first sign of a loop."""
    thread: Row | None = queries.get_thread(tx.connection, id=thread_id)
    if thread is not None and thread["parked_at"] is not None:
        reason: str = thread["reason"]
        return reason
    base = thread["hop_base"] if thread is not None else 0
    since = max(tx.now - 60_000, (thread["resumed_at"] or 0) if thread is not None else 0)
    limits = tx.policy.loops
    (recent,) = queries.recent_in_thread(tx.connection, thread_id=thread_id, since=since, limit=limits.rate)
    found = verdict(limits, hop=max(0, hop - base), path=path, in_last_minute=recent)
    if found is not None:
        _park(tx, thread_id, found)
    return found


def parked(tx: Tx, limit: int) -> list[ParkedThread]:
    """Threads that wait for a person, longest first."""
    return [_shown(tx, row) for row in queries.parked_threads(tx.connection, limit=limit)]


def take_held(tx: Tx, thread_id: int) -> tuple[ParkedThread, list[int]]:
    """Let a thread go on; answer it as it was and the held messages, which the caller delivers now.

    Raises:
        NotFound: there is no such thread (``unknown_thread``).
        Conflict: it is not parked (``not_parked``).

    """
    thread: Row | None = queries.get_thread(tx.connection, id=thread_id)
    if thread is None or thread["parked_at"] is None:
        if queries.get_message(tx.connection, id=thread_id) is None:
            raise NotFound(f"there is no thread {thread_id}", code="unknown_thread")
        raise Conflict(f"thread {thread_id} is not parked", code="not_parked")
    shown = _shown(tx, thread)
    (hop_base,) = queries.deepest_hop(tx.connection, thread_id=thread_id)
    queries.resume_thread(tx.connection, id=thread_id, hop_base=hop_base, now=tx.now)
    for message_id in shown.held:
        queries.let_go(tx.connection, message_id=message_id)
    tx.event("thread.resumed", threadId=thread_id)
    return shown, shown.held


def _park(tx: Tx, thread_id: int, reason: str) -> None:
    queries.park_thread(tx.connection, id=thread_id, reason=reason, now=tx.now)
    tx.event("thread.parked", threadId=thread_id, reason=reason)
    for row in list(queries.participants(tx.connection, thread_id=thread_id)):
        notify(
            tx,
            row["sender"],
            "thread.parked",
            f"Thread {thread_id} is parked until a person lets it go on: {reason}. Further messages in it are kept.",
            meta={"threadId": thread_id},
        )


def _shown(tx: Tx, row: Row) -> ParkedThread:
    return ParkedThread(
        thread_id=row["id"],
        parked_at=row["parked_at"],
        reason=row["reason"],
        participants=[each["sender"] for each in queries.participants(tx.connection, thread_id=row["id"])],
        held=[each["message_id"] for each in queries.held_in_thread(tx.connection, thread_id=row["id"])],
    )
