"""Conversations as resources: what a person at an MCP client can put before the model by itself.

``relay://thread/ID`` is a conversation, ``relay://message/ID`` one message in full. Reading changes nothing, and who
reads is told from the credential or the session, as with the tools.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from trio_relay.client.http import RelayClient
from trio_relay.core.prompts import envelope, fenced, plain
from trio_relay.core.wire import Message
from trio_relay.errors import Invalid, Refused, RelayError
from trio_relay.mcp.speaker import Origin, speaker_of

#: Conversations listed, and how many of the caller's newest messages are looked at for them.
LISTED = 20
LOOKED_AT = 100
#: Arrivals in the whole room, back from the last one, among which a caller's own are looked for.
LOOKED_BACK = 5_000
#: Characters of one resource. Claude Code 2.1 warns of more than 10,000 tokens of a tool's or resource's text.
LONGEST = 30_000
#: Characters of a title.
TITLE = 80
_URI = re.compile(r"relay://(thread|message)/([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Shelf:
    """A conversation as it is listed."""

    uri: str
    title: str
    description: str


@dataclass(frozen=True, slots=True)
class Template:
    """A kind of resource."""

    uri: str
    name: str
    description: str


TEMPLATES = (
    Template("relay://thread/{id}", "thread", "A conversation in the room, by the id of its first message."),
    Template("relay://message/{id}", "message", "One message in full."),
)


async def conversations(relay: RelayClient, origin: Origin) -> list[Shelf]:
    """The conversations the caller has lately written in or been written to, newest first; none for nobody."""
    try:
        reader = (await speaker_of(relay, origin, mailbox=False)).agent_id
    except RelayError:
        return []
    newest: dict[int, Message] = {}
    for message in sorted(await _lately(relay, reader), key=lambda each: each.id, reverse=True):
        newest.setdefault(message.thread_id, message)
    return [_shelf(message, reader) for message in list(newest.values())[:LISTED]]


async def _lately(relay: RelayClient, reader: str) -> list[Message]:
    """What the caller has written and was sent; without the right to observe, what lies in its own inbox."""
    try:
        written = await relay.browse(**{"from": reader, "limit": LOOKED_AT})
        return [*written, *await relay.browse(to=reader, limit=LOOKED_AT)]
    except Refused:
        begin = max((await relay.cursor()).latest_seq - LOOKED_BACK, 0)
        return list(await relay.inbox(reader, unread=False, after_seq=begin, limit=1000))


async def read(relay: RelayClient, origin: Origin, uri: str, nonce: Callable[[], str]) -> str:
    """Read a resource: each message with its envelope, its text in a fence.

    Raises:
        Invalid: it is no URI of ours (``unknown_resource``).
        NotFound: there is no such message.

    """
    match = _URI.fullmatch(uri)
    if match is None:
        raise Invalid("expected relay://thread/ID or relay://message/ID", code="unknown_resource")
    try:
        reader = (await speaker_of(relay, origin, mailbox=False)).agent_id
    except RelayError:
        reader = ""  # reading takes the right to see a message, not a name
    kind, number = match[1], int(match[2])
    messages = await relay.thread(number) if kind == "thread" else [await relay.message(number)]
    shown: list[str] = []
    room = LONGEST
    for message in reversed(messages):
        text = _shown(message, reader, room, nonce())
        if shown and len(text) > room:
            break
        room -= len(text)
        shown.append(text)
    left_out = len(messages) - len(shown)
    head = [f"Earlier messages left out: {left_out}, from {messages[0].id} to {messages[left_out - 1].id}."]
    return "\n".join([*(head if left_out else ()), *reversed(shown)])


def _shown(message: Message, reader: str, room: int, nonce: str) -> str:
    body = message.body[: max(room, 0)]
    more = len(message.body) - len(body)
    rest = f"\n{more} more characters: read_message {message.id} with offset {len(body)}" if more else ""
    return f"{envelope(message, reader)}\n{fenced(body, nonce)}{rest}"


def _shelf(message: Message, reader: str) -> Shelf:
    with_whom = message.to if message.sender == reader else message.sender
    about = message.subject or message.body[: TITLE * 2].strip().partition("\n")[0]
    title = plain(f"{with_whom}: {about}").replace("\n", " ")
    return Shelf(
        f"relay://thread/{message.thread_id}",
        title if len(title) <= TITLE else f"{title[: TITLE - 1]}…",
        f"Conversation {message.thread_id}, newest message {message.id}.",
    )
