"""The event log's words: every kind of event, what it tells, and who wants to hear of which."""

from collections.abc import Iterable
from dataclasses import dataclass

#: Every kind the relay writes, and what it tells. Ids stand in the event's data.
KINDS = {
    "message.new": "a message was accepted; data: the message",
    "message.claimed": "an agent holds the claim on a message",
    "message.claim_released": "a message can be claimed again",
    "message.completed": "the claimed work is done",
    "message.deleted": "a message was removed from history",
    "message.receipt": "a delivery reached a rung of its ladder",
    "message.expired": "a message outlived its ttlMs before everybody had it",
    "message.retracted": "a message was withdrawn before everybody had it",
    "message.dead": "a message was handed out too often without completion",
    "message.redriven": "a dead letter was given another life",
    "agent.status": "an agent registered, or says what it is doing; data: the agent",
    "agent.updated": "an agent's readiness, label or tags changed; data: the agent",
    "agent.removed": "an agent left the room",
    "lease.acquired": "a named resource was leased",
    "lease.released": "a named resource was given back",
    "lease.completed": "a named resource was given back with a result",
    "lease.expired": "the lease on a named resource ran out, or its holder left",
    "thread.parked": "a thread looks like a loop and waits for a person",
    "thread.resumed": "a person lets a parked thread go on",
    "pair.invited": "an agent was invited to pair",
    "pair.accepted": "two agents are a pair now",
    "pair.rejected": "an invitation to pair was turned down",
    "pair.ended": "a pair or an invitation is over; data says why",
    "task.created": "an integration's event became a task",
    "task.repeated": "the event behind an active task happened again",
    "task.claimed": "an agent took a task",
    "task.status": "a task's status or progress changed",
    "approval.asked": "an agent asks whether it may do something",
    "approval.decided": "a person has allowed or denied it",
    "approval.withdrawn": "the agent needs no answer any more",
    "approval.expired": "nobody has answered in time",
    "token.minted": "a token was made; never the secret",
    "token.revoked": "a token counts no more",
}
#: Said by the stream itself, not kept in the log.
STREAM_KINDS = {
    "gap": "events are missing here: the log no longer holds those from `from` to `to`; read the present state anew",
    "overrun": "this connection fell too far behind and ends; connect again with the last id to go on",
    "bye": "the relay is shutting down; connect again with the last id to go on",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one follower of the log wants to hear of: kinds, agents; None means all.

    A kind is a name or a family (``message.*``). `agent` is concerned by an event that names it, and by what happens
    to a message it sent or received.
    """

    kinds: frozenset[str] | None = None
    families: tuple[str, ...] = ()
    agent: str | None = None

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return self.kinds is None and self.agent is None

    def wants(self, kind: str, concerned: frozenset[str] | None) -> bool:
        """Whether to pass on an event of `kind` that concerns these agents (None: too many to name)."""
        if self.kinds is not None and kind not in self.kinds and not kind.startswith(self.families):
            return False
        return self.agent is None or concerned is None or self.agent in concerned


def wanted(kinds: Iterable[str] | None, agent: str | None) -> Wanted:
    """Read a list of kinds as a follower gives it; None: all."""
    if kinds is None:
        return Wanted(agent=agent)
    given = frozenset(kinds)
    families = tuple(sorted(kind[:-1] for kind in given if kind.endswith(".*")))
    return Wanted(kinds=given, families=families, agent=agent)
