"""``/api/messages``: sending, reading, receipts, claims."""

from typing import Annotated

import msgspec
from quart import Blueprint, request

from trio_relay.core.access import Scope
from trio_relay.core.model import Rung
from trio_relay.core.wire import (
    AgentId,
    ClaimedMessage,
    ClaimRequest,
    Cursor,
    InboxMessage,
    Message,
    Name,
    ReadMark,
    Receipt,
    ReceiptReport,
    SendRequest,
    SentMessage,
    Wire,
)
from trio_relay.errors import FieldError, Invalid
from trio_relay.relay.credentials import caller
from trio_relay.relay.operations import leases, messages, messages_read, receipts
from trio_relay.relay.service import RelayService
from trio_relay.relay.web.api import api

Count = Annotated[int, msgspec.Meta(ge=0)]
Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
IDEMPOTENCY_KEY = ("Idempotency-Key", "The same as `idempotencyKey` in the body; 1 to 200 characters.")


class MessageQuery(Wire, kw_only=True):
    """Query of ``GET /messages``: with `for` an inbox, without it the history.

    `q`: full text. `state=dead` without `for`: the dead letters. `wait`: answer the moment something is in the inbox, or after so many seconds (at most 60).
    `watch`: ids of messages the caller has in hand, comma separated; those that were withdrawn, have expired or have ended are answered as well.
    """

    inbox_of: AgentId | None = msgspec.field(default=None, name="for")
    unread: bool = False
    since_id: Id | None = None
    after_seq: Id | None = None
    state: Rung | None = None
    wait: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.0
    sender: AgentId | None = msgspec.field(default=None, name="from")
    to: AgentId | None = None
    channel: Name | None = None
    thread: Id | None = None
    before: Id | None = None
    q: Annotated[str, msgspec.Meta(max_length=500)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    watch: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,18}(,[0-9]{1,18})*$", max_length=2000)] | None = (
        None
    )


