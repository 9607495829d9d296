"""What travels about credentials: tokens and tickets."""

from typing import Annotated

import msgspec

from trio_relay.core.access import Scope
from trio_relay.core.model import Authority
from trio_relay.core.wire import AgentId, Name, Wire

Scopes = Annotated[list[Scope], msgspec.Meta(min_length=1, max_length=10)]
TokenMs = Annotated[int, msgspec.Meta(ge=1_000, le=366 * 86_400_000)]


class TokenRequest(Wire, kw_only=True):
    """Body of ``POST /tokens``. Bound to `agentId`, a token cannot speak as another agent.

    `authority` human: what is sent with it is a person's word. Without `ttlMs` it lasts until revoked.
    """

    name: Name = "token"
    agent_id: AgentId | None = None
    scopes: Scopes
    authority: Authority = Authority.PEER
    ttl_ms: TokenMs | None = None


class TokenBinding(Wire, kw_only=True):
    """Body of ``POST /tokens/:id/bind``: from now on the token cannot speak as another agent."""

    agent_id: AgentId


class Token(Wire, kw_only=True):
    """A credential as it is listed: never the token itself."""

    id: int
    name: str
    agent_id: str | None
    scopes: list[Scope]
    authority: Authority
    created_at: int
    expires_at: int | None
    revoked_at: int | None


class MintedToken(Token, kw_only=True):
    """A credential as it is minted: `token` is shown this once."""

    token: str


class TicketRequest(Wire, kw_only=True):
    """Body of ``POST /tickets``: an invitation for one agent on another machine, good for one use within `ttlMs`."""

    agent_id: AgentId | None = None
    scopes: Scopes = msgspec.field(
        default_factory=lambda: [Scope.SEND, Scope.RECEIVE, Scope.CLAIM, Scope.OBSERVE]
    )
    ttl_ms: TokenMs = 3_600_000
    token_ttl_ms: TokenMs | None = None


class Ticket(Wire, kw_only=True):
    """Answer of ``POST /tickets``: `ticket` is shown this once."""

    ticket: str
    agent_id: str | None
    scopes: list[Scope]
    expires_at: int


class JoinRequest(Wire, kw_only=True):
    """Body of ``POST /join``: trade a ticket for a token. `agentId` binds it, unless the ticket already does."""

    ticket: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    agent_id: AgentId | None = None
    name: Name = "joined"


class Caller(Wire, kw_only=True):
    """Answer of ``GET /whoami``: what the relay takes the caller for. `agentId`: the agent its token is bound to."""

    name: str
    agent_id: str | None
    scopes: list[Scope]
    authority: Authority
