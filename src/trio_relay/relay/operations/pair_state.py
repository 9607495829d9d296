"""What a pair means to the rest of the relay: who may write in it, and how it ends when a member leaves."""

from typing import Any

from trio_relay.core.model import SYSTEM, Rung
from trio_relay.core.wire import SendRequest
from trio_relay.core.wire_pairs import Pair, PairStatus
from trio_relay.errors import Conflict, FieldError, NotFound, Refused
from trio_relay.relay.operations.freshness import withdraw
from trio_relay.relay.operations.notices import notify
from trio_relay.relay.operations.tx import Row, Tx, from_json
from trio_relay.store.queries import queries

#: Statuses in which a pair occupies its members.
OCCUPIED = frozenset({PairStatus.PENDING, PairStatus.ACTIVE})


def leave_pair(tx: Tx, agent_id: str, reason: str) -> None:
    """An agent is gone: the pair it is in ends, and the other member hears of it."""
    row: Row | None = queries.pair_of_agent(tx.connection, agent_id=agent_id)
    if row is not None:
        end_pair(tx, row, PairStatus.ENDED, by=agent_id, reason=reason, tell=other_member(row, agent_id))


def end_pair(tx: Tx, row: Row, status: PairStatus, *, by: str | None, reason: str, tell: str | None) -> bool:
    """Free both members, withdraw an invitation that was not seen yet, tell one of them; False if it was over."""
    ended = queries.end_pair(
        tx.connection, id=row["id"], status=status, ended_by=by, end_reason=reason, now=tx.now
    )
    if not ended:
        return False
    queries.free_pair_members(tx.connection, pair_id=row["id"])
    if row["status"] == PairStatus.PENDING and row["message_id"] is not None:
        invitation: Row = queries.get_message(tx.connection, id=row["message_id"])
        withdraw(tx, invitation, Rung.RETRACTED, f"the invitation is {status}")
    kind = "pair.rejected" if status is PairStatus.REJECTED else "pair.ended"
    tx.event(kind, pairId=row["id"], sender=row["inviter"], to=row["invitee"], by=by, reason=reason)
    if tell is not None:
        what = "invitation" if row["status"] == PairStatus.PENDING else "pair"
        whom = other_member(row, tell)
        text = f"The {what} {row['id']} with {whom} is over: {reason}."
        notify(tx, tell, kind, text, meta={"pairId": row["id"], "status": status})
    return True


def other_member(row: Row, agent_id: str) -> str:
    """The member who is not `agent_id`."""
    other: str = row["invitee"] if agent_id == row["inviter"] else row["inviter"]
    return other


def check_member(row: Row, agent_id: str, path: str) -> None:
    """Refuse whoever is not in the pair.

    Raises:
        Refused: code ``not_a_member``.

    """
    if agent_id not in (row["inviter"], row["invitee"]):
        raise Refused(
            f"{agent_id!r} is not in pair {row['id']}",
            code="not_a_member",
            fields=(FieldError(path, "expected a member of the pair"),),
        )


def not_in_status(row: Row, wanted: PairStatus) -> Conflict:
    """The error of a pair that would have to be on another status."""
    return Conflict(f"pair {row['id']} is {row['status']}, not {wanted}", code=f"pair_not_{wanted}")


def pair_row(tx: Tx, pair_id: int) -> Row:
    """The pair's row.

    Raises:
        NotFound: there is no such pair (code ``unknown_pair``).

    """
    row: Row | None = queries.get_pair(tx.connection, id=pair_id)
    if row is None:
        raise NotFound(f"there is no pair {pair_id}", code="unknown_pair")
    return row


def paired_meta(tx: Tx, request: SendRequest, parent: Row | None) -> dict[str, Any]:
    """The message's own `meta`, checked where it names a pair; a reply between members stays in their pair.

    Raises:
        Refused: the sender is no member of the pair it names, or the message goes elsewhere (``not_a_member``).
        Conflict: the pair it names is over (``pair_not_active``).

    """
    meta = request.meta
    if "pairId" in meta:
        row = _named(tx, meta["pairId"])
        if row is None or request.sender == SYSTEM:
            return meta
        check_member(row, request.sender, "meta.pairId")
        if row["status"] not in OCCUPIED:
            raise not_in_status(row, PairStatus.ACTIVE)
        if request.to.strip() != other_member(row, request.sender):
            raise Refused(
                f"a message of pair {row['id']} goes to its other member",
                code="not_a_member",
                fields=(FieldError("to", "expected the other member of the pair"),),
            )
        return meta
    row = _named(tx, from_json(parent["meta"]).get("pairId")) if parent is not None else None
    if (
        row is not None
        and row["status"] == PairStatus.ACTIVE
        and {request.sender, request.to.strip()} == {row["inviter"], row["invitee"]}
    ):
        return {**meta, "pairId": row["id"]}
    return meta


def pair_of(row: Row) -> Pair:
    """The pair as the API shows it."""
    return Pair(**pair_fields(row))


def pair_fields(row: Row) -> dict[str, Any]:
    """The fields every form of a pair has."""
    return {
        "id": row["id"],
        "inviter": row["inviter"],
        "invitee": row["invitee"],
        "target": row["target"],
        "objective": row["objective"],
        "status": PairStatus(row["status"]),
        "created_at": row["created_at"],
        "expires_at": row["expires_at"],
        "accepted_at": row["accepted_at"],
        "ended_at": row["ended_at"],
        "ended_by": row["ended_by"],
        "end_reason": row["end_reason"],
        "invite_message_id": row["message_id"],
    }


def _named(tx: Tx, pair_id: Any) -> Row | None:
    """The pair a message's meta names. A word that names none of ours is the sender's own business."""
    if not isinstance(pair_id, int) or isinstance(pair_id, bool) or not 0 < pair_id < 2**63:
        return None
    row: Row | None = queries.get_pair(tx.connection, id=pair_id)
    return row
