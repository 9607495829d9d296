"""Pairs, as they travel over HTTP: two agents that work together, and nobody else in between."""

from enum import StrEnum
from typing import Annotated, Any

import msgspec

from trio_relay.core.model import Verdict
from trio_relay.core.wire import AgentId, MessageId, Name, SessionFields, Wire


class PairStatus(StrEnum):
    """Where a pair stands. Pending and active ones occupy both members; the others are over."""

    PENDING = "pending"
    ACTIVE = "active"
    REJECTED = "rejected"
    EXPIRED = "expired"
    ENDED = "ended"


class PairInvite(SessionFields, kw_only=True):
    """Body of ``POST /pairs``. `target`: an agent id, a label, a tag or a provider such as ``codex``."""

    sender: AgentId = msgspec.field(name="from")
    target: AgentId
    objective: Annotated[str, msgspec.Meta(max_length=10_000)] | None = None


class PairAnswer(SessionFields, kw_only=True):
    """Body of accept, reject and hangup."""

    agent_id: AgentId


class PairMessage(SessionFields, kw_only=True):
    """Body of ``POST /pairs/:id/messages``; it goes to the other member."""

    sender: AgentId = msgspec.field(name="from")
    body: str
    subject: Annotated[str, msgspec.Meta(max_length=500)] | None = None
    reply_to: MessageId | None = None
    type: Name | None = None
    meta: dict[str, Any] = msgspec.field(default_factory=dict)
    idempotency_key: Name | None = None


class Pair(Wire, kw_only=True):
    """A pair: `from` invited `to`, who was found under `target`. `endReason` says why it is over, `endedBy` who did it."""

    id: int
    inviter: str = msgspec.field(name="from")
    invitee: str = msgspec.field(name="to")
    target: str
    objective: str | None
    status: PairStatus
    created_at: int
    expires_at: int
    accepted_at: int | None
    ended_at: int | None
    ended_by: str | None
    end_reason: str | None
    invite_message_id: int | None


class InvitedPair(Pair, kw_only=True):
    """Answer of ``POST /pairs``: the pair, and what to expect of the one invited."""

    verdict: Verdict
