"""Calls about pairs: two agents that work together."""

from typing import Any

from trio_relay.client.http import RelayClient
from trio_relay.core.wire import SentMessage
from trio_relay.core.wire_pairs import InvitedPair, Pair, PairAnswer, PairInvite, PairMessage


async def invite(relay: RelayClient, request: PairInvite) -> InvitedPair:
    """Invite an agent to work as a pair."""
    return await relay.call("POST", "/api/pairs", InvitedPair, body=request)


async def pairs_of(relay: RelayClient, agent_id: str, limit: int = 100) -> list[Pair]:
    """The pairs an agent is or was in, newest first."""
    query: dict[str, Any] = {"agent": agent_id, "limit": limit}
    return await relay.call("GET", "/api/pairs", list[Pair], query=query)


async def accept(relay: RelayClient, pair_id: int, answer: PairAnswer) -> Pair:
    """Accept an invitation."""
    return await relay.call("POST", f"/api/pairs/{pair_id}/accept", Pair, body=answer)


async def reject(relay: RelayClient, pair_id: int, answer: PairAnswer) -> Pair:
    """Decline an invitation."""
    return await relay.call("POST", f"/api/pairs/{pair_id}/reject", Pair, body=answer)


async def hang_up(relay: RelayClient, pair_id: int, answer: PairAnswer) -> Pair:
    """End a pair, or take an invitation back."""
    return await relay.call("POST", f"/api/pairs/{pair_id}/hangup", Pair, body=answer)


async def write(relay: RelayClient, pair_id: int, message: PairMessage) -> SentMessage:
    """Send a message to the other member."""
    return await relay.call("POST", f"/api/pairs/{pair_id}/messages", SentMessage, body=message)
