"""Credentials: what a caller may do, as whom, and whose word it speaks with.

The shared token (or an open loopback relay) may do everything and speak as anyone: that is what the reference
product's clients expect. A minted token has scopes, may be bound to one agent, expires and can be revoked. Authority
comes from here and never from a message's text: only a token minted for a person speaks as one.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from trio_relay.core.model import Authority
from trio_relay.errors import FieldError, Refused


class Scope(StrEnum):
    """What a token may be used for. ``admin`` includes the others."""

    SEND = "send"
    RECEIVE = "receive"
    CLAIM = "claim"
    OBSERVE = "observe"
    INTEGRATE = "integrate"
    ADMIN = "admin"


ALL_SCOPES = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling. `agent_id` is set for a token bound to that agent."""

    name: str
    scopes: frozenset[Scope] = field(default=ALL_SCOPES)
    agent_id: str | None = None
    authority: Authority = Authority.PEER

    def allows(self, scope: Scope) -> bool:
        """Whether this caller may do things of this scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def check_scope(self, *any_of: Scope) -> None:
        """Refuse a caller that has none of the scopes.

        Raises:
            Refused: code ``scope_missing``.

        """
        if any_of and not any(self.allows(scope) for scope in any_of):
            raise Refused(f"this token lacks the scope {' or '.join(any_of)}", code="scope_missing")

    def check_actor(self, agent_id: str | None, path: str) -> None:
        """Refuse a bound caller that names another agent than its own.

        Raises:
            Refused: code ``not_your_agent``.

        """
        if self.agent_id is not None and agent_id != self.agent_id and Scope.ADMIN not in self.scopes:
            raise Refused(
                f"this token is bound to {self.agent_id!r}",
                code="not_your_agent",
                fields=(FieldError(path, f"expected {self.agent_id}"),),
            )


#: The relay's own tasks, and whoever holds the shared token: everything, as anyone, with a peer's word.
FULL = Principal("relay")
