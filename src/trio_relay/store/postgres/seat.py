"""One connection and what is done on it, in a worker thread: begin, run, commit, and what became of it.

A connection that fails is thrown away; the next attempt makes a new one.
"""

import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import outcome
import psycopg

from trio_relay.store.locks import NeedsToBeAlone
from trio_relay.store.postgres.connection import RelayConnection
from trio_relay.store.postgres.errors import LOST, READ_ONLY, weather, why_not_connected

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """The transaction has ended: committed with this result, or undone with this error of the operation's own."""

    result: outcome.Outcome[T]


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing was changed. Trying again may help."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotAlone:
    """Nothing was changed: the operation wants to be alone."""


@dataclass(frozen=True, slots=True)
class Unsure:
    """The connection was lost while it committed: only the server knows whether transaction `xid` gave `result`.

    `life` is that of the connection.
    """

    xid: str
    life: str | None
    result: outcome.Outcome[Any]
    reason: str


class Seat:
    """A place for one connection, which is made when it is needed."""

    def __init__(self, connect: Callable[[], RelayConnection]) -> None:
        self._connect = connect
        self._connection: RelayConnection | None = None
        # Our own descriptor of its socket: libpq closes its one, in the thread, and somebody else may get the number.
        self._socket: socket.socket | None = None

    def write(self, operation: Callable[[Any], T], alone: bool) -> Done[T] | Failed | NotAlone | Unsure:
        """Run `operation` in a transaction, and commit."""
        try:
            connection = self._connected()
        except psycopg.Error as error:
            return _unreachable(error)
        connection.alone = alone
        try:
            xid = begin(connection, alone)
            result = _captured(operation, connection)
            if isinstance(result, outcome.Error):
                connection.execute("ROLLBACK")
                return NotAlone() if isinstance(result.error, NeedsToBeAlone) else Done(result)
        except psycopg.Error as error:
            return self._failed(error)
        return self._commit(connection, xid, result)

    def read(self, operation: Callable[[Any], T], fresh: bool) -> Done[T] | Failed:
        """Run `operation` on one snapshot, or (`fresh`) statement by statement."""
        try:
            connection = self._connected()
        except psycopg.Error as error:
            return _unreachable(error)
        try:
            if fresh:
                return Done(_captured(operation, connection))
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            result = _captured(operation, connection)
            connection.execute("COMMIT")
        except psycopg.Error as error:
            return self._failed(error)
        return Done(result)

    def fate(self, unsure: Unsure) -> str | Failed | None:
        """What became of a transaction: ``committed``, ``aborted``, ``in progress``; None: too long ago to tell.

        ``doubtful``: one of this number has committed, but maybe another. A server that crashes gives numbers a second
        time whose transactions had left nothing on its disk, and one that takes its place has numbers of its own.
        """
        try:
            connection = self._connected()
            row = connection.execute("SELECT pg_xact_status(%s::xid8)", (unsure.xid,)).fetchone()
        except psycopg.Error as error:
            if (
                error.sqlstate == "22023"
            ):  # "in the future": the server crashed before it was written anywhere
                return "aborted"
            return self._failed(error)
        status: str | None = None if row is None else row[0]
        same = unsure.life is not None and connection.life == unsure.life
        return "doubtful" if status == "committed" and not same else status

    def close(self) -> None:
        """Give the connection up."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def cut(self) -> None:
        """From another thread: whatever waits for the server's answer has lost its connection."""
        cut = self._socket
        if cut is not None:
            with suppress(OSError):
                cut.shutdown(socket.SHUT_RDWR)

    def _connected(self) -> RelayConnection:
        if self._connection is None or self._connection.closed:
            self.close()
            self._connection = self._connect()
            self._socket = socket.socket(fileno=socket.dup(self._connection.pgconn.socket))
        return self._connection

    def _commit(
        self, connection: RelayConnection, xid: str, result: outcome.Outcome[T]
    ) -> Done[T] | Failed | Unsure:
        try:
            ended = connection.execute("COMMIT").statusmessage
        except psycopg.Error as error:
            if connection.closed:
                self.close()
                return Unsure(xid, connection.life, result, weather(error) or LOST)
            return self._failed(error)
        if ended != "COMMIT":  # the server undid it, and says so only here
            raise RuntimeError("an operation went on after a statement of its own had failed")
        return Done(result)

    def _failed(self, error: psycopg.Error) -> Failed:
        """Leave no transaction open; raise what is a bug of ours."""
        reason = weather(error)
        if self._connection is not None and not self._connection.closed:
            try:
                self._connection.execute("ROLLBACK")
            except psycopg.Error:
                self.close()
        if error.sqlstate == READ_ONLY:
            self.close()  # the next connection may find the server that does take changes
        if reason is None:
            raise error
        return Failed(f"the store cannot be used now: {reason}")


def _unreachable(error: psycopg.Error) -> Failed:
    return Failed(f"the store cannot be used now: {why_not_connected(error)}")


def _captured(operation: Callable[[Any], T], connection: RelayConnection) -> outcome.Outcome[T]:
    """What `operation` answers or raises; weather is raised at once."""
    result = outcome.capture(operation, connection)
    if isinstance(result, outcome.Error) and isinstance(result.error, psycopg.Error):
        # Writing where only reading is allowed is a bug on a reader, and a server that takes no changes on a writer.
        expected = connection.read_only_by_choice and result.error.sqlstate == READ_ONLY
        if weather(result.error) is not None and not expected:
            raise result.error
    return result


def begin(connection: RelayConnection, alone: bool) -> str:
    """Begin a transaction that changes the room; answer its number, by which its fate can be asked for."""
    word = "true" if alone else "false"
    try:
        cursor = connection.execute(
            f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT begin_change({word})".encode()
        )
    except psycopg.errors.FeatureNotSupported as error:  # what a standby says to READ WRITE
        raise psycopg.errors.ReadOnlySqlTransaction("a standby") from error
    cursor.nextset()
    row = cursor.fetchone()
    if row is None:
        raise RuntimeError("begin_change() answered nothing")
    xid: str = row[0]
    return xid
