"""Approvals: a program asks whether it may do something, and the first answer of a person is the answer.

What decides who was first is one compare-and-swap of the store. Giving the answer again that was given is no error.
Nothing that was asked, or said about it, stands in the event log.
"""

from trio_relay.core.access import FULL
from trio_relay.core.wire_approvals import (
    Approval,
    ApprovalDecision,
    ApprovalRequest,
    ApprovalState,
    ApprovalWithdrawal,
)
from trio_relay.errors import Conflict, FieldError, NotFound, Refused
from trio_relay.relay.operations.approval_state import bell_of, end
from trio_relay.relay.operations.tx import Row, Tx, agent_row, check_session, concurrent
from trio_relay.store.locks import Kind
from trio_relay.store.queries import queries, select

#: Questions one transaction ends, at most.
BATCH = 100
#: Who has answered, where it was whoever holds the shared token, or anybody of an open relay.
OPERATOR = "operator"


@concurrent
def ask(tx: Tx, request: ApprovalRequest) -> tuple[Approval, bool]:
    """Put a question before the people; answer it and whether it is new (False: its key was known).

    Raises:
        Conflict: the key was used for another question (``idempotency_conflict``).

    """
    check_session(agent_row(tx, request.agent_id), request)
    if request.key is not None:
        tx.lock(Kind.IDEMPOTENCY_KEY, request.agent_id, request.key)
        known: Row | None = queries.approval_of_key(tx.connection, agent_id=request.agent_id, key=request.key)
        if known is not None:
            return _same(tx, known, request), False
    approval_id: int = queries.insert_approval(
        tx.connection,
        agent_id=request.agent_id,
        key=request.key,
        tool=request.tool,
        summary=request.summary,
        detail=request.detail,
        now=tx.now,
        expires_at=tx.now + request.ttl_ms,
    )
    tx.event("approval.asked", approvalId=approval_id, agentId=request.agent_id)
    return get_approval(tx, approval_id), True


@concurrent
def decide(tx: Tx, approval_id: int, answer: ApprovalDecision) -> Approval:
    """Answer a question; the first answer stands.

    Raises:
        Refused: the token is bound to the agent that asks (``own_approval``).
        Conflict: it was answered otherwise, withdrawn, or has expired (``approval_over``).

    """
    row = _row(tx, approval_id)
    if tx.principal.agent_id == row["agent_id"]:
        raise Refused("an agent does not answer its own question", code="own_approval")
    wanted = answer.decision.state
    first = queries.decide_approval(
        tx.connection, id=approval_id, state=wanted, decided_by=_name(tx), reason=answer.reason, now=tx.now
    )
    approval = get_approval(tx, approval_id)
    if first:
        tx.event("approval.decided", approvalId=approval_id, agentId=row["agent_id"], state=wanted)
        tx.wake.add(bell_of(approval_id))
    elif approval.state is not wanted:
        raise Conflict(f"approval {approval_id} is {approval.state} already", code="approval_over")
    return approval


@concurrent
def withdraw(tx: Tx, approval_id: int, withdrawal: ApprovalWithdrawal) -> Approval:
    """The asker needs no answer any more. Where there is one already, it is shown and stays.

    Raises:
        Refused: another agent asked (``not_the_asker``).

    """
    row = _row(tx, approval_id)
    if row["agent_id"] != withdrawal.agent_id:
        raise Refused(
            f"approval {approval_id} was not asked by {withdrawal.agent_id!r}",
            code="not_the_asker",
            fields=(FieldError("agentId", "expected the agent that asked"),),
        )
    check_session(agent_row(tx, withdrawal.agent_id), withdrawal)
    end(tx, row, ApprovalState.WITHDRAWN, by=withdrawal.agent_id, reason=withdrawal.reason)
    return get_approval(tx, approval_id)


def get_approval(tx: Tx, approval_id: int) -> Approval:
    """One question and its answer."""
    return _shown(tx, _row(tx, approval_id))


def list_approvals(
    tx: Tx,
    *,
    agent: str | None = None,
    state: ApprovalState | None = None,
    limit: int = 100,
    before: int | None = None,
) -> list[Approval]:
    """Questions that match every filter given, newest first; `before` is the id to go on from."""
    given = {
        "agent_id = :agent": ("agent", agent),
        "state = :state": ("state", state),
        "id < :before": ("before", before),
    }
    conditions = [condition for condition, (_, value) in given.items() if value is not None] or ["TRUE"]
    parameters = {name: value for name, value in given.values() if value is not None}
    # The conditions are the literals above; every value is a bound parameter.
    statement = f"SELECT * FROM approvals WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT :limit"  # noqa: S608
    return [_shown(tx, row) for row in select(tx.connection, statement, **parameters, limit=limit)]


def expire_approvals(tx: Tx) -> int:
    """What nobody has answered in time has expired; who waits for it hears so."""
    rows = list(queries.lapsed_approvals(tx.connection, now=tx.now, limit=BATCH))
    for row in rows:
        end(tx, row, ApprovalState.EXPIRED, by=None, reason=None)
    return len(rows)


def forget_over(tx: Tx, *, older_than: int) -> int:
    """Questions that were over more than `older_than` ms ago leave."""
    gone: int = queries.forget_approvals(tx.connection, before=tx.now - older_than)
    return gone


def _same(tx: Tx, known: Row, request: ApprovalRequest) -> Approval:
    asked = tuple(known[name] for name in ("tool", "summary", "detail"))
    if asked != (request.tool, request.summary, request.detail):
        raise Conflict(
            "this key was used for another question",
            code="idempotency_conflict",
            fields=(FieldError("key", "expected a new key for a new question"),),
        )
    return _shown(tx, known)


def _name(tx: Tx) -> str:
    return OPERATOR if tx.principal is FULL else tx.principal.agent_id or tx.principal.name


def _row(tx: Tx, approval_id: int) -> Row:
    row: Row | None = queries.get_approval(tx.connection, id=approval_id)
    if row is None:
        raise NotFound(f"there is no approval {approval_id}", code="unknown_approval")
    return row


def _shown(tx: Tx, row: Row) -> Approval:
    state = ApprovalState(row["state"])
    if state is ApprovalState.PENDING and row["expires_at"] <= tx.now:
        state = ApprovalState.EXPIRED  # housekeeping comes every second and has not been by
    return Approval(
        id=row["id"],
        agent_id=row["agent_id"],
        tool=row["tool"],
        summary=row["summary"],
        detail=row["detail"],
        state=state,
        decided_by=row["decided_by"],
        reason=row["reason"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        decided_at=row["decided_at"],
    )
