"""Leases by name, parked threads, and what a person does about a message: retract, redrive, explain."""

from typing import Annotated

import msgspec
from quart import Blueprint

from trio_relay.core.access import Scope
from trio_relay.core.model import Authority
from trio_relay.core.wire import AgentId, Message, Wire
from trio_relay.core.wire_rooms import (
    Explanation,
    Lease,
    LeaseChange,
    LeaseKey,
    LeaseRequest,
    ParkedThread,
    RetractRequest,
    Withdrawal,
)
from trio_relay.relay.credentials import caller
from trio_relay.relay.operations import explain, freshness, leases, messages, resources, threads
from trio_relay.relay.service import RelayService
from trio_relay.relay.web.api import api
from trio_relay.relay.web.messages import known_id


class LeaseFilter(Wire, kw_only=True):
    """Query of ``GET /leases``: by holder, or by what collides with a key."""

    holder: AgentId | None = None
    key: LeaseKey | None = None


class ThreadQuery(Wire, kw_only=True):
    """Query of ``GET /threads``."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100


def rooms_blueprint(service: RelayService) -> Blueprint:
    """The routes of leases, threads and a message's fate."""
    routes = Blueprint("rooms", __name__, url_prefix="/api")

    @routes.post("/leases")
    @api(body=LeaseRequest, responses={201: Lease}, scopes=(Scope.CLAIM,), actor="body.holder")
    async def acquire_lease(body: LeaseRequest) -> tuple[Lease, int]:
        """Take a named resource under a lease; globs that could cover one thing collide."""
        return await service.write(resources.acquire, body), 201

    @routes.get("/leases")
    @api(query=LeaseFilter, responses={200: list[Lease]}, scopes=())
    async def list_leases(query: LeaseFilter) -> list[Lease]:
        """List the resource leases that are held."""
        return await service.read(resources.held, holder=query.holder, key=query.key)

    @routes.post("/leases/renew")
    @api(body=LeaseChange, responses={200: Lease}, scopes=(Scope.CLAIM,), actor="body.holder")
    async def renew_lease(body: LeaseChange) -> Lease:
        """Renew a resource lease before it runs out."""
        return await service.write(resources.renew, body)

    @routes.post("/leases/release")
    @api(body=LeaseChange, responses={200: Lease}, scopes=(Scope.CLAIM,), actor="body.holder")
    async def release_lease(body: LeaseChange) -> Lease:
        """Give a resource lease back."""
        return await service.write(resources.release, body)

    @routes.post("/leases/complete")
    @api(body=LeaseChange, responses={200: Lease}, scopes=(Scope.CLAIM,), actor="body.holder")
    async def complete_lease(body: LeaseChange) -> Lease:
        """Give a resource lease back with a result."""
        return await service.write(resources.complete, body)

    @routes.get("/threads")
    @api(query=ThreadQuery, responses={200: list[ParkedThread]}, scopes=(Scope.OBSERVE,))
    async def list_parked_threads(query: ThreadQuery) -> list[ParkedThread]:
        """List the threads that wait for a person."""
        return await service.read(threads.parked, query.limit)

    @routes.post("/threads/<int:thread_id>/resume")
    @api(responses={200: ParkedThread}, scopes=())
    async def resume_thread(thread_id: int) -> ParkedThread:
        """Let a parked thread go on; what was held in it is delivered."""
        check_may_decide()
        return await service.write(messages.resume_thread, known_id(thread_id))

    @routes.post("/messages/<int:message_id>/retract")
    @api(
        body=RetractRequest,
        optional_body=True,
        responses={200: Withdrawal},
        scopes=(Scope.SEND,),
        actor="body.sender",
    )
    async def retract(message_id: int, body: RetractRequest) -> Withdrawal:
        """Withdraw a message from whoever does not have it yet."""
        return await service.write(freshness.retract, known_id(message_id), body)

    @routes.post("/messages/<int:message_id>/redrive")
    @api(responses={200: Message}, scopes=())
    async def redrive(message_id: int) -> Message:
        """Give a dead letter another life."""
        check_may_decide()
        return await service.write(leases.redrive, known_id(message_id))

    @routes.get("/messages/<int:message_id>/explain")
    @api(responses={200: Explanation}, scopes=(Scope.SEND, Scope.RECEIVE, Scope.OBSERVE))
    async def explain_message(message_id: int) -> Explanation:
        """Explain what happened to a message, and why it is not there yet."""
        return await service.read(explain.explain, known_id(message_id))

    return routes


def check_may_decide() -> None:
    """Let a person decide, or whoever administers the relay.

    Raises:
        Refused: code ``scope_missing``.

    """
    principal = caller.get()
    if principal.authority is not Authority.HUMAN:
        principal.check_scope(Scope.ADMIN)
