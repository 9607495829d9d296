"""``/api/tokens``, ``/api/tickets``, ``/api/join``: credentials for single agents and other machines."""

from quart import Blueprint

from trio_relay.core.access import Scope
from trio_relay.core.wire_access import (
    Caller,
    JoinRequest,
    MintedToken,
    Ticket,
    TicketRequest,
    Token,
    TokenBinding,
    TokenRequest,
)
from trio_relay.relay.credentials import caller
from trio_relay.relay.operations import tokens
from trio_relay.relay.service import RelayService
from trio_relay.relay.web.api import api
from trio_relay.relay.web.messages import known_id


def tokens_blueprint(service: RelayService) -> Blueprint:
    """The routes of credentials."""
    routes = Blueprint("tokens", __name__, url_prefix="/api")

    @routes.get("/whoami")
    @api(responses={200: Caller}, scopes=())
    async def whoami() -> Caller:
        """Tell the caller what the relay takes it for."""
        principal = caller.get()
        return Caller(
            name=principal.name,
            agent_id=principal.agent_id,
            scopes=sorted(principal.scopes),
            authority=principal.authority,
        )

    @routes.post("/tokens")
    @api(body=TokenRequest, responses={201: MintedToken}, scopes=(Scope.ADMIN,))
    async def mint_token(body: TokenRequest) -> tuple[MintedToken, int]:
        """Mint a token; it is shown this once."""
        return await service.write(tokens.mint, body), 201

    @routes.get("/tokens")
    @api(responses={200: list[Token]}, scopes=(Scope.ADMIN,))
    async def list_tokens() -> list[Token]:
        """List the tokens, without their secrets."""
        return await service.read(tokens.list_tokens)

    @routes.post("/tokens/<int:token_id>/bind")
    @api(body=TokenBinding, responses={200: Token}, scopes=(Scope.ADMIN,))
    async def bind_token(token_id: int, body: TokenBinding) -> Token:
        """Bind a token that is not bound yet to an agent."""
        token = await service.write(tokens.bind, known_id(token_id), body.agent_id)
        service.credentials.forget()
        return token

    @routes.delete("/tokens/<int:token_id>")
    @api(responses={200: Token}, scopes=(Scope.ADMIN,))
    async def revoke_token(token_id: int) -> Token:
        """Revoke a token; it counts no more from now on."""
        token = await service.write(tokens.revoke, known_id(token_id))
        service.credentials.forget()
        return token

    @routes.post("/tickets")
    @api(body=TicketRequest, optional_body=True, responses={201: Ticket}, scopes=(Scope.ADMIN,))
    async def make_ticket(body: TicketRequest) -> tuple[Ticket, int]:
        """Make a single-use ticket with which another machine can join."""
        return await service.write(tokens.invite, body), 201

    @routes.post("/join")
    @api(body=JoinRequest, responses={201: MintedToken}, scopes=())
    async def join(body: JoinRequest) -> tuple[MintedToken, int]:
        """Trade a ticket for a token; the ticket itself is the credential."""
        return await service.write(tokens.join, body), 201

    return routes
