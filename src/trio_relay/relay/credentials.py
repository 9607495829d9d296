"""From the token in a request to the principal behind it.

Answers are remembered for a moment, so that a busy client does not cost a look-up a request; revoking clears them
here at once, and on another node of the same database after that moment.
"""

import hmac
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

from trio_relay.core.access import FULL, Principal
from trio_relay.errors import Unauthorized

#: Whose request is being served in this task; the relay's own tasks may do everything.
caller: ContextVar[Principal] = ContextVar("caller", default=FULL)
REMEMBERED = 2_000
MAX_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class _Known:
    principal: Principal
    until: int


class Credentials:
    """The tokens this relay knows: the shared one, and those it has minted."""

    def __init__(self, shared: str | None, now: Callable[[], int]) -> None:
        self._shared = shared
        self._now = now
        self._known: dict[str, _Known] = {}

    @property
    def is_open(self) -> bool:
        """Whether a request without any token is served."""
        return self._shared is None

    def recall(self, secret: str | None) -> Principal | None:
        """The principal, if it can be told without a look-up.

        Raises:
            Unauthorized: no token was given and one is needed (``token_required``).

        """
        if secret is None:
            if self._shared is None:
                return FULL
            raise Unauthorized("this relay needs a token (Authorization: Bearer …)", code="token_required")
        if self._shared is not None and hmac.compare_digest(secret.encode(), self._shared.encode()):
            return FULL
        known = self._known.get(secret)
        return known.principal if known is not None and known.until > self._now() else None

    def learn(self, secret: str, found: tuple[Principal, int | None] | None) -> Principal:
        """Take in the answer of a look-up.

        Raises:
            Unauthorized: the token does not count (``bad_token``).

        """
        if found is None:
            self._known.pop(secret, None)
            raise Unauthorized("this token is unknown, revoked or expired", code="bad_token")
        principal, expires_at = found
        until = self._now() + REMEMBERED
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known[secret] = _Known(principal, until if expires_at is None else min(until, expires_at))
        return principal

    def forget(self) -> None:
        """Look everything up again: a token was revoked."""
        self._known.clear()
