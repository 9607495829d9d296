"""A connection to PostgreSQL as the store wants it: rows like SQLite's, every text, bounded waits.

Text: PostgreSQL cannot hold the character NUL, which JSON and so a message may contain. It is written as two
characters that begin with `_ESCAPE` (a code point that Unicode keeps out of text), and read back.

Waits are bounded on both sides, so that a machine that is cut off or frozen cannot hold a lock for ever: the server
ends a transaction in which nothing happens, and either side notices a connection that is dead.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import psycopg
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import AdaptersMap, Dumper, Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.numeric import Int8Dumper

from trio_relay.errors import RelayError

#: The oldest PostgreSQL that has all we use.
OLDEST = 14
#: Seconds until a server that does not answer counts as away, unless the URL says otherwise.
CONNECT_TIMEOUT = 3
_TEXT_OID = 25
_ESCAPE = "\ufdd0"
_SESSION = """
SET statement_timeout = '30s';
SET lock_timeout = '8s';
SET idle_in_transaction_session_timeout = '5s';
SET tcp_keepalives_idle = '10s';
SET tcp_keepalives_interval = '5s';
SET tcp_keepalives_count = 3;
SET tcp_user_timeout = '25s';
SET client_connection_check_interval = '5s';
SET jit = off;
SET default_transaction_isolation = 'read committed';
"""
#: An answer is given when the change is on the disk, also where the server's default is less.
_DURABLE = (
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)
#: Changes when the server has crashed, or another has taken its place; a restart in order leaves it.
_LIFE = "SELECT stats_reset::text FROM pg_stat_bgwriter"
#: What the URL need not say. Times in seconds, the last one in ms.
_DEFAULTS = {
    "application_name": "trio-relay",
    "connect_timeout": CONNECT_TIMEOUT,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}


class Row:
    """One row: by name, by number, or taken apart in order, as SQLite's."""

    __slots__ = ("_index", "_values")

    def __init__(self, index: dict[str, int], values: Sequence[Any]) -> None:
        self._index = index
        self._values = values

    def __getitem__(self, key: str | int) -> Any:
        return self._values[self._index[key] if isinstance(key, str) else key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def keys(self) -> list[str]:
        """The names of the columns."""
        return list(self._index)


class RelayConnection(psycopg.Connection[Row]):
    """A connection that knows whether its present transaction is alone, and whether it may write at all."""

    alone = False
    #: Between two connections of the same life the server has not forgotten a transaction; None: it does not say.
    life: str | None = None
    read_only_by_choice = False


def connect(url: str, *, readonly: bool = False) -> RelayConnection:
    """Connect. Blocks for `CONNECT_TIMEOUT` seconds an address, at most.

    Raises:
        psycopg.Error: no server there, or it refuses.

    """
    settings: dict[str, Any] = {**_DEFAULTS, **conninfo_to_dict(url)}
    connection = RelayConnection.connect(
        make_conninfo(**settings),
        autocommit=True,
        context=_ADAPTERS_CONTEXT,
        row_factory=_rows,
        client_encoding="utf8",
    )
    try:
        connection.prepared_max = 1000  # every statement we have, in a few shapes
        connection.execute(_SESSION.encode())
        connection.execute(_DURABLE)
        row = connection.execute(_LIFE).fetchone()
        connection.life = None if row is None else row[0]
        if readonly:
            connection.execute("SET default_transaction_read_only = on")
            connection.read_only_by_choice = True
    except BaseException:
        connection.close()
        raise
    return connection


def name_of(url: str) -> str:
    """The database as people may see it: without password or options.

    Raises:
        RelayError: the URL cannot be understood (code ``bad_database_url``).

    """
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:
        _cannot_be_understood()
    user = f"{parts['user']}@" if "user" in parts else ""
    port = f":{parts['port']}" if "port" in parts else ""
    if "port" in parts and not all(each.isdigit() for each in str(parts["port"]).split(",")):
        _cannot_be_understood()
    return f"postgresql://{user}{parts.get('host', '')}{port}/{parts.get('dbname', '')}"


def _cannot_be_understood() -> NoReturn:
    # Nothing of it is repeated here: it may hold a password.
    raise RelayError(
        "the database URL cannot be understood: expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE "
        "(in the password, write / ? # % : @ as %2F %3F %23 %25 %3A %40)",
        code="bad_database_url",
    ) from None


def _rows(cursor: psycopg.Cursor[Any]) -> Any:
    result = cursor.pgresult
    if result is None or not result.nfields:
        return lambda values: Row({}, values)
    index: dict[str, int] = {}
    for number in range(result.nfields):
        index.setdefault((result.fname(number) or b"").decode(), number)
    return lambda values: Row(index, values)


class _TextDumper(Dumper):
    oid = _TEXT_OID

    def dump(self, obj: str) -> Buffer:
        if "\0" in obj or _ESCAPE in obj:
            obj = obj.replace(_ESCAPE, f"{_ESCAPE}1").replace("\0", f"{_ESCAPE}0")
        return obj.encode()


class _TextLoader(Loader):
    def load(self, data: Buffer) -> str:
        text = bytes(data).decode()
        if _ESCAPE in text:
            text = text.replace(f"{_ESCAPE}0", "\0").replace(f"{_ESCAPE}1", _ESCAPE)
        return text


class _Context:
    """Where psycopg looks up how values travel."""

    adapters: AdaptersMap
    connection: None = None

    def __init__(self) -> None:
        self.adapters = AdaptersMap(psycopg.adapters)
        self.adapters.register_dumper(str, _TextDumper)
        self.adapters.register_loader(_TEXT_OID, _TextLoader)
        # One type for every number, whatever its size: else each statement would be prepared in many shapes.
        self.adapters.register_dumper(int, Int8Dumper)


_ADAPTERS_CONTEXT: AdaptContext = _Context()
