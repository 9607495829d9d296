"""Messages as the relay would hand them out, with only what a test cares about to write down."""

from typing import Any

from trio_relay.core.model import Rung
from trio_relay.core.wire import InboxMessage


def inbox_message(
    number: int = 1,
    *,
    sender: str = "alice",
    to: str = "bob",
    body: str = "hello",
    thread: int | None = None,
    claimable: bool = False,
    type: str = "message",  # noqa: A002  # the field's own name
    state: Rung = Rung.QUEUED,
    created_at: int = 1_780_000_000_000,
    **fields: Any,
) -> InboxMessage:
    meta: dict[str, Any] = {
        key: fields.pop(key) for key in ("delivery", "priority", "pairId") if key in fields
    }
    defaults: dict[str, Any] = {"channel": None, "subject": None, "reply_to": None, "hop": 0, "attempts": 0}
    root = number if thread is None else thread
    return InboxMessage(
        id=number,
        inbox_seq=number,
        sender=sender,
        to=to,
        body=body,
        thread_id=root,
        root_id=root,
        claimable=claimable,
        type=type,
        state=state,
        created_at=created_at,
        meta=meta,
        **(defaults | fields),
    )
