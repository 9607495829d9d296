"""What goes into the thread together, how, and under which id.

A message that is claimable, urgent or names a way of delivery travels alone; the others waiting at one moment
travel together, oldest first. Messages of one conversation keep their order: nothing overtakes an earlier message
of its own thread. An urgent message goes before other threads' messages.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import TypeVar

from trio_relay.core.model import CANARY, Delivery
from trio_relay.core.wire import Message

#: Codex takes 1,048,576 characters in one input; escaping makes one character at most nine.
MAX_BATCH_CHARS = 100_000
MAX_BATCH_MESSAGES = 50

_PREFIX = "relay:"

M = TypeVar("M", bound=Message)


def client_id(message_ids: Iterable[int]) -> str:
    """Make the ``clientUserMessageId`` of a delivery: the same for the same messages, at every attempt."""
    return _PREFIX + ",".join(str(number) for number in message_ids)


def message_ids(client: str | None) -> tuple[int, ...]:
    """Read the messages a client id stands for; empty for an id that is not ours."""
    if client is None or not client.startswith(_PREFIX):
        return ()
    parts = client.removeprefix(_PREFIX).split(",")
    if not all(part.isascii() and part.isdigit() for part in parts):
        return ()
    return tuple(int(part) for part in parts)


def asked_delivery(message: Message) -> Delivery | None:
    """Read the way of delivery the sender named, if it is one we know."""
    wanted = message.meta.get("delivery")
    return Delivery(wanted) if isinstance(wanted, str) and wanted in set(Delivery) else None


def is_urgent(message: Message) -> bool:
    """Say whether the sender called it urgent."""
    return message.meta.get("priority") == "urgent"


def travels_alone(message: Message) -> bool:
    """Say whether a message is delivered by itself."""
    return (
        message.claimable
        or message.type == CANARY
        or is_urgent(message)
        or asked_delivery(message) is not None
    )


def choose_mode(batch: Sequence[Message], *, active: bool) -> Delivery:
    """Choose the way into the thread; `active` says whether a turn is running.

    What the sender named counts, else urgent interrupts. Both only mean something against a running turn: an idle
    thread is always started.
    """
    if not active:
        return Delivery.START
    first = batch[0]
    return asked_delivery(first) or (Delivery.INTERRUPT if is_urgent(first) else Delivery.STEER)


def next_batch(waiting: Sequence[M], *, active: bool, held: Collection[int] = ()) -> tuple[M, ...]:
    """Pick what goes next out of `waiting` (oldest first); empty when everything has to wait.

    `held` are conversations (thread ids) that must wait as a whole. A message that asks for a turn of its own
    (``start``) waits until the thread is idle, because Codex folds a ``turn/start`` into a running turn; what
    follows in its conversation waits with it.
    """
    behind = set(held)  # conversations with an earlier message that has not gone yet
    batch: list[M] = []
    chosen = full = False
    room = MAX_BATCH_CHARS
    for message in waiting:
        if message.thread_id in behind:
            continue
        if is_urgent(message) and all(one.thread_id != message.thread_id for one in batch):
            return (message,)
        if travels_alone(message):
            behind.add(message.thread_id)
            blocked = active and asked_delivery(message) is Delivery.START
            if not (chosen or batch or blocked):
                batch, chosen = [message], True
            continue
        full = full or len(batch) == MAX_BATCH_MESSAGES or (bool(batch) and len(message.body) > room)
        if chosen or full:
            behind.add(message.thread_id)
        else:
            batch.append(message)
            room -= len(message.body)
    return tuple(batch)
