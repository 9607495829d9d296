"""Reading messages: one, its thread, an inbox, the history."""

from collections.abc import Iterable
from typing import Any

from trio_relay.core.access import Scope
from trio_relay.core.ladder import FINAL
from trio_relay.core.model import Rung
from trio_relay.core.wire import Cursor, InboxMessage, Message
from trio_relay.errors import FieldError, Invalid, NotFound
from trio_relay.relay.operations.tx import Row, Tx, fresh, message_fields, message_of
from trio_relay.store.queries import queries, select


def message_row(tx: Tx, message_id: int) -> Row:
    """The message's row.

    Raises:
        NotFound: there is no such message (code ``unknown_message``).

    """
    row: Row | None = queries.get_message(tx.connection, id=message_id)
    if row is None:
        raise NotFound(f"there is no message {message_id}", code="unknown_message")
    return row


def readable_row(tx: Tx, message_id: int) -> Row:
    """The message's row, for a caller who may see it: a token that may not observe sees its own agent's only.

    Raises:
        NotFound: there is no such message, or none the caller may know of (code ``unknown_message``).

    """
    row = message_row(tx, message_id)
    own = tx.principal.agent_id
    if tx.principal.allows(Scope.OBSERVE) or own is None or own == row["sender"]:
        return row
    if queries.get_inbox(tx.connection, agent_id=own, message_id=message_id) is None:
        raise NotFound(f"there is no message {message_id}", code="unknown_message")
    return row


def get_message(tx: Tx, message_id: int) -> Message:
    """One message."""
    return message_of(readable_row(tx, message_id))


def thread(tx: Tx, message_id: int) -> list[Message]:
    """The whole reply chain a message belongs to, oldest first."""
    row = readable_row(tx, message_id)
    return [message_of(each) for each in queries.thread_messages(tx.connection, thread_id=row["thread_id"])]


@fresh
def cursor(tx: Tx) -> Cursor:
    """Where the room stands: the newest message id and arrival number. Nothing that commits later has lower ones."""
    row: Row = queries.latest_numbers(tx.connection)
    return Cursor(latest_id=row["message_id"], latest_seq=row["inbox_seq"])


@fresh
def inbox(
    tx: Tx,
    agent_id: str,
    *,
    unread: bool,
    since_id: int | None,
    after_seq: int | None,
    state: Rung | None,
    limit: int,
) -> list[InboxMessage]:
    """What stands in an agent's inbox, in order of arrival (with `since_id`: in order of message ids)."""
    common: dict[str, Any] = {"agent_id": agent_id, "limit": limit}
    if state is not None:
        rows = queries.inbox_in_state(tx.connection, **common, state=state, after_seq=after_seq or 0)
    elif since_id is not None:
        rows = (
            queries.inbox_unread_since_id(tx.connection, **common, since_id=since_id, now=tx.now)
            if unread
            else queries.inbox_since_id(tx.connection, **common, since_id=since_id)
        )
    else:
        rows = (
            queries.inbox_unread_after_seq(tx.connection, **common, after_seq=after_seq or 0, now=tx.now)
            if unread
            else queries.inbox_after_seq(tx.connection, **common, after_seq=after_seq or 0)
        )
    return [delivery_of(row) for row in rows]


def pointless(tx: Tx, agent_id: str, message_ids: Iterable[int]) -> list[InboxMessage]:
    """Which of these deliveries, as their recipient's program has them in hand, it need not make any more.

    Those that have ended, and those whose message was withdrawn or has expired before the model had it.
    """
    rows = [
        queries.inbox_entry(tx.connection, agent_id=agent_id, message_id=number) for number in message_ids
    ]
    return [delivery_of(row) for row in rows if row is not None and _is_pointless(tx, row)]


def _is_pointless(tx: Tx, row: Row) -> bool:
    state = Rung(row["state"])
    if state not in (Rung.QUEUED, Rung.HANDED_OFF):
        return state in FINAL
    expired = row["expires_at"] is not None and row["expires_at"] <= tx.now
    return expired or row["withdrawn"] is not None


def delivery_of(row: Row) -> InboxMessage:
    """One delivery as its recipient sees it."""
    return InboxMessage(
        **message_fields(row),
        inbox_seq=row["seq"],
        state=Rung(row["state"]),
        attempts=row["attempts"],
        read_at=row["read_at"],
    )


#: Beyond every message id: where a newest-first page begins.
NEWEST = 2**63 - 1


def search(tx: Tx, words: str, *, limit: int, before: int | None) -> list[Message]:
    """Messages whose subject or body holds every word of `words`, newest first.

    Raises:
        Invalid: there is no word to look for.

    """
    if not words.replace('"', " ").replace("\0", " ").split():
        raise Invalid(
            "there is nothing to search for", fields=(FieldError("q", "expected at least one word"),)
        )
    rows = queries.search_messages(tx.connection, words=words, before=before or NEWEST, limit=limit)
    return [message_of(row) for row in rows]


def dead_letters(tx: Tx, *, limit: int, before: int | None) -> list[Message]:
    """Messages that ended as dead for somebody, newest first."""
    return [
        message_of(row) for row in queries.dead_messages(tx.connection, before=before or NEWEST, limit=limit)
    ]


def browse(
    tx: Tx,
    *,
    sender: str | None,
    to: str | None,
    channel: str | None,
    thread_id: int | None,
    limit: int,
    before: int | None,
) -> list[Message]:
    """History, newest first; `before` is the id to go on from."""
    given = {
        "sender = :sender": ("sender", sender),
        "target = :target": ("target", to),
        "channel = :channel": ("channel", channel),
        "thread_id = :thread_id": ("thread_id", thread_id),
        "id < :before": ("before", before),
    }
    conditions = [condition for condition, (_, value) in given.items() if value is not None] or ["TRUE"]
    parameters = {name: value for name, value in given.values() if value is not None}
    # The conditions are the literals above; every value is a bound parameter.
    statement = (
        f"SELECT * FROM messages_with_claim WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT :limit"  # noqa: S608
    )
    return [message_of(row) for row in select(tx.connection, statement, **parameters, limit=limit)]