def messages_blueprint(service: RelayService) -> Blueprint:
    """The routes of ``/api/messages``."""
    routes = Blueprint("messages", __name__, url_prefix="/api/messages")

    @routes.post("")
    @api(
        body=SendRequest,
        responses={201: SentMessage, 200: SentMessage},
        headers=(IDEMPOTENCY_KEY,),
        scopes=(Scope.SEND,),
        actor="body.sender",
    )
    async def send(body: SendRequest) -> tuple[SentMessage, int]:
        """Send a message; 200 instead of 201 when the idempotency key was known."""
        header = request.headers.get("Idempotency-Key")
        if header is not None and body.idempotency_key is None:
            if not 1 <= len(header) <= 200:
                expected = FieldError("Idempotency-Key", "expected 1 to 200 characters")
                raise Invalid("the Idempotency-Key header is not usable", fields=(expected,))
            body.idempotency_key = header
        message, new = await service.write(messages.send, body)
        return message, 201 if new else 200

    @routes.get("")
    @api(
        query=MessageQuery,
        responses={200: list[InboxMessage] | list[Message]},
        scopes=(Scope.RECEIVE, Scope.OBSERVE),
    )
    async def read(query: MessageQuery) -> list[InboxMessage] | list[Message]:
        """Read an inbox (`for`), or browse the history."""
        check_reader(query.inbox_of)
        if query.inbox_of is None and query.q is not None:
            return await service.read(messages_read.search, query.q, limit=query.limit, before=query.before)
        if query.inbox_of is None and query.state is not None:
            if query.state is not Rung.DEAD:
                raise Invalid(
                    "without `for` only dead letters can be listed",
                    fields=(FieldError("state", "expected dead"),),
                )
            return await service.read(messages_read.dead_letters, limit=query.limit, before=query.before)
        if query.inbox_of is None:
            return await service.read(
                messages_read.browse,
                sender=query.sender,
                to=query.to,
                channel=query.channel,
                thread_id=query.thread,
                limit=query.limit,
                before=query.before,
            )
        return await service.inbox(
            query.inbox_of,
            unread=query.unread,
            since_id=query.since_id,
            after_seq=query.after_seq,
            state=query.state,
            limit=query.limit,
            wait=query.wait,
            watch=[int(number) for number in query.watch.split(",")] if query.watch is not None else (),
        )

    @routes.get("/cursor")
    @api(responses={200: Cursor}, scopes=())
    async def cursor() -> Cursor:
        """Read the newest message id and arrival number."""
        return await service.read(messages_read.cursor)

    @routes.get("/<int:message_id>")
    @api(responses={200: Message}, scopes=(Scope.RECEIVE, Scope.OBSERVE))
    async def get_message(message_id: int) -> Message:
        """Read one message."""
        return await service.read(messages_read.get_message, known_id(message_id))

    @routes.get("/<int:message_id>/thread")
    @api(responses={200: list[Message]}, scopes=(Scope.RECEIVE, Scope.OBSERVE))
    async def thread(message_id: int) -> list[Message]:
        """Read the whole reply chain of a message, oldest first."""
        return await service.read(messages_read.thread, known_id(message_id))

    @routes.patch("/<int:message_id>")
    @api(body=ReadMark, responses={200: Message}, scopes=(Scope.RECEIVE,), actor="body.read_by")
    async def mark_read(message_id: int, body: ReadMark) -> Message:
        """Mark a message read for one recipient."""
        return await service.write(messages.mark_read, known_id(message_id), body)

    @routes.delete("/<int:message_id>")
    @api(responses={200: dict[str, bool]}, scopes=(Scope.ADMIN,))
    async def delete_message(message_id: int) -> dict[str, bool]:
        """Remove a message from history."""
        await service.write(messages.delete, known_id(message_id))
        return {"ok": True}

    @routes.get("/<int:message_id>/receipts")
    @api(responses={200: list[Receipt]}, scopes=(Scope.SEND, Scope.RECEIVE, Scope.OBSERVE))
    async def read_receipts(message_id: int) -> list[Receipt]:
        """Read the delivery ladder of every recipient."""
        return await service.read(receipts.receipts, known_id(message_id))

    @routes.post("/<int:message_id>/receipts")
    @api(body=ReceiptReport, responses={200: Receipt}, scopes=(Scope.RECEIVE,), actor="body.agent_id")
    async def report(message_id: int, body: ReceiptReport) -> Receipt:
        """Report a rung that a recipient's program has seen."""
        return await service.write(receipts.report, known_id(message_id), body)

    @routes.post("/<int:message_id>/claim")
    @api(body=ClaimRequest, responses={200: ClaimedMessage}, scopes=(Scope.CLAIM,), actor="body.agent_id")
    async def claim(message_id: int, body: ClaimRequest) -> ClaimedMessage:
        """Claim a claimable message under a lease."""
        return await service.write(leases.claim, known_id(message_id), body)

    @routes.post("/<int:message_id>/claim/renew")
    @api(body=ClaimRequest, responses={200: ClaimedMessage}, scopes=(Scope.CLAIM,), actor="body.agent_id")
    async def renew(message_id: int, body: ClaimRequest) -> ClaimedMessage:
        """Renew a claim before its lease runs out."""
        return await service.write(leases.renew, known_id(message_id), body)

    @routes.post("/<int:message_id>/claim/release")
    @api(body=ClaimRequest, responses={200: Message}, scopes=(Scope.CLAIM,), actor="body.agent_id")
    async def release(message_id: int, body: ClaimRequest) -> Message:
        """Give a claim back; the others hear of the message again."""
        return await service.write(leases.release, known_id(message_id), body)

    @routes.post("/<int:message_id>/claim/complete")
    @api(body=ClaimRequest, responses={200: Message}, scopes=(Scope.CLAIM,), actor="body.agent_id")
    async def complete(message_id: int, body: ClaimRequest) -> Message:
        """Complete the claimed work."""
        return await service.write(leases.complete, known_id(message_id), body)

    return routes


def check_reader(inbox_of: str | None) -> None:
    """Let a caller read its own inbox; everybody else's, and the history, takes the scope to observe.

    Raises:
        Refused: codes ``scope_missing``, ``not_your_agent``.

    """
    principal = caller.get()
    if principal.allows(Scope.OBSERVE):
        return
    if inbox_of is None:
        principal.check_scope(Scope.OBSERVE)
    principal.check_actor(inbox_of, "for")


def known_id(message_id: int) -> int:
    """Bring an id from a path into the range the store can look up; what lies beyond exists as little as 0 does."""
    return message_id if message_id < 2**63 else 0
