"""What goes into the thread together, how, and under which id.

A message that is claimable, urgent or names a way of delivery travels alone; the others waiting at one moment
travel together, oldest first. Messages of one conversation keep their order: nothing overtakes an earlier message
of its own thread. An urgent message goes before other threads' messages.

``fyi`` and ``digest`` are left out of that order: they may be overtaken and hold up nobody. Both wait for an idle
thread. A digest goes along with whatever begins a turn anyway, else with its kind once their window is over.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from trio_relay.core.model import CANARY, Authority, Delivery
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
        or asked_delivery(message) not in {None, Delivery.DIGEST}
    )


def keeps_order(message: Message) -> bool:
    """Say whether a message has its place in its conversation, so that what comes later waits for it."""
    return asked_delivery(message) not in {Delivery.FYI, Delivery.DIGEST}


def waits_for_idle(batch: Iterable[Message], *, has_queue: bool) -> bool:
    """Say whether a batch has to wait with us while a turn runs. `has_queue`: whether Codex has one to wait in."""
    patient = {Delivery.FYI, Delivery.DIGEST, Delivery.START} | (set() if has_queue else {Delivery.IDLE})
    return all(asked_delivery(message) in patient for message in batch)


#: Whose messages may stop a running turn, unless an agent says otherwise.
MAY_INTERRUPT = frozenset({Authority.HUMAN, Authority.OPERATOR})


def choose_mode(
    batch: Sequence[Message],
    *,
    active: bool,
    has_queue: bool = True,
    may_interrupt: Collection[str] = MAY_INTERRUPT,
) -> Delivery:
    """Choose the way into the thread; `active` says whether a turn is running.

    What the sender named counts, else urgent interrupts. Against an idle thread both mean a turn at once, as does
    everything that waited for it. `may_interrupt` are the authorities whose interrupts are obeyed; the others steer.
    """
    asked = next(
        (mode for one in batch if (mode := asked_delivery(one)) is not Delivery.DIGEST), Delivery.DIGEST
    )
    if asked is Delivery.FYI or (asked is Delivery.IDLE and has_queue):
        return asked
    if not active:
        return Delivery.DIGEST if asked is Delivery.DIGEST else Delivery.START
    if wants_interrupt(batch):
        return Delivery.INTERRUPT if batch[0].authority in may_interrupt else Delivery.STEER
    return asked or Delivery.STEER


def wants_interrupt(batch: Sequence[Message]) -> bool:
    """Say whether a batch asks to stop the running turn."""
    asked = asked_delivery(batch[0])
    return asked is Delivery.INTERRUPT or (asked is None and is_urgent(batch[0]))


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand when the next batch is picked.

    `active`: a turn runs. `held`: conversations (thread ids) that must wait as a whole. `queued`: those with something
    in Codex's queue, which only what goes there as well may follow. `has_queue`: whether Codex has one. `digests_due`:
    whether the window of what gathers is over.
    """

    active: bool
    held: Collection[int] = ()
    queued: Collection[int] = ()
    has_queue: bool = True
    digests_due: bool = False


def next_batch(waiting: Sequence[M], standing: Standing) -> tuple[M, ...]:
    """Pick what goes next out of `waiting` (oldest first); empty when everything has to wait.

    A message that asks for a turn of its own (``start``) waits until the thread is idle, because Codex folds a
    ``turn/start`` into a running turn; what follows in its conversation waits with it.
    """
    if not standing.active:
        for message in waiting:
            if asked_delivery(message) is Delivery.FYI:
                return (message,)
    batch = _next_in_order([message for message in waiting if keeps_order(message)], standing)
    if standing.active or (batch and travels_alone(batch[0])) or not (batch or standing.digests_due):
        return batch
    chosen = {message.id for message in (*batch, *_gathered(waiting, batch))}
    return tuple(message for message in waiting if message.id in chosen)


def _next_in_order(waiting: Sequence[M], standing: Standing) -> tuple[M, ...]:
    behind = set(standing.held)  # conversations with an earlier message that has not gone yet
    batch: list[M] = []
    chosen = full = False
    room = MAX_BATCH_CHARS
    for message in waiting:
        asked = asked_delivery(message)
        if message.thread_id in standing.queued and asked is not Delivery.IDLE:
            behind.add(message.thread_id)
        if message.thread_id in behind:
            continue
        if is_urgent(message) and all(one.thread_id != message.thread_id for one in batch):
            return (message,)
        if travels_alone(message):
            behind.add(message.thread_id)
            blocked = standing.active and waits_for_idle([message], has_queue=standing.has_queue)
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


def _gathered(waiting: Sequence[M], batch: Sequence[M]) -> list[M]:
    """The digests that fit beside a batch, oldest first."""
    found: list[M] = []
    room = MAX_BATCH_CHARS - sum(len(message.body) for message in batch)
    for message in waiting:
        if asked_delivery(message) is Delivery.DIGEST:
            count = len(batch) + len(found)
            if count == MAX_BATCH_MESSAGES or (count and len(message.body) > room):
                break
            found.append(message)
            room -= len(message.body)
    return found
