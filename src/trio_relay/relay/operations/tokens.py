"""Credentials: minted once, kept as hashes, expiring, revocable; tickets that become one, a single time."""

import hashlib
from typing import Any

from trio_relay.core.access import Principal, Scope
from trio_relay.core.model import Authority
from trio_relay.core.targets import check_agent_id
from trio_relay.core.wire_access import JoinRequest, MintedToken, Ticket, TicketRequest, Token, TokenRequest
from trio_relay.errors import Conflict, NotFound, Refused
from trio_relay.relay.operations.tx import Row, Tx, dump, fresh, from_json
from trio_relay.store.queries import queries

#: What every minted token begins with, so that people and secret scanners know one when they see it.
TOKEN_PREFIX = "trt_"  # noqa: S105  # a prefix, no secret
TICKET_PREFIX = "trj_"
#: How long ended credentials stay listed, ms.
KEPT = 30 * 86_400_000


def digest(secret: str) -> str:
    """What is kept of a token. It is random and long, so a plain hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


def mint(tx: Tx, request: TokenRequest) -> MintedToken:
    """Mint a token. Nobody mints more than they have.

    Raises:
        Refused: a scope or an authority the caller lacks (``scope_missing``).

    """
    tx.principal.check_scope(Scope.ADMIN)
    return _mint(
        tx,
        name=request.name,
        agent_id=request.agent_id,
        scopes=request.scopes,
        authority=request.authority,
        ttl=request.ttl_ms,
    )


def list_tokens(tx: Tx) -> list[Token]:
    """Every credential, newest first."""
    return [_token(row) for row in queries.list_tokens(tx.connection)]


def bind(tx: Tx, token_id: int, agent_id: str) -> Token:
    """Bind a token to an agent: the session it was minted for has learnt who it is. Doing it again changes nothing.

    Raises:
        NotFound: there is no such token (``unknown_token``).
        Conflict: it is bound to another agent (``token_bound``).

    """
    check_agent_id(agent_id)
    queries.bind_token(tx.connection, id=token_id, agent_id=agent_id)
    row = _row(tx, token_id)
    if row["agent_id"] != agent_id:
        raise Conflict(f"token {token_id} is bound to another agent", code="token_bound")
    return _token(row)


def revoke(tx: Tx, token_id: int) -> Token:
    """End a credential now; revoking it again changes nothing.

    Raises:
        NotFound: there is no such token (``unknown_token``).

    """
    queries.revoke_token(tx.connection, id=token_id, now=tx.now)
    row = _row(tx, token_id)
    tx.event("token.revoked", tokenId=token_id)
    return _token(row)


def invite(tx: Tx, request: TicketRequest) -> Ticket:
    """Make a ticket for one agent on another machine."""
    if request.agent_id is not None:
        check_agent_id(request.agent_id)
    ticket = TICKET_PREFIX + tx.new_token()
    expires_at = tx.now + request.ttl_ms
    queries.insert_ticket(
        tx.connection,
        hash=digest(ticket),
        agent_id=request.agent_id,
        scopes=dump(request.scopes),
        token_ttl=request.token_ttl_ms,
        now=tx.now,
        expires_at=expires_at,
    )
    return Ticket(ticket=ticket, agent_id=request.agent_id, scopes=request.scopes, expires_at=expires_at)


def join(tx: Tx, request: JoinRequest) -> MintedToken:
    """Trade a ticket for a token, once.

    Raises:
        Refused: unknown, used or expired (``bad_ticket``), or for another agent (``not_your_agent``).

    """
    hashed = digest(request.ticket)
    if not queries.use_ticket(tx.connection, hash=hashed, now=tx.now):
        raise Refused("this ticket is unknown, used or expired", code="bad_ticket")
    row: Row = queries.get_ticket(tx.connection, hash=hashed)
    if row["agent_id"] is not None and request.agent_id not in (None, row["agent_id"]):
        raise Refused("this ticket is for another agent", code="not_your_agent")
    return _mint(
        tx,
        name=request.name,
        agent_id=row["agent_id"] or request.agent_id,
        scopes=[Scope(scope) for scope in from_json(row["scopes"])],
        authority=Authority.PEER,
        ttl=row["token_ttl"],
    )


@fresh
def principal_of(tx: Tx, secret: str) -> tuple[Principal, int | None] | None:
    """Who a token speaks for and until when it counts (Unix ms), or None if it does not count."""
    row: Row | None = queries.valid_token(tx.connection, hash=digest(secret), now=tx.now)
    if row is None:
        return None
    principal = Principal(
        name=f"token {row['id']}",
        scopes=frozenset(Scope(scope) for scope in from_json(row["scopes"])),
        agent_id=row["agent_id"],
        authority=Authority(row["authority"]),
    )
    return principal, row["expires_at"]


def drop_dead(tx: Tx) -> None:
    """Forget credentials and tickets that ended long ago."""
    queries.drop_dead_tokens(tx.connection, before=tx.now - KEPT)
    queries.drop_dead_tickets(tx.connection, before=tx.now)


def _mint(
    tx: Tx, *, name: str, agent_id: str | None, scopes: list[Scope], authority: Authority, ttl: int | None
) -> MintedToken:
    if agent_id is not None:
        check_agent_id(agent_id)
    secret = TOKEN_PREFIX + tx.new_token()
    token_id: int = queries.insert_token(
        tx.connection,
        hash=digest(secret),
        name=name,
        agent_id=agent_id,
        scopes=dump(sorted(set(scopes))),
        authority=authority,
        now=tx.now,
        expires_at=None if ttl is None else tx.now + ttl,
    )
    tx.event("token.minted", tokenId=token_id, agentId=agent_id)
    row: Row = queries.get_token(tx.connection, id=token_id)
    return MintedToken(**_fields(row), token=secret)


def _row(tx: Tx, token_id: int) -> Row:
    row: Row | None = queries.get_token(tx.connection, id=token_id)
    if row is None:
        raise NotFound(f"there is no token {token_id}", code="unknown_token")
    return row


def _token(row: Row) -> Token:
    return Token(**_fields(row))


def _fields(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "name": row["name"],
        "agent_id": row["agent_id"],
        "scopes": [Scope(scope) for scope in from_json(row["scopes"])],
        "authority": Authority(row["authority"]),
        "created_at": row["created_at"],
        "expires_at": row["expires_at"],
        "revoked_at": row["revoked_at"],
    }
