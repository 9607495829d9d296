"""Calls about leases on anything: files, ports, a migration. Claims on messages stand in `RelayClient`."""

from typing import Any

from trio_relay.client.http import RelayClient
from trio_relay.core.wire_rooms import Lease, LeaseChange, LeaseRequest


async def acquire(relay: RelayClient, request: LeaseRequest) -> Lease:
    """Take what the key names.

    Raises:
        Conflict: somebody holds this or something that collides with it (``held``).

    """
    return await relay.call("POST", "/api/leases", Lease, body=request)


async def list_leases(
    relay: RelayClient, *, holder: str | None = None, key: str | None = None
) -> list[Lease]:
    """Who holds what; with `key`, only what collides with it."""
    query: dict[str, Any] = {"holder": holder, "key": key}
    return await relay.call("GET", "/api/leases", list[Lease], query=query)


async def renew(relay: RelayClient, change: LeaseChange) -> Lease:
    """Keep a lease, for `ttlMs` from now; LeaseLost when it is no longer the holder's."""
    return await relay.call("POST", "/api/leases/renew", Lease, body=change)


async def release(relay: RelayClient, change: LeaseChange) -> Lease:
    """Give a lease back."""
    return await relay.call("POST", "/api/leases/release", Lease, body=change)


async def complete(relay: RelayClient, change: LeaseChange) -> Lease:
    """Give a lease back with a result."""
    return await relay.call("POST", "/api/leases/complete", Lease, body=change)
