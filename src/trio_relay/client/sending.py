"""Sending one message, safely: a key made before the first attempt makes every further one harmless."""

import uuid
from typing import Any, TypedDict

import anyio
import msgspec

from trio_relay.client.http import RelayClient
from trio_relay.core.wire import SendRequest, SentMessage
from trio_relay.errors import ConnectionLost, FieldError, Invalid


class MessageFields(TypedDict, total=False):
    """What a message may carry beside sender, target and body; what each means stands in `SendRequest`."""

    subject: str | None
    channel: str | None
    reply_to: int | None
    claimable: bool
    type: str | None
    meta: dict[str, Any]
    idempotency_key: str | None
    allow_unknown: bool
    ttl_ms: int | None
    supersedes: int | None
    collapse_key: str | None


class EventFields(TypedDict, total=False):
    """What an integration's event may carry beside its title; what each means stands in `IntegrationEvent`."""

    type: str
    severity: str
    dedupe_key: str | None
    body: str
    target: str | None
    channel: str | None
    external_url: str | None
    metadata: dict[str, Any]
    status: str | None


#: Pauses between the attempts to send when the relay does not answer, seconds; after the last it is away.
_ATTEMPTS = (0.5, 1.5)
_FIELDS = frozenset(MessageFields.__annotations__)


def message_of(sender: str, to: str, body: str, fields: MessageFields) -> SendRequest:
    """Make a message, with a key of its own unless it has one.

    Raises:
        Invalid: a field that no message has, or one that cannot be meant.

    """
    unknown = sorted(fields.keys() - _FIELDS)
    if unknown:
        expected = FieldError(unknown[0], f"expected one of {', '.join(sorted(_FIELDS))}")
        raise Invalid(f"a message has no {unknown[0]}", fields=(expected,))
    given: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    request = SendRequest(sender=sender, to=to, body=body, **{"idempotency_key": uuid.uuid4().hex, **given})
    try:
        return msgspec.convert(msgspec.to_builtins(request), SendRequest)
    except msgspec.ValidationError as error:
        raise Invalid(f"this is no message: {error}") from None


async def deliver(relay: RelayClient, request: SendRequest) -> SentMessage:
    """Send a message; when this returns it is durable.

    Raises:
        ConnectionLost: the relay does not answer. Whether it has the message is not known: with the same key again it
            is sent once.

    """
    pauses = iter(_ATTEMPTS)
    while True:
        try:
            return await relay.send(request)
        except ConnectionLost:
            pause = next(pauses, None)
            if pause is None:
                raise
            await anyio.sleep(pause)
