"""``/api/pairs``: two agents that work together."""

from typing import Annotated

import msgspec
from quart import Blueprint

from trio_relay.core.access import Scope
from trio_relay.core.wire import AgentId, SentMessage, Wire
from trio_relay.core.wire_pairs import InvitedPair, Pair, PairAnswer, PairInvite, PairMessage
from trio_relay.relay.credentials import caller
from trio_relay.relay.operations import pairs
from trio_relay.relay.service import RelayService
from trio_relay.relay.web.api import api
from trio_relay.relay.web.messages import Id, known_id


class PairQuery(Wire, kw_only=True):
    """Query of ``GET /pairs``: those an agent is or was in, or all; newest first."""

    agent: AgentId | None = None
    before: Id | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100


def pairs_blueprint(service: RelayService) -> Blueprint:
    """The routes of ``/api/pairs``."""
    routes = Blueprint("pairs", __name__, url_prefix="/api/pairs")
    invite_ttl = round(service.settings.pair_invite_ttl * 1000)

    @routes.post("")
    @api(body=PairInvite, responses={201: InvitedPair}, scopes=(Scope.SEND,), actor="body.sender")
    async def invite(body: PairInvite) -> tuple[InvitedPair, int]:
        """Invite an agent to work as a pair."""
        return await service.write(pairs.invite, body, ttl_ms=invite_ttl), 201

    @routes.get("")
    @api(query=PairQuery, responses={200: list[Pair]}, scopes=(Scope.OBSERVE, Scope.RECEIVE))
    async def list_pairs(query: PairQuery) -> list[Pair]:
        """List pairs, newest first."""
        principal = caller.get()
        if not principal.allows(Scope.OBSERVE):
            principal.check_actor(query.agent, "agent")
        return await service.read(pairs.list_pairs, **msgspec.structs.asdict(query))

    @routes.get("/<int:pair_id>")
    @api(responses={200: Pair}, scopes=(Scope.OBSERVE, Scope.RECEIVE))
    async def get_pair(pair_id: int) -> Pair:
        """Read one pair."""
        pair = await service.read(pairs.get_pair, known_id(pair_id))
        principal = caller.get()
        if not principal.allows(Scope.OBSERVE) and principal.agent_id not in (pair.inviter, pair.invitee):
            principal.check_scope(Scope.OBSERVE)
        return pair

    @routes.post("/<int:pair_id>/accept")
    @api(body=PairAnswer, responses={200: Pair}, scopes=(Scope.SEND,), actor="body.agent_id")
    async def accept(pair_id: int, body: PairAnswer) -> Pair:
        """Accept an invitation."""
        return await service.write(pairs.accept, known_id(pair_id), body)

    @routes.post("/<int:pair_id>/reject")
    @api(body=PairAnswer, responses={200: Pair}, scopes=(Scope.SEND,), actor="body.agent_id")
    async def reject(pair_id: int, body: PairAnswer) -> Pair:
        """Decline an invitation."""
        return await service.write(pairs.reject, known_id(pair_id), body)

    @routes.post("/<int:pair_id>/hangup")
    @api(body=PairAnswer, responses={200: Pair}, scopes=(Scope.SEND,), actor="body.agent_id")
    async def hang_up(pair_id: int, body: PairAnswer) -> Pair:
        """End a pair, or take an invitation back."""
        return await service.write(pairs.hang_up, known_id(pair_id), body)

    @routes.post("/<int:pair_id>/messages")
    @api(
        body=PairMessage,
        responses={201: SentMessage, 200: SentMessage},
        scopes=(Scope.SEND,),
        actor="body.sender",
    )
    async def write(pair_id: int, body: PairMessage) -> tuple[SentMessage, int]:
        """Send a message to the other member of a pair."""
        message, new = await service.write(pairs.write, known_id(pair_id), body)
        return message, 201 if new else 200

    return routes
