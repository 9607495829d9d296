"""Ladders as they are drawn: for each recipient of a message every rung, when it was reached and what proves it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trio_relay.core.ladder import FINAL
from trio_relay.core.model import Rung
from trio_relay.core.wire import Message
from trio_relay.relay.operations.board import Glance, glances
from trio_relay.relay.operations.explain import waiting_for
from trio_relay.relay.operations.messages_read import NEWEST, readable_row
from trio_relay.relay.operations.tx import Row, Tx, from_json, message_of
from trio_relay.store.queries import queries

#: The way up. A delivery that ends another way leaves it where it stands.
CLIMB = (Rung.ACCEPTED, Rung.QUEUED, Rung.HANDED_OFF, Rung.IN_CONTEXT, Rung.ANSWERED, Rung.SETTLED)


@dataclass(frozen=True, slots=True)
class Step:
    """One rung of a drawn ladder. `at` (Unix ms) is None where it was not reached, or was passed unseen.

    `reached`: the delivery stands here or higher. `times`: how often, for hand-offs.
    """

    rung: Rung
    reached: bool
    at: int | None = None
    evidence: Mapping[str, Any] | None = None
    times: int = 0


@dataclass(frozen=True, slots=True)
class Ladder:
    """The delivery of one message to one recipient. `end`: how it ended other than by being settled."""

    agent_id: str
    state: Rung
    steps: list[Step]
    end: Step | None
    waits_for: str | None

    @property
    def reason(self) -> str | None:
        """Why it ended, as far as it was written down."""
        why = None if self.end is None or self.end.evidence is None else self.end.evidence.get("reason")
        return None if why is None else str(why)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A message with its ladders: those of the first recipients, and at a glance of all of them."""

    message: Message
    glance: Glance
    ladders: list[Ladder]
    held: bool


def thread(
    tx: Tx, message_id: int, *, before: int | None, limit: int, recipients: int
) -> tuple[int, list[Drawn]]:
    """The id of the thread a message belongs to, and its newest messages (or those before one), oldest first.

    Raises:
        NotFound: there is no such message (code ``unknown_message``).

    """
    thread_id: int = readable_row(tx, message_id)["thread_id"]
    rows = queries.thread_before(tx.connection, thread_id=thread_id, before=before or NEWEST, limit=limit)
    return thread_id, _drawn(tx, list(rows)[::-1], recipients)


def thread_again(
    tx: Tx, thread_id: int, message_ids: Iterable[int], after: int | None, *, limit: int, recipients: int
) -> list[Drawn]:
    """Some messages of a thread, and what came after one of them; oldest first."""
    found = [queries.get_message(tx.connection, id=message_id) for message_id in sorted(message_ids)]
    rows = [row for row in found if row is not None and row["thread_id"] == thread_id]
    if after is not None:
        rows = [row for row in rows if row["id"] <= after]
        rows += queries.thread_after(tx.connection, thread_id=thread_id, after=after, limit=limit)
    return _drawn(tx, rows, recipients)


def ladders(tx: Tx, message_id: int, *, after: str, limit: int) -> tuple[Message, list[Ladder]]:
    """A message and the ladders of some of its recipients, by their ids.

    Raises:
        NotFound: there is no such message (code ``unknown_message``).

    """
    row = readable_row(tx, message_id)
    return message_of(row), _ladders(tx, row, after, limit)


def _drawn(tx: Tx, rows: list[Row], recipients: int) -> list[Drawn]:
    at_a_glance = glances(tx, [row["id"] for row in rows])
    return [
        Drawn(
            message_of(row),
            at_a_glance[row["id"]],
            _ladders(tx, row, "", recipients),
            held=queries.is_held(tx.connection, message_id=row["id"]) is not None,
        )
        for row in rows
    ]


def _ladders(tx: Tx, message: Row, after: str, limit: int) -> list[Ladder]:
    rows = list(queries.recipients_after(tx.connection, message_id=message["id"], after=after, limit=limit))
    return [_ladder(tx, message, row) for row in rows]


def _ladder(tx: Tx, message: Row, delivery: Row) -> Ladder:
    agent_id, state = delivery["agent_id"], Rung(delivery["state"])
    seen: dict[Rung, Step] = {
        Rung.ACCEPTED: Step(Rung.ACCEPTED, True, message["created_at"], {}),
        Rung.QUEUED: Step(Rung.QUEUED, True, delivery["queued_at"], {}),
    }
    for row in queries.receipts_of(tx.connection, message_id=message["id"], agent_id=agent_id):
        rung = Rung(row["state"])
        times = seen[rung].times + 1 if rung in seen else 1
        seen[rung] = Step(rung, True, row["at"], from_json(row["evidence"]), times)
    height = _height(state, seen)
    steps = [seen.get(rung) or Step(rung, place <= height) for place, rung in enumerate(CLIMB)]
    agent: Row | None = queries.get_agent(tx.connection, id=agent_id)
    ended = state in FINAL and state is not Rung.SETTLED
    end = seen.get(state) or Step(state, True) if ended else None
    return Ladder(agent_id, state, steps, end, waiting_for(message, state, agent))


def _height(state: Rung, seen: Mapping[Rung, Step]) -> int:
    """How high a delivery stands, or stood when it ended."""
    if state in CLIMB:
        return CLIMB.index(state)
    return max(CLIMB.index(rung) for rung in seen if rung in CLIMB)
