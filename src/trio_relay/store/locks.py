"""How an operation that runs beside others keeps out of their way, where a store lets several write at once.

SQLite has one writer, so an operation is always alone and nothing here does anything. On PostgreSQL an operation is
alone unless it was declared `concurrent` (``relay/operations/tx.py``). One that was takes locks on what it reads in
order to decide and on what it changes, in the order of `Kind`, all locks of one kind at once; they are given back at
the end of the transaction. Whoever comes to a rare case that was not thought through asks to be `alone`: the
transaction is rolled back and run again with nobody beside it.
"""

import enum
import hashlib
import sqlite3
from collections.abc import Iterable
from typing import Any


class Kind(enum.IntEnum):
    """What can be locked, in the order in which it must be; the number begins the key of the advisory lock."""

    #: A sender's idempotency key.
    IDEMPOTENCY_KEY = 0x5211
    #: What the loop breaker knows of a thread.
    THREAD = 0x5212
    #: A message's lease, and the task it carries.
    CLAIM = 0x5213
    #: One agent's inbox: its rows and the order in which they arrive.
    INBOX = 0x5214
    #: What an agent says of itself: whether that is something new decides whether anybody is told.
    AGENT = 0x5215


#: More locks than this in one transaction, and it had better be alone: PostgreSQL's lock table is bounded.
MAX_LOCKS = 64


class NeedsToBeAlone(Exception):  # noqa: N818  # a signal to the store, which nobody else sees
    """The transaction must be run again with nobody beside it."""


def alone(connection: Any) -> None:
    """From here on nothing else must be written meanwhile.

    Raises:
        NeedsToBeAlone: for the store, which runs the operation again. Whatever the operation has done is undone.

    """
    if not isinstance(connection, sqlite3.Connection) and not connection.alone:
        raise NeedsToBeAlone


def lock(connection: Any, kind: Kind, names: Iterable[tuple[str | int, ...]]) -> None:
    """Wait until nobody else holds any of these, and hold them to the end of the transaction."""
    if isinstance(connection, sqlite3.Connection) or connection.alone:
        return
    # Sorted by what is locked, not by name: so two can never wait for each other, whatever hashes to the same key.
    keys = sorted({key_of(kind, name) for name in names})
    if len(keys) > MAX_LOCKS:
        raise NeedsToBeAlone
    if keys:
        connection.execute("SELECT pg_advisory_xact_lock(key) FROM unnest(%s::bigint[]) AS key", (keys,))


def key_of(kind: Kind, name: tuple[str | int, ...]) -> int:
    """The key of an advisory lock. Two names may share one: then one waits for the other without need."""
    digest = hashlib.blake2b("\0".join(map(str, name)).encode(), digest_size=6).digest()
    return kind << 48 | int.from_bytes(digest)
