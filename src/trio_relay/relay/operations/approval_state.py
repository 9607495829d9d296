"""How a question ends without an answer: its asker is gone, has its answer elsewhere, or nobody answered in time."""

from trio_relay.core.wire_approvals import ApprovalState
from trio_relay.relay.operations.tx import Row, Tx
from trio_relay.store.queries import queries

_EVENTS = {ApprovalState.WITHDRAWN: "approval.withdrawn", ApprovalState.EXPIRED: "approval.expired"}


def bell_of(approval_id: int) -> str:
    """The doorbell of whoever waits for the answer."""
    return f"approval:{approval_id}"


def withdraw_all(tx: Tx, agent_id: str, reason: str) -> None:
    """An agent is gone: nobody waits for the answers to what it asked."""
    for row in list(queries.pending_approvals_of(tx.connection, agent_id=agent_id)):
        end(tx, row, ApprovalState.WITHDRAWN, by=None, reason=reason)


def end(tx: Tx, row: Row, state: ApprovalState, *, by: str | None, reason: str | None) -> bool:
    """End a question that is pending, tell everybody, wake who waits; False if it was over.

    One whose time is up has expired, whoever comes first to say so: it was shown as expired already.
    """
    if row["expires_at"] <= tx.now:
        state, by, reason = ApprovalState.EXPIRED, None, None
    ended = queries.end_approval(
        tx.connection, id=row["id"], state=state, decided_by=by, reason=reason, now=tx.now
    )
    if ended:
        tx.event(_EVENTS[state], approvalId=row["id"], agentId=row["agent_id"])
        tx.wake.add(bell_of(row["id"]))
    return bool(ended)
