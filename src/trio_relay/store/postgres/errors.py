"""Which errors of PostgreSQL are weather, and what of them is said to whom.

Every error text here is one of ours: what the server says may hold values of a row, what the driver says may hold
parts of the URL.
"""

import psycopg

#: What a writer hears from a standby, and anybody who tries to write where only reading is allowed.
READ_ONLY = "25006"
LOST = "the connection to the database was lost"
#: By the first characters of the SQLSTATE: the transaction did not happen and may be tried again at once.
_AGAIN = ("40001", "40P01")
#: The server or the way to it fails now; what to say.
_WEATHER = {
    "08": LOST,
    READ_ONLY: "the database takes no changes now: it is a standby or read-only",
    "53": "the database is out of disk, memory or connections",
    "55P03": "the database is busy: somebody else holds what is needed for too long",
    "57014": "the database took too long",
    "57P": "the database is shutting down or starting",
    "25P03": "the transaction took too long",
    "25P04": "the transaction took too long",
    "58": "the database fails: an input or output error",
    "XX001": "the database is corrupted",
    "XX002": "the database is corrupted",
}
#: What is wrong with the URL or the server's settings, and will not pass by itself.
_REFUSED = {
    "28": "it does not accept this user or password",
    "3D000": "there is no such database",
    "42501": "this user lacks a right there",
}


def is_again(error: psycopg.Error) -> bool:
    """Whether two transactions got in each other's way and one had to go."""
    return error.sqlstate in _AGAIN


def weather(error: psycopg.Error) -> str | None:
    """What to say of an error that is nobody's fault here, or None: it is a bug."""
    if error.sqlstate is None:
        # The driver's own: the server went away in the middle, or cannot be reached.
        lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        return LOST if lost else None
    if is_again(error):
        return "the database is busy: too many change the same at once"
    return _found(_WEATHER, error.sqlstate)


def why_not_connected(error: psycopg.Error) -> str:
    """Why there is no connection, in words that hold no secret."""
    if error.sqlstate is not None:
        known = _found(_REFUSED, error.sqlstate) or _found(_WEATHER, error.sqlstate)
        return known or f"it refuses (SQLSTATE {error.sqlstate})"
    text = str(error)
    for sign, said in _SIGNS.items():
        if sign in text:
            return said
    return "it cannot be reached"


#: While connecting, libpq does not pass on the SQLSTATE; the server's words, as long as they are in English.
_SIGNS = {
    "password authentication failed": _REFUSED["28"],
    "no password supplied": "it wants a password",
    "no pg_hba.conf entry": "it does not let this user in from here",
    "Connection refused": "nothing listens there",
    "timeout expired": "it does not answer",
    "could not translate host name": "its host name is unknown",
    "failed to resolve host": "its host name is unknown",
    "too many clients": _WEATHER["53"],
    "remaining connection slots": _WEATHER["53"],
    "starting up": _WEATHER["57P"],
    "shutting down": _WEATHER["57P"],
    "in recovery mode": _WEATHER["57P"],
    "does not support SSL": "it does not speak TLS, which the URL asks for",
    "does not exist": "there is no such database or user",
    "No such file or directory": "nothing listens there",
}


def _found(table: dict[str, str], sqlstate: str) -> str | None:
    return next((said for prefix, said in table.items() if sqlstate.startswith(prefix)), None)
