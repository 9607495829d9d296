"""Housekeeping and statistics: each call is one small transaction that never stalls a send."""

from trio_relay.core.model import Rung
from trio_relay.relay.operations.agents import remove_agent
from trio_relay.relay.operations.approval_state import withdraw_all
from trio_relay.relay.operations.approvals import expire_approvals
from trio_relay.relay.operations.freshness import expire
from trio_relay.relay.operations.leases import take_back, take_back_leases
from trio_relay.relay.operations.messages import IDEMPOTENCY_WINDOW, forget
from trio_relay.relay.operations.pair_state import leave_pair
from trio_relay.relay.operations.pairs import expire_invites
from trio_relay.relay.operations.tx import Tx
from trio_relay.store.queries import queries

#: Rows one transaction touches, at most.
BATCH = 100


def silence_stale(tx: Tx, *, awake_since: int = 0) -> int:
    """Agents not heard from for the stale time are offline; what they hold is given back.

    Silence counts only while the relay is there to hear: nobody is silent before it has been awake for that time.
    """
    if tx.now - awake_since <= tx.policy.stale_after:
        return 0
    rows = list(queries.stale_agents(tx.connection, before=tx.now - tx.policy.stale_after, limit=BATCH))
    for row in rows:
        queries.silence_agent(tx.connection, id=row["id"], now=tx.now)
        take_back_leases(tx, row["id"])
        leave_pair(tx, row["id"], f"{row['id']} was not heard from")
        withdraw_all(tx, row["id"], f"{row['id']} was not heard from")
        tx.event("agent.status", agentId=row["id"], status="offline")
    return len(rows)


def prune_offline(tx: Tx, *, older_than: int) -> int:
    """Agents offline for longer than `older_than` ms leave the room."""
    rows = list(queries.forgotten_agents(tx.connection, before=tx.now - older_than, limit=BATCH))
    for row in rows:
        remove_agent(tx, row["id"])
    return len(rows)


def expire_leases(tx: Tx) -> int:
    """Leases that have run out are open again."""
    rows = list(queries.lapsed_leases(tx.connection, now=tx.now, limit=BATCH))
    for row in rows:
        take_back(tx, row)
    return len(rows)


def expire_messages(tx: Tx) -> int:
    """Messages past their time end as expired for those who still wait for them."""
    rows = list(queries.expired_messages(tx.connection, now=tx.now, limit=BATCH))
    for row in rows:
        expire(tx, row)
    return len(rows)


def expire_all(tx: Tx) -> int:
    """Whatever has run out; answer how many of the kind of which there were most.

    In one transaction, because this comes every second, and on PostgreSQL everybody waits for it.
    """
    return max(expire_leases(tx), expire_messages(tx), expire_invites(tx), expire_approvals(tx))


def forget_old_messages(tx: Tx, *, older_than: int) -> int:
    """Messages older than `older_than` ms that nobody waits for leave the history."""
    rows = list(queries.messages_to_forget(tx.connection, before=tx.now - older_than, limit=BATCH))
    for row in rows:
        forget(tx, row)
    return len(rows)


def forget_idempotency_keys(tx: Tx) -> int:
    """Idempotency keys past their day are dropped."""
    dropped: int = queries.drop_idempotency_keys(tx.connection, before=tx.now - IDEMPOTENCY_WINDOW)
    return dropped


def counts(tx: Tx) -> tuple[dict[str, int], int, dict[str, int], int]:
    """Agents by status, messages, deliveries by rung, parked messages."""
    agents = {row["status"]: row["n"] for row in queries.count_agents_by_status(tx.connection)}
    deliveries = {
        Rung(row["state"]).value: row["n"] for row in queries.count_deliveries_by_state(tx.connection)
    }
    return (
        agents,
        queries.count_messages(tx.connection)[0],
        deliveries,
        queries.count_parked(tx.connection)[0],
    )
