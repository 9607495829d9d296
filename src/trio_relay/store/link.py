"""A node's own connection to PostgreSQL: to hear the other nodes, to tell them, to see who is there, and to lead.

It is not one of the store's: a session that lasts as long as the node. The connection is in three hands, one at a time:
statements run in a thread, what other nodes tell is taken in by the event loop when the socket has something, and
whoever finds it lost shuts the socket, which ends a statement that waits for an answer.

The server ends the session after `SILENCE` without a statement of ours, so a node that hangs, with its system still
acknowledging packets, does not lead for ever.
"""

import math
import socket
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
import trio

from trio_relay.errors import Unavailable
from trio_relay.store.interface import APPLICATION
from trio_relay.store.postgres.errors import LOST, weather, why_not_connected

T = TypeVar("T")

CHANNEL = "trio_relay"
#: Seconds a statement may take before the connection counts as lost.
PATIENCE = 5.0
#: Seconds without a statement after which the server ends the session.
SILENCE = 10.0
#: Keys of the advisory lock that the leading node holds: "room", 1.
_LEADER = "1919905645, 1"
#: The server's wait for a dead peer, and ours: milliseconds, then seconds.
_CONNECTION: dict[str, Any] = {
    "connect_timeout": "5",
    "tcp_user_timeout": "5000",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
}
#: What happens to a connection; any other error of a statement is a bug of ours.
_WEATHER = (psycopg.OperationalError, psycopg.InterfaceError)
_LOOK = f"""
SELECT CASE WHEN %(leading)s THEN true ELSE pg_try_advisory_lock({_LEADER}) END,
       array(SELECT DISTINCT application_name FROM pg_stat_activity
             WHERE datname = current_database() AND starts_with(application_name, %(application)s)),
       (extract(epoch FROM clock_timestamp()) * 1000)::bigint
"""  # noqa: S608  # two constants


@dataclass(frozen=True, slots=True)
class Sight:
    """What a node sees: whether it leads, which nodes have a session, and the server's clock (Unix ms)."""

    leading: bool
    present: frozenset[str]
    clock: int


class Link:
    """An open connection. Use `open_link`. Every method raises `Unavailable` once the connection is lost."""

    def __init__(self, connection: psycopg.Connection[Any], on_heard: Callable[[str], None]) -> None:
        self._connection = connection
        self._on_heard = on_heard
        self._heard: deque[str] = deque()
        self._leading = False
        self._lost = False
        self._turn = trio.Lock()
        self._threads = trio.CapacityLimiter(1)
        self._in_use = threading.Lock()
        # Our own descriptor of its socket: libpq closes its one, in the thread, as soon as it finds the connection lost,
        # and somebody else may get the number while we still wait for it.
        self._socket = socket.socket(fileno=socket.dup(connection.pgconn.socket))
        connection.add_notify_handler(lambda notification: self._heard.append(notification.payload))

    async def listen(self) -> None:
        """Task: pass on what other nodes tell, until the connection is lost."""
        while True:
            self._check()
            await trio.lowlevel.wait_readable(self._socket)
            async with self._turn:
                self._check()
                try:
                    self._connection.pgconn.consume_input()
                    while (notification := self._connection.pgconn.notifies()) is not None:
                        self._heard.append(notification.extra.decode())
                except _WEATHER as error:
                    raise self._give_up(error) from error
            self._pass_on()

    async def tell(self, payloads: list[str]) -> None:
        """Tell every node that listens, ourselves included. A payload has less than 8000 bytes."""
        await self._call(_tell, payloads)

    async def look(self) -> Sight:
        """See who is there; lead if nobody does."""
        sight = await self._call(_look, self._leading)
        self._leading = sight.leading
        return sight

    async def _call(self, statement: Callable[..., T], *args: Any) -> T:
        async with self._turn:
            self._check()
            try:
                with trio.fail_after(PATIENCE):
                    result: T = await trio.to_thread.run_sync(
                        self._run, statement, args, abandon_on_cancel=True, limiter=self._threads
                    )
            except (*_WEATHER, trio.TooSlowError) as error:
                raise self._give_up(error) from error
            except trio.Cancelled:
                self._shut()
                raise
        self._pass_on()
        return result

    def _run(self, statement: Callable[..., T], args: tuple[Any, ...]) -> T:
        with self._in_use:
            return statement(self._connection, *args)

    def _pass_on(self) -> None:
        while self._heard:
            self._on_heard(self._heard.popleft())

    def _check(self) -> None:
        if self._lost:
            raise Unavailable(LOST)

    def _give_up(self, error: Exception) -> Unavailable:
        self._shut()
        said = weather(error) if isinstance(error, psycopg.Error) else "the database does not answer"
        return Unavailable(said or LOST)

    def _shut(self) -> None:
        """End whatever waits for the socket."""
        if not self._lost:
            self._lost = True
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close, when nobody listens any more. A statement under way ends at once, for its socket is shut."""
        self._shut()
        self._socket.close()
        with self._in_use:
            self._connection.close()


@asynccontextmanager
async def open_link(url: str, name: str, on_heard: Callable[[str], None]) -> AsyncIterator[Link]:
    """Connect as the node `name` and listen; `on_heard` is called in the event loop with every payload.

    Raises:
        Unavailable: the server cannot be reached, or takes no more connections.

    """
    try:
        connection = await trio.to_thread.run_sync(_connect, url, name, limiter=trio.CapacityLimiter(1))
    except _WEATHER as error:
        raise Unavailable(f"no connection to the database: {why_not_connected(error)}") from None
    link = Link(connection, on_heard)
    try:
        yield link
    finally:
        link.close()


def _connect(url: str, name: str) -> psycopg.Connection[Any]:
    connection: psycopg.Connection[Any] = psycopg.connect(
        url, autocommit=True, **(_CONNECTION | {"application_name": APPLICATION + name})
    )
    try:
        connection.execute(f"SET idle_session_timeout = {math.ceil(SILENCE * 1000)}".encode())
        connection.execute(f"LISTEN {CHANNEL}".encode())
    except BaseException:
        connection.close()
        raise
    return connection


def _tell(connection: psycopg.Connection[Any], payloads: list[str]) -> None:
    connection.execute(
        f"SELECT pg_notify('{CHANNEL}', payload) FROM unnest(%s::text[]) AS payload".encode(),  # noqa: S608  # a constant
        (payloads,),
    )


def _look(connection: psycopg.Connection[Any], leading: bool) -> Sight:  # called through `_call`
    row = connection.execute(_LOOK.encode(), {"leading": leading, "application": APPLICATION}).fetchone()
    assert row is not None
    leads, applications, clock = row
    return Sight(leads, frozenset(each.removeprefix(APPLICATION) for each in applications), clock)
