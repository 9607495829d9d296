"""Sending one message, safely: a key made before the first attempt makes every further one harmless."""

import uuid
from typing import Any

import anyio
import msgspec

from trio_relay.client.http import RelayClient
from trio_relay.core.wire import SendRequest, SentMessage
from trio_relay.errors import ConnectionLost, FieldError, Invalid

#: What a field of a message may be.
Field = Any
#: Pauses between the attempts to send when the relay does not answer, seconds; after the last it is away.
_ATTEMPTS = (0.5, 1.5)
_FIELDS = {field.name for field in msgspec.structs.fields(SendRequest)} - {"sender", "to", "body"}


def message_of(sender: str, to: str, body: str, fields: dict[str, Field]) -> SendRequest:
    """Make a message, with a key of its own unless it has one.

    Raises:
        Invalid: a field that no message has, or one that cannot be meant.

    """
    unknown = sorted(fields.keys() - _FIELDS)
    if unknown:
        expected = FieldError(unknown[0], f"expected one of {', '.join(sorted(_FIELDS))}")
        raise Invalid(f"a message has no {unknown[0]}", fields=(expected,))
    given = {name: value for name, value in fields.items() if value is not None}
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
