"""Which replies a finished turn owes: decided here, posted by the outbox.

A turn's final message answers everything it had in context: one reply for each sender and conversation, to the last
of its messages. Acknowledgements and the relay's own notices are never answered, and neither is anything when the
model said it had nothing to say, nor what the model has answered itself, by a tool: with a message those before it of
the same sender and conversation.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from trio_relay.codex.protocol import TurnEnded
from trio_relay.core.model import SILENT_TYPES, SYSTEM
from trio_relay.core.prompts import NO_REPLY
from trio_relay.core.wire import InboxMessage, SendRequest


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply to post, the message it replies to, and the others it answers at the same time."""

    message: InboxMessage
    request: SendRequest
    also_answers: tuple[InboxMessage, ...]


def replies_owed(
    messages: Iterable[InboxMessage], ended: TurnEnded, agent_id: str, answered: Collection[int] = ()
) -> list[Reply]:
    """Work out the replies for `messages` (oldest first) of a turn that is over; `answered` are ids that have one.

    Each carries an idempotency key made of turn and message, so that posting it again after a crash adds nothing.
    """
    text = (ended.final_text or "").strip()
    if ended.status != "completed" or not text or text == NO_REPLY:
        return []
    groups: dict[tuple[str, int], list[InboxMessage]] = {}
    for message in messages:
        group = groups.setdefault((message.sender, message.thread_id), [])
        if message.id in answered:
            group.clear()
        elif message.type not in SILENT_TYPES and message.sender != SYSTEM:
            group.append(message)
    return [
        Reply(
            group[-1],
            SendRequest(
                sender=agent_id,
                to=sender,
                body=text,
                reply_to=group[-1].id,
                type="reply",
                idempotency_key=f"relay-reply:{ended.turn_id}:{group[-1].id}",
                allow_unknown=True,
            ),
            tuple(group[:-1]),
        )
        for (sender, _), group in groups.items()
        if group
    ]
