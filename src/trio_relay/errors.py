"""The errors of trio-relay: few, flat, and each says whose fault it is.

Every error carries a stable snake_case ``code`` for programs, a ``detail`` sentence for people and, for bad
input, the fields at fault. The HTTP status of each class stands in one table (``relay/web/problems.py``); the
client maps it back in one place (``client/problems.py``). No error text may carry a message body or a token.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """One bad field: where it is (``meta.delivery``) and what was expected there."""

    path: str
    message: str


class RelayError(Exception):
    """Base of everything trio-relay raises on purpose."""

    default_code = "relay_error"

    def __init__(self, detail: str, *, code: str | None = None, fields: tuple[FieldError, ...] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.default_code
        self.fields = fields


class Invalid(RelayError):  # noqa: N818  # named for the caller's mistake
    """The caller sent something that cannot be meant: a wrong type, a missing field, an impossible value."""

    default_code = "invalid"


class NotFound(RelayError):  # noqa: N818  # an answer, not a failure
    """What the caller names does not exist."""

    default_code = "not_found"


class Conflict(RelayError):  # noqa: N818  # an answer, not a failure
    """The request is well formed but contradicts the present state: a stale instance, a held lease."""

    default_code = "conflict"


class StaleInstance(Conflict):
    """A newer instance of this agent has registered; whoever hears this has been replaced and must stop."""

    default_code = "stale_instance"


class LeaseLost(Conflict):
    """The lease is no longer yours: it expired, was released, or the token is an old one."""

    default_code = "lease_lost"


class Refused(RelayError):  # noqa: N818  # an answer, not a failure
    """The relay understood and will not: no credential, a wrong one, or one without the right."""

    default_code = "refused"


class Unauthorized(Refused):
    """No credential, or one the relay does not know."""

    default_code = "unauthorized"


class RateLimited(RelayError):  # noqa: N818  # an answer, not a failure
    """Too many of these in a short time; after `retry_after` seconds one will be taken again."""

    default_code = "rate_limited"

    def __init__(self, detail: str, *, retry_after: float, code: str | None = None) -> None:
        super().__init__(detail, code=code)
        self.retry_after = retry_after


class ConnectionLost(RelayError):  # noqa: N818  # weather, not a mistake
    """The other side cannot be reached, went away, or did not answer in time: try again later."""

    default_code = "connection_lost"


class Unavailable(RelayError):  # noqa: N818  # weather, not a mistake
    """The relay is up but cannot do this now (its store is full, locked or closing): try again later."""

    default_code = "unavailable"


class StoreInUse(RelayError):  # noqa: N818  # the operator's mistake
    """Another relay process already owns this database file."""

    default_code = "store_in_use"


class NotDelivered(RelayError):  # noqa: N818  # an answer, not a failure
    """A message has ended without getting where its sender wanted it: expired, withdrawn, handed out in vain."""

    default_code = "not_delivered"
