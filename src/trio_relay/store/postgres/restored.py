"""A PostgreSQL that was put back from a dump, or to a point in time: made ready for clients that have seen more.

What is done and why: `trio_relay.store.backup.resume_elsewhere`.
"""

import psycopg
from psycopg import sql

from trio_relay.errors import RelayError
from trio_relay.store.backup import FORGET, STEP
from trio_relay.store.postgres import prepare
from trio_relay.store.postgres.connection import connect, name_of
from trio_relay.store.postgres.errors import weather
from trio_relay.store.postgres.state import NUMBERED, keep_relays_out


def resume_elsewhere(url: str) -> None:
    """Have every number of the room go on far beyond those it knows, and everybody register and look anew.

    Raises:
        Conflict: a relay works with the database (code ``in_use``).
        RelayError: it cannot be reached or refuses; nothing was changed.

    """
    name = name_of(url)
    prepare(url, name)
    try:
        with connect(url) as connection, connection.transaction():
            keep_relays_out(connection, name)
            for row in connection.execute(NUMBERED).fetchall():
                sequence = sql.SQL(row["sequence"])
                connection.execute(
                    sql.SQL("SELECT setval({}, last_value + %s) FROM {}").format(
                        sql.Literal(row["sequence"]), sequence
                    ),
                    (STEP,),
                )
            connection.execute("UPDATE event_log SET trimmed_to = (SELECT last_value FROM events_id_seq)")
            for statement in FORGET:
                connection.execute(statement.encode())
    except psycopg.Error as error:
        reason = weather(error) or f"the database refuses ({type(error).__name__})"
        raise RelayError(f"{name}: {reason}; nothing was changed", code="restored_failed") from error
