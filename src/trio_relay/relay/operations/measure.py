"""How deep the queues are: read for ``/metrics``, at a bounded cost whatever the store holds."""

from collections.abc import Mapping
from dataclasses import dataclass

from trio_relay.relay.operations import event_log
from trio_relay.relay.operations.tx import Tx
from trio_relay.store.queries import queries

#: Rows a count looks at, at most: a few milliseconds.
COUNT_LIMIT = 100_000


@dataclass(frozen=True, slots=True)
class Depths:
    """What stands in the store at the time of asking. `events`: about how many the log holds."""

    agents: Mapping[str, int]
    unread: int
    parked: int
    approvals: int
    events: int


def depths(tx: Tx) -> Depths:
    """Count what waits, up to `COUNT_LIMIT` of each."""
    log = event_log.state(tx)
    return Depths(
        agents={row["status"]: row["n"] for row in queries.count_agents_by_status(tx.connection)},
        unread=queries.count_unread(tx.connection, limit=COUNT_LIMIT)[0],
        parked=queries.count_looking(tx.connection, limit=COUNT_LIMIT)[0],
        approvals=queries.count_pending_approvals(tx.connection, limit=COUNT_LIMIT)[0],
        events=log.horizon - log.trimmed_to,
    )
