"""Pairs: one agent invites another, and while the pair lasts both are taken.

Exclusivity is a key of the store (``pair_members``): at most one pending or active pair an agent, whoever races.
Repeating an answer that was given already is no error.
"""

from trio_relay.core.model import AgentStatus
from trio_relay.core.targets import parse_target
from trio_relay.core.wire import SendRequest, SentMessage
from trio_relay.core.wire_pairs import InvitedPair, Pair, PairAnswer, PairInvite, PairMessage, PairStatus
from trio_relay.errors import Conflict, FieldError, Invalid, NotFound, Refused
from trio_relay.relay.operations import messages
from trio_relay.relay.operations.notices import notify
from trio_relay.relay.operations.pair_state import (
    check_member,
    end_pair,
    not_in_status,
    other_member,
    pair_fields,
    pair_of,
    pair_row,
)
from trio_relay.relay.operations.tx import Row, Tx, agent_row, check_session, concurrent
from trio_relay.store.queries import queries

#: Invitations one transaction ends, at most.
BATCH = 100


def invite(tx: Tx, request: PairInvite, *, ttl_ms: int) -> InvitedPair:
    """Invite one agent, and put the invitation into its inbox.

    Raises:
        NotFound: nobody answers to the target (``unknown_target``).
        Conflict: one of the two is in a pair already (``already_paired``) or not there (``offline``).

    """
    inviter = agent_row(tx, request.sender)
    check_session(inviter, request)
    if inviter["status"] == AgentStatus.OFFLINE:
        raise _offline(request.sender, "from")
    _end_if_lapsed(tx, request.sender)
    invitee = _choose(tx, request)
    pair_id: int = queries.insert_pair(
        tx.connection,
        inviter=request.sender,
        invitee=invitee["id"],
        target=request.target,
        objective=request.objective,
        now=tx.now,
        expires_at=tx.now + ttl_ms,
    )
    for agent_id, path in ((request.sender, "from"), (invitee["id"], "target")):
        if not queries.take_pair_member(tx.connection, agent_id=agent_id, pair_id=pair_id):
            raise _taken(agent_id, path)
    message, _ = messages.send(
        tx,
        SendRequest(
            sender=request.sender,
            to=invitee["id"],
            subject="Invitation to pair",
            body=request.objective or f"{request.sender} would like to work with you as a pair.",
            type="pair.invite",
            meta={"pairId": pair_id, "expiresAt": tx.now + ttl_ms},
        ),
    )
    queries.set_invite_message(tx.connection, id=pair_id, message_id=message.id)
    tx.event("pair.invited", pairId=pair_id, sender=request.sender, to=invitee["id"])
    verdict = messages.verdict_of(invitee["status"], invitee["ready"])
    return InvitedPair(**pair_fields(pair_row(tx, pair_id)), verdict=verdict)


def accept(tx: Tx, pair_id: int, answer: PairAnswer) -> Pair:
    """The one invited agrees: the pair is active.

    Raises:
        Refused: the answer is not this agent's to give (``not_invited``).
        Conflict: the invitation does not stand any more (``pair_not_pending``).

    """
    row = _answered_by_invitee(tx, pair_id, answer)
    if row["status"] == PairStatus.ACTIVE:
        return pair_of(row)
    if not queries.accept_pair(tx.connection, id=pair_id, now=tx.now):
        raise not_in_status(row, PairStatus.PENDING)
    tx.event("pair.accepted", pairId=pair_id, sender=row["inviter"], to=row["invitee"])
    notify(
        tx,
        row["inviter"],
        "pair.accepted",
        f"{row['invitee']} has accepted: you are a pair now (pair {pair_id}).",
        meta={"pairId": pair_id, "status": PairStatus.ACTIVE},
    )
    return pair_of(pair_row(tx, pair_id))


def reject(tx: Tx, pair_id: int, answer: PairAnswer) -> Pair:
    """The one invited declines.

    Raises:
        Refused: the answer is not this agent's to give (``not_invited``).
        Conflict: the invitation does not stand any more (``pair_not_pending``).

    """
    row = _answered_by_invitee(tx, pair_id, answer)
    if row["status"] == PairStatus.REJECTED:
        return pair_of(row)
    if row["status"] != PairStatus.PENDING:
        raise not_in_status(row, PairStatus.PENDING)
    end_pair(tx, row, PairStatus.REJECTED, by=answer.agent_id, reason="it was declined", tell=row["inviter"])
    return pair_of(pair_row(tx, pair_id))


def hang_up(tx: Tx, pair_id: int, answer: PairAnswer) -> Pair:
    """A member ends the pair, or the inviter takes the invitation back.

    Raises:
        Refused: the agent is no member (``not_a_member``).

    """
    row = pair_row(tx, pair_id)
    check_member(row, answer.agent_id, "agentId")
    check_session(agent_row(tx, answer.agent_id), answer)
    reason = f"{answer.agent_id} hung up"
    tell = other_member(row, answer.agent_id)
    end_pair(tx, row, PairStatus.ENDED, by=answer.agent_id, reason=reason, tell=tell)
    return pair_of(pair_row(tx, pair_id))


