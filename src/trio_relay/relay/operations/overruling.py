"""A person steps in: takes a lease from its holder, ends a pair over its members' heads."""

from trio_relay.core.model import SYSTEM
from trio_relay.core.wire_pairs import Pair, PairStatus
from trio_relay.errors import Conflict
from trio_relay.relay.operations.leases import take_back
from trio_relay.relay.operations.notices import notify
from trio_relay.relay.operations.pair_state import end_pair, not_in_status, pair_of, pair_row
from trio_relay.relay.operations.tx import Row, Tx
from trio_relay.store.queries import queries


def take_lease_back(tx: Tx, key: str) -> str:
    """Free what somebody holds, and answer who held it.

    Its token is stale from now on, and what it guards is offered again. The holder is told, but nothing stops what it
    is doing outside the relay.

    Raises:
        Conflict: nobody holds it (``not_held``).

    """
    row: Row | None = queries.get_lease(tx.connection, key=key)
    if row is None or row["state"] != "held":
        raise Conflict(f"nobody holds {key!r} any more", code="not_held")
    holder: str = row["holder"]
    take_back(tx, row)
    if holder != SYSTEM:
        notify(
            tx,
            holder,
            "lease.taken_back",
            f"A person has taken {key} back from you: your lease on it counts no more. Stop working on it.",
            meta={"key": key},
        )
    return holder


def end_pair_of_others(tx: Tx, pair_id: int, by: str) -> Pair:
    """End a pair or take an invitation back, as somebody who is no member; both members are told.

    Raises:
        NotFound: there is no such pair (``unknown_pair``).
        Conflict: it is over (``pair_not_active``).

    """
    row = pair_row(tx, pair_id)
    reason = f"{by} has ended it"
    if not end_pair(tx, row, PairStatus.ENDED, by=by, reason=reason, tell=row["inviter"]):
        raise not_in_status(row, PairStatus.ACTIVE)
    text = f"The pair {pair_id} with {row['inviter']} is over: {reason}."
    notify(tx, row["invitee"], "pair.ended", text, meta={"pairId": pair_id, "status": PairStatus.ENDED})
    return pair_of(pair_row(tx, pair_id))
