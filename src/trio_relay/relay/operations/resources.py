"""Leases on named resources: files, ports, a migration; one engine with the claims on messages.

Names may hold globs. Two leases that could cover one thing are never valid at once (``core/leases.py`` decides what
collides), which is checked inside the transaction that takes the lease.
"""

from trio_relay.core.leases import check_key, collide
from trio_relay.core.wire_rooms import Lease, LeaseChange, LeaseRequest
from trio_relay.errors import Conflict, LeaseLost
from trio_relay.relay.operations.tx import Row, Tx, check_session, dump
from trio_relay.store.queries import queries

#: A resource may be taken any number of times; only work handed out again and again is suspect.
NO_LIMIT = 2**62


def acquire(tx: Tx, request: LeaseRequest) -> Lease:
    """Take a resource; the present holder that asks again gets its own lease back, renewed.

    Raises:
        Invalid: the key is not usable.
        Conflict: somebody holds this or something that collides with it (``held``).

    """
    key = check_key(request.key)
    holder_epoch = _holder_epoch(tx, request)
    expires_at = tx.now + request.ttl_ms
    for row in queries.held_resources(tx.connection, now=tx.now):
        if row["holder"] == request.holder and row["holder_epoch"] == holder_epoch:
            if row["key"] == key:
                queries.renew_lease(
                    tx.connection,
                    key=key,
                    holder=request.holder,
                    token=row["token"],
                    now=tx.now,
                    expires_at=expires_at,
                )
                return _lease(tx, key, show_token=True)
            continue
        if collide(row["key"], key):
            raise Conflict(f"{row['holder']!r} holds {row['key']!r} until {row['expires_at']}", code="held")
    queries.ensure_resource(tx.connection, key=key)
    won = queries.claim_lease(
        tx.connection,
        key=key,
        holder=request.holder,
        holder_epoch=holder_epoch,
        token=tx.new_token(),
        now=tx.now,
        expires_at=expires_at,
        max_attempts=NO_LIMIT,
    )
    if not won:
        raise Conflict(f"{key!r} is held", code="held")
    tx.event("lease.acquired", key=key, agentId=request.holder)
    return _lease(tx, key, show_token=True)


def renew(tx: Tx, request: LeaseChange) -> Lease:
    """Keep a lease.

    Raises:
        LeaseLost: it is no longer the caller's.

    """
    key = _checked(tx, request)
    renewed = queries.renew_lease(
        tx.connection,
        key=key,
        holder=request.holder,
        token=request.lease_token,
        now=tx.now,
        expires_at=tx.now + request.ttl_ms,
    )
    if not renewed:
        raise LeaseLost(f"the lease on {key!r} is no longer yours")
    return _lease(tx, key, show_token=True)


def release(tx: Tx, request: LeaseChange) -> Lease:
    """Give a lease back.

    Raises:
        LeaseLost: it is no longer the caller's.

    """
    key = _checked(tx, request)
    if not queries.release_lease(
        tx.connection, key=key, holder=request.holder, token=request.lease_token, now=tx.now
    ):
        raise LeaseLost(f"the lease on {key!r} is no longer yours")
    tx.event("lease.released", key=key, agentId=request.holder)
    return _lease(tx, key)


def complete(tx: Tx, request: LeaseChange) -> Lease:
    """Give a lease back with a result; the resource is free for the next.

    Raises:
        LeaseLost: it is no longer the caller's.

    """
    lease = release(tx, request)
    tx.event(
        "lease.completed", key=lease.key, agentId=request.holder, hasResult=dump(request.result) != "null"
    )
    return lease


def held(tx: Tx, *, holder: str | None = None, key: str | None = None) -> list[Lease]:
    """Who holds what; with `key`, only what collides with it."""
    return [
        _shown(row)
        for row in queries.held_resources(tx.connection, now=tx.now)
        if (holder is None or row["holder"] == holder) and (key is None or collide(row["key"], key))
    ]


def _holder_epoch(tx: Tx, request: LeaseRequest | LeaseChange) -> int:
    # A holder need not be registered: a script may take a lease. An agent's lease ends with its instance.
    agent: Row | None = queries.get_agent(tx.connection, id=request.holder)
    if agent is None:
        return 0
    check_session(agent, request)
    epoch: int = agent["epoch"]
    return epoch


def _checked(tx: Tx, request: LeaseChange) -> str:
    _holder_epoch(tx, request)
    return check_key(request.key)


def _lease(tx: Tx, key: str, *, show_token: bool = False) -> Lease:
    return _shown(queries.get_lease(tx.connection, key=key), show_token=show_token)


def _shown(row: Row, *, show_token: bool = False) -> Lease:
    return Lease(
        key=row["key"],
        state=row["state"],
        holder=row["holder"],
        lease_epoch=row["epoch"],
        attempts=row["attempts"],
        claimed_at=row["claimed_at"],
        expires_at=row["expires_at"],
        lease_token=row["token"] if show_token else None,
    )
