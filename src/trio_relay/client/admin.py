"""Calls that people make rather than programs: credentials, explanations, dead letters, parked threads."""

from trio_relay.client.http import RelayClient
from trio_relay.core.wire import Message, SessionFields
from trio_relay.core.wire_access import (
    JoinRequest,
    MintedToken,
    Ticket,
    TicketRequest,
    Token,
    TokenBinding,
    TokenRequest,
)
from trio_relay.core.wire_rooms import Explanation, ParkedThread, RetractRequest, Withdrawal


async def mint_token(relay: RelayClient, request: TokenRequest) -> MintedToken:
    """Mint a token; it is shown this once."""
    return await relay.call("POST", "/api/tokens", MintedToken, body=request)


async def list_tokens(relay: RelayClient) -> list[Token]:
    """Every token, without its secret."""
    return await relay.call("GET", "/api/tokens", list[Token])


async def bind_token(relay: RelayClient, token_id: int, agent_id: str) -> Token:
    """Bind a token that is not bound yet to an agent."""
    body = TokenBinding(agent_id=agent_id)
    return await relay.call("POST", f"/api/tokens/{token_id}/bind", Token, body=body)


async def revoke_token(relay: RelayClient, token_id: int) -> Token:
    """End a token now."""
    return await relay.call("DELETE", f"/api/tokens/{token_id}", Token)


async def invite(relay: RelayClient, request: TicketRequest) -> Ticket:
    """Make a single-use ticket for another machine."""
    return await relay.call("POST", "/api/tickets", Ticket, body=request)


async def join(relay: RelayClient, request: JoinRequest) -> MintedToken:
    """Trade a ticket for a token."""
    return await relay.call("POST", "/api/join", MintedToken, body=request)


async def explain(relay: RelayClient, message_id: int) -> Explanation:
    """What happened to a message, and why it is not there yet."""
    return await relay.call("GET", f"/api/messages/{message_id}/explain", Explanation)


async def retract(
    relay: RelayClient,
    message_id: int,
    sender: str,
    reason: str | None = None,
    session: SessionFields | None = None,
) -> Withdrawal:
    """Withdraw a message of `sender` from whoever does not have it yet."""
    session = session or SessionFields()
    body = RetractRequest(sender=sender, reason=reason, instance_id=session.instance_id, epoch=session.epoch)
    return await relay.call("POST", f"/api/messages/{message_id}/retract", Withdrawal, body=body)


async def dead_letters(relay: RelayClient, limit: int = 100, before: int | None = None) -> list[Message]:
    """What was handed out too often and reached nobody, newest first."""
    return await relay.browse(state="dead", limit=limit, before=before)


async def redrive(relay: RelayClient, message_id: int) -> Message:
    """Give a dead letter another life."""
    return await relay.call("POST", f"/api/messages/{message_id}/redrive", Message)


async def search(relay: RelayClient, text: str, limit: int = 20, before: int | None = None) -> list[Message]:
    """Messages that hold these words, newest first."""
    return await relay.browse(q=text, limit=limit, before=before)


async def parked_threads(relay: RelayClient, limit: int = 100) -> list[ParkedThread]:
    """The threads that wait for a person."""
    return await relay.call("GET", "/api/threads", list[ParkedThread], query={"limit": limit})


async def resume_thread(relay: RelayClient, thread_id: int) -> ParkedThread:
    """Let a parked thread go on."""
    return await relay.call("POST", f"/api/threads/{thread_id}/resume", ParkedThread)