@concurrent
def write(tx: Tx, pair_id: int, message: PairMessage) -> tuple[SentMessage, bool]:
    """Send a message to the other member; answer it and whether it is new.

    Raises:
        Refused: the sender is no member (``not_a_member``).
        Conflict: the pair is not active (``pair_not_active``).

    """
    row = pair_row(tx, pair_id)
    check_member(row, message.sender, "from")
    check_session(agent_row(tx, message.sender), message)
    if row["status"] != PairStatus.ACTIVE:
        raise not_in_status(row, PairStatus.ACTIVE)
    return messages.send(
        tx,
        SendRequest(
            sender=message.sender,
            to=other_member(row, message.sender),
            subject=message.subject,
            body=message.body,
            reply_to=message.reply_to,
            type=message.type,
            meta={**message.meta, "pairId": pair_id},
            idempotency_key=message.idempotency_key,
        ),
    )


def get_pair(tx: Tx, pair_id: int) -> Pair:
    """One pair."""
    return pair_of(pair_row(tx, pair_id))


def list_pairs(
    tx: Tx, *, agent: str | None = None, limit: int = 100, before: int | None = None
) -> list[Pair]:
    """Pairs, newest first: those an agent is or was in, or all."""
    page = {"limit": limit, "before": 2**63 - 1 if before is None else before}
    rows = (
        queries.list_pairs(tx.connection, **page)
        if agent is None
        else queries.list_pairs_of(tx.connection, agent_id=agent, **page)
    )
    return [pair_of(row) for row in rows]


def expire_invites(tx: Tx) -> int:
    """Invitations nobody has answered in time are over; the inviter hears of it."""
    rows = list(queries.lapsed_invites(tx.connection, now=tx.now, limit=BATCH))
    for row in rows:
        _lapse(tx, row)
    return len(rows)


def forget_over(tx: Tx, *, older_than: int) -> int:
    """Pairs that were over more than `older_than` ms ago leave."""
    gone: int = queries.forget_pairs(tx.connection, before=tx.now - older_than)
    return gone


def _choose(tx: Tx, request: PairInvite) -> Row:
    """The agent to invite: the one named, else the best of those the target means."""
    named: Row | None = queries.get_agent(tx.connection, id=request.target)
    if named is not None:
        if named["id"] == request.sender:
            raise Invalid(
                "an agent cannot pair with itself",
                code="own_pair",
                fields=(FieldError("target", "expected somebody other than the inviter"),),
            )
        if named["status"] == AgentStatus.OFFLINE:
            raise _offline(named["id"], "target")
        _end_if_lapsed(tx, named["id"])
        return named
    found: list[Row] = []
    for rows in _meanings(tx, request.target):
        others = [row for row in rows if row["id"] != request.sender]
        present = [row for row in others if row["status"] != AgentStatus.OFFLINE]
        free = [row for row in present if not _is_taken(tx, row["id"])]
        if free:
            return min(free, key=_eagerness)
        found += others
    if not found:
        raise NotFound(
            f"nobody answers to {request.target!r}",
            code="unknown_target",
            fields=(FieldError("target", "expected an agent id, a label, a tag or a provider"),),
        )
    if all(row["status"] == AgentStatus.OFFLINE for row in found):
        raise _offline(request.target, "target")
    raise _taken(request.target, "target")


def _meanings(tx: Tx, target: str) -> list[list[Row]]:
    """Whom a target may mean, the closest meaning first: a selector, or a label, a tag, a provider."""
    parsed = parse_target(target, path="target")
    if parsed.fan_out:
        return [list(queries.list_agents_matching(tx.connection, selector=parsed.text))]
    return [
        list(queries.list_agents_matching(tx.connection, selector=f"label:{target}")),
        list(queries.list_agents_matching(tx.connection, selector=f"tag:{target}")),
        list(queries.agents_of_provider(tx.connection, provider=target.lower())),
    ]


def _eagerness(row: Row) -> tuple[bool, bool, str]:
    """Who is ready and has nothing to do comes first."""
    return not row["ready"], row["status"] == AgentStatus.BUSY, row["id"]


def _is_taken(tx: Tx, agent_id: str) -> bool:
    _end_if_lapsed(tx, agent_id)
    return queries.pair_of_agent(tx.connection, agent_id=agent_id) is not None


def _end_if_lapsed(tx: Tx, agent_id: str) -> None:
    """An invitation that has run out holds nobody up, also before housekeeping has come by."""
    row: Row | None = queries.pair_of_agent(tx.connection, agent_id=agent_id)
    if row is not None and row["status"] == PairStatus.PENDING and row["expires_at"] <= tx.now:
        _lapse(tx, row)


def _lapse(tx: Tx, row: Row) -> None:
    end_pair(tx, row, PairStatus.EXPIRED, by=None, reason="nobody answered in time", tell=row["inviter"])


def _answered_by_invitee(tx: Tx, pair_id: int, answer: PairAnswer) -> Row:
    row = pair_row(tx, pair_id)
    if answer.agent_id != row["invitee"]:
        raise Refused(
            f"pair {pair_id} does not wait for an answer of {answer.agent_id!r}",
            code="not_invited",
            fields=(FieldError("agentId", "expected the agent that was invited"),),
        )
    check_session(agent_row(tx, answer.agent_id), answer)
    return row


def _offline(name: str, path: str) -> Conflict:
    return Conflict(
        f"{name!r} is offline", code="offline", fields=(FieldError(path, "expected somebody online"),)
    )


def _taken(name: str, path: str) -> Conflict:
    return Conflict(
        f"{name!r} is in a pair already",
        code="already_paired",
        fields=(FieldError(path, "expected somebody free"),),
    )
