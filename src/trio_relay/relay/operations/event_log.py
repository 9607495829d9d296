"""The event log: reading it on from an event, and letting its tail go.

Every change writes its event in its own transaction (`Tx.event`); rows hold ids only. What an event is about, the
message or the agent as it is now, is put in when the log is read.

Nothing is read beyond the horizon, the id up to which the log can no longer change, so that an event whose
transaction commits late is not skipped. Nothing below ``trimmed_to`` is there any more: a follower that comes from
before it has a gap.
"""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from trio_relay.relay.operations.tx import Row, Tx, agent_of, fresh, from_json, message_of, to_json
from trio_relay.store.queries import queries

#: One page of the log: events and (about) bytes, at most. A single event may be larger.
PAGE = 100
PAGE_BYTES = 256 * 1024
#: A message to more recipients than this concerns everybody.
MAX_CONCERNED = 100
#: Events one transaction lets go, at most.
TRIM_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Event:
    """One event, ready to send: its JSON `data`, and the agents it concerns (None: too many to name)."""

    id: int
    kind: str
    data: bytes
    concerned: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class LogState:
    """Where the log stands: gone up to `trimmed_to`, complete up to `horizon`."""

    trimmed_to: int
    horizon: int


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of the log. `end`: everything up to this id has been read.

    `held_back`: there is more to read as soon as a transaction has ended that may yet tell something before it. It
    may end without a word, so nobody will ring.
    """

    trimmed_to: int
    end: int
    events: list[Event]
    held_back: bool = False


@dataclass(slots=True)
class _Concerned:
    """Whom messages concern, looked up once a page."""

    tx: Tx
    known: dict[int, frozenset[str] | None] = field(default_factory=dict)

    def by(self, data: dict[str, Any]) -> frozenset[str] | None:
        """Everybody the event names, and the parties of its message."""
        named = {value for value in data.values() if isinstance(value, str)}
        for value in data.values():
            if isinstance(value, list):
                named.update(each for each in value if isinstance(each, str))
        message_id = data.get("messageId")
        if isinstance(message_id, int):
            if message_id not in self.known:
                self.known[message_id] = self._parties(message_id)
            parties = self.known[message_id]
            if parties is None:
                return None
            named |= parties
        return frozenset(named)

    def _parties(self, message_id: int) -> frozenset[str] | None:
        rows = queries.event_parties(self.tx.connection, message_id=message_id, limit=MAX_CONCERNED + 1)
        parties = {row["agent_id"] for row in rows}
        if len(parties) > MAX_CONCERNED:
            return None
        message: Row | None = queries.get_message(self.tx.connection, id=message_id)
        if message is not None:
            parties.add(message["sender"])
        return frozenset(parties)


@fresh
def state(tx: Tx) -> LogState:
    """Where the log stands."""
    row: Row = queries.event_log(tx.connection)
    return LogState(trimmed_to=row["trimmed_to"], horizon=row["horizon"])


@fresh
def page(tx: Tx, after: int) -> Page:
    """The next events after an id, a bounded piece of them.

    The horizon first, then the events, each as it stands when it is read: what is below the horizon has committed or
    never will. If the tail of the log went in between, all is read again.
    """
    while True:
        log = state(tx)
        found = list(queries.events_after(tx.connection, after=after, limit=PAGE))
        if state(tx).trimmed_to == log.trimmed_to:
            break
    rows = [row for row in found if row["id"] <= log.horizon]
    concerned = _Concerned(tx)
    events: list[Event] = []
    size = 0
    for row in rows:
        if size >= PAGE_BYTES:
            break
        event = _event(tx, row, concerned)
        size += len(event.data)
        events.append(event)
    end = events[-1].id if events else max(after, log.horizon)
    return Page(log.trimmed_to, end, events, held_back=len(rows) < len(found))


def trim(tx: Tx, *, older_than: int, keep: int) -> int:
    """Let go of events older than `older_than` ms, and of all but the newest `keep`; answer how many went.

    Only from the tail on: where the log begins is one number, so a resume can tell whether it missed something.
    """
    horizon = state(tx).horizon
    up_to, gone = 0, 0
    for row in queries.oldest_events(tx.connection, limit=TRIM_BATCH):
        if row["at"] >= tx.now - older_than and row["id"] > horizon - keep:
            break
        up_to, gone = row["id"], gone + 1
    if gone:
        queries.drop_events(tx.connection, up_to=up_to)
        queries.note_trimmed(tx.connection, up_to=up_to)
    return gone


def _event(tx: Tx, row: Row, concerned: _Concerned) -> Event:
    told: dict[str, Any] = from_json(row["data"])
    if "sender" in told:
        told["from"] = told.pop("sender")
    data = {**_subject(tx, row["type"], told), **told, "at": row["at"]}
    return Event(row["id"], row["type"], to_json(data), concerned.by(told))


def _subject(tx: Tx, kind: str, told: dict[str, Any]) -> dict[str, Any]:
    """What the event is about, as it is now; nothing when it is gone."""
    if kind == "message.new":
        row: Row | None = queries.get_message(tx.connection, id=told["messageId"])
        return {} if row is None else msgspec.to_builtins(message_of(row))
    if kind in ("agent.status", "agent.updated"):
        row = queries.get_agent(tx.connection, id=told["agentId"])
        return {} if row is None else msgspec.to_builtins(agent_of(row))
    return {}
