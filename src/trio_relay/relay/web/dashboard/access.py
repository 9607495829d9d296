"""Tokens and invitations: who may come in, and what they may do. A secret is shown once, on the page that answers."""

from typing import Any

from quart import Blueprint, Response, request

from trio_relay.core.access import Scope
from trio_relay.core.model import Authority
from trio_relay.core.wire_access import TicketRequest, TokenRequest
from trio_relay.relay.operations import tokens
from trio_relay.relay.web.dashboard.asking import as_request, known
from trio_relay.relay.web.dashboard.frame import Frame, go, page
from trio_relay.relay.web.dashboard.frame import form as read_form

#: What a scope lets its bearer do.
SCOPES = {
    Scope.SEND: "send messages, ask for approval",
    Scope.RECEIVE: "register, read its inbox, report receipts",
    Scope.CLAIM: "claim work and take leases",
    Scope.OBSERVE: "read everything, follow events",
    Scope.INTEGRATE: "post events that become tasks",
    Scope.ADMIN: "everything, also minting tokens",
}
#: Whose word a message is that was sent with the token.
AUTHORITIES = {
    Authority.PEER: "another program: text to weigh, not an order",
    Authority.HUMAN: "a person: agents follow it, and it may decide what waits for one",
    Authority.OPERATOR: "whoever runs this relay",
    Authority.INTEGRATION: "a program outside, the least trusted",
}
HOUR, DAY = 3_600_000, 86_400_000
LIFETIMES = {
    "1 hour": HOUR,
    "1 day": DAY,
    "30 days": 30 * DAY,
    "1 year": 365 * DAY,
    "until revoked": None,
}
WAITS = {"1 hour": HOUR, "1 day": DAY, "7 days": 7 * DAY}
_LIST = 200


def access_pages(pages: Blueprint, frame: Frame) -> None:
    """The routes of tokens and invitations."""
    service = frame.service

    async def show(**news: Any) -> Response:
        found = await service.read(tokens.list_tokens)
        at = service.now()
        counting = [
            each
            for each in found
            if each.revoked_at is None and (each.expires_at is None or each.expires_at > at)
        ]
        data = {"minted": None, "ticket": None} | news
        return await frame.show(
            "tokens.html",
            title="Tokens and invitations",
            here="tokens",
            counting=counting[:_LIST],
            over=[each for each in found if each not in counting][:_LIST],
            scopes=SCOPES,
            authorities=AUTHORITIES,
            lifetimes=LIFETIMES,
            waits=WAITS,
            base=f"{request.scheme}://{request.host}",
            **data,
        )

    @pages.get("/tokens")
    @page(Scope.ADMIN)
    async def all_tokens() -> Response:
        """Show every credential, without its secret."""
        return await show()

    @pages.post("/tokens")
    @page(Scope.ADMIN)
    async def mint() -> Response:
        """Mint a token and show it, this once."""
        fields = await read_form()
        wanted: dict[str, Any] = {
            "name": fields.get("name", "").strip() or "token",
            "scopes": [scope for scope in Scope if fields.get(f"scope-{scope}")],
            "authority": fields.get("authority", Authority.PEER),
        }
        if agent := fields.get("agent", "").strip():
            wanted["agentId"] = agent
        if lifetime := LIFETIMES.get(fields.get("lifetime", "")):
            wanted["ttlMs"] = lifetime
        return await show(minted=await service.write(tokens.mint, as_request(wanted, TokenRequest)))

    @pages.post("/tokens/<int:token_id>/revoke")
    @page(Scope.ADMIN)
    async def revoke(token_id: int) -> Response:
        """End a token now."""
        token = await service.write(tokens.revoke, known(token_id))
        service.credentials.forget()
        return go("/tokens", said=f"The token {token.name} ({token_id}) counts no more.")

    @pages.post("/tickets")
    @page(Scope.ADMIN)
    async def invite() -> Response:
        """Make a ticket for another machine and show it, this once."""
        fields = await read_form()
        wanted: dict[str, Any] = {"ttlMs": WAITS.get(fields.get("wait", ""), HOUR)}
        if agent := fields.get("agent", "").strip():
            wanted["agentId"] = agent
        return await show(ticket=await service.write(tokens.invite, as_request(wanted, TicketRequest)))
