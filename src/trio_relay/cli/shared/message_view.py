"""Messages as people read them on a terminal."""

from collections.abc import Sequence

from trio_relay.cli.shared.terminal import local_time, printable, printable_text
from trio_relay.core.wire import InboxMessage, Message

#: Characters of a body in a list.
EXCERPT = 60


def as_text(message: Message) -> str:
    """Write one message in full."""
    facts = [f"to {printable(message.to)}"]
    if message.reply_to is not None:
        facts.append(f"answers {message.reply_to}")
    if message.claimable:
        facts.append(f"claimed by {printable(message.claimed_by)}" if message.claimed_by else "claimable")
    if message.channel is not None:
        facts.append(f"channel {printable(message.channel)}")
    if message.withdrawn is not None:
        facts.append(f"withdrawn: {printable(message.withdrawn)}")
    if isinstance(message, InboxMessage) and message.read_at is not None:
        facts.append("read")
    header = (
        f"[{message.id}] {local_time(message.created_at)}  {printable(message.sender)}  ({', '.join(facts)})"
    )
    subject = [f"  Subject: {printable(message.subject)}"] if message.subject else []
    body = [f"  {line}" for line in printable_text(message.body).split("\n")]
    return "\n".join([header, *subject, *body])


def conversation(messages: Sequence[Message]) -> str:
    """Write several messages in full, a blank line between two."""
    return "\n\n".join(as_text(each) for each in messages)


def excerpt(text: str) -> str:
    """Give the beginning of a text, as one line."""
    words = " ".join(text.split())
    return words if len(words) <= EXCERPT else words[: EXCERPT - 1] + "…"


def in_a_line(message: Message) -> str:
    """Write the beginning of a message in one line."""
    return (
        f"[{message.id}] {local_time(message.created_at)}  {printable(message.sender)} → "
        f"{printable(message.to)}: {printable(excerpt(message.subject or message.body))}"
    )
