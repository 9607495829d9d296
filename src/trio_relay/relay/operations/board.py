"""What the dashboard reads beside what the API does: agents with what waits for them, deliveries at a glance, what is stuck.

Every one costs what it shows: counts stop at `MANY`, pages are bounded.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trio_relay.core.ladder import FINAL
from trio_relay.core.model import MAILBOX_RIG, SYSTEM, AgentStatus, Rung
from trio_relay.core.targets import BROADCAST
from trio_relay.core.wire import Agent, InboxMessage, Message
from trio_relay.relay.operations import event_log
from trio_relay.relay.operations.messages_read import NEWEST, delivery_of
from trio_relay.relay.operations.tx import Row, Tx, agent_of, fresh, from_json, message_of
from trio_relay.store.queries import queries, select

#: Where a count stops: nobody needs to know how many more than this wait.
MANY = 1000
#: The condition of an agent that is there and cannot take a message.
DEAF = "deaf"
#: Events one look at the log takes in, at most.
_CHANGES = 2000
_HEIGHT = {rung: height for height, rung in enumerate(Rung)}


@dataclass(frozen=True, slots=True)
class Seen:
    """An agent with what waits in its inbox: how many, `MANY` at most, and since when (Unix ms)."""

    agent: Agent
    unread: int
    oldest_unread: int | None

    @property
    def is_mailbox(self) -> bool:
        """Whether it is a person's or a script's mailbox, which is offline by nature."""
        return self.agent.rig == MAILBOX_RIG

    @property
    def trouble(self) -> str | None:
        """Why what waits for it does not get through, as a sentence; None: it does, or nothing waits."""
        if self.is_mailbox:
            return None
        if self.agent.status is AgentStatus.OFFLINE:
            return "offline, and messages wait" if self.unread else None
        if not self.agent.ready:
            return self.agent.ready_reason or "it has not said that it is ready"
        return None


@dataclass(slots=True)
class Glance:
    """How far one message has got: how many of its recipients stand on each rung.

    `held`: its thread is parked for a person, so it has none yet.
    """

    states: Counter[Rung] = field(default_factory=Counter)
    held: bool = False

    @property
    def total(self) -> int:
        """How many recipients it has."""
        return sum(self.states.values())

    @property
    def rung(self) -> Rung:
        """The rung that matters: of those still on their way the lowest, else the worst end."""
        under_way = [rung for rung in self.states if rung not in FINAL]
        if under_way:
            return min(under_way, key=_HEIGHT.__getitem__)
        return max(self.states, key=_HEIGHT.__getitem__, default=Rung.ACCEPTED)


@fresh
def log_end(tx: Tx) -> int:
    """The id of the newest event."""
    return event_log.state(tx).horizon


@fresh
def changes(tx: Tx, after: int) -> tuple[int, list[tuple[str, Mapping[str, Any]]]]:
    """The events after an id, kind and data only, and the id to go on from. Of very many only the first are told."""
    horizon = event_log.state(tx).horizon
    rows = [
        row
        for row in queries.events_after(tx.connection, after=after, limit=_CHANGES)
        if row["id"] <= horizon
    ]
    end = rows[-1]["id"] if rows else max(after, horizon)
    return end, [(row["type"], from_json(row["data"])) for row in rows]


def counts(tx: Tx, name: str) -> dict[str, int]:
    """The numbers beside the navigation, each counted up to `MANY`."""
    return {
        "inbox": queries.count_unread_of(tx.connection, agent_id=name, limit=MANY)[0],
        "approvals": queries.count_pending_approvals(tx.connection, limit=MANY)[0],
        "threads": queries.count_parked_threads(tx.connection, limit=MANY)[0],
        "dead": queries.count_dead(tx.connection, limit=MANY)[0],
    }


def everyone(tx: Tx) -> list[Seen]:
    """Every agent with what waits for it: in trouble first, then who is there, mailboxes last."""
    found = [_seen(row) for row in queries.agents_with_unread(tx.connection, limit=MANY)]
    return sorted(found, key=_order)


@dataclass(frozen=True, slots=True)
class Presence:
    """Who is there: how many agents are in which condition (`words.condition`), and some of them."""

    conditions: Mapping[str, int]
    some: list[Agent]

    @property
    def total(self) -> int:
        """How many are not offline."""
        return sum(count for condition, count in self.conditions.items() if condition != AgentStatus.OFFLINE)


def present(tx: Tx, limit: int) -> Presence:
    """Who is there."""
    conditions: Counter[str] = Counter()
    for row in queries.count_conditions(tx.connection, mailbox=MAILBOX_RIG):
        there = row["status"] != AgentStatus.OFFLINE
        conditions[DEAF if there and not row["ready"] else row["status"]] += row["n"]
    rows = queries.agents_there(tx.connection, mailbox=MAILBOX_RIG, limit=limit)
    return Presence(conditions, [agent_of(row) for row in rows])


def in_trouble(tx: Tx, limit: int) -> list[Seen]:
    """Agents whom messages do not reach."""
    rows = queries.agents_in_trouble(tx.connection, mailbox=MAILBOX_RIG, many=MANY, limit=limit)
    return [_seen(row) for row in rows]


def one(tx: Tx, agent_id: str) -> Seen | None:
    """One agent with what waits for it."""
    row: Row | None = queries.agent_with_unread(tx.connection, id=agent_id, limit=MANY)
    return None if row is None else _seen(row)


def these(tx: Tx, agent_ids: Iterable[str], *, newer_than: int | None = None) -> list[Seen]:
    """Some agents with what waits for them, those there are; and those who came after a time (Unix ms)."""
    named = dict.fromkeys(agent_ids)
    if newer_than is not None:
        named |= dict.fromkeys(
            row["id"] for row in queries.newcomers(tx.connection, after=newer_than, limit=MANY)
        )
    return [seen for agent_id in named if (seen := one(tx, agent_id)) is not None]


def glances(tx: Tx, message_ids: Sequence[int]) -> dict[int, Glance]:
    """How far some messages have got."""
    found = {message_id: Glance() for message_id in message_ids}
    if not found:
        return found
    names = {f"id{place}": message_id for place, message_id in enumerate(found)}
    listed = ", ".join(f":{name}" for name in names)
    # Only names of parameters are put together here; every value is bound.
    statement = f"SELECT message_id, state, count(*) AS n FROM inbox WHERE message_id IN ({listed}) GROUP BY message_id, state"  # noqa: S608
    for row in select(tx.connection, statement, **names):
        found[row["message_id"]].states[Rung(row["state"])] += row["n"]
    for message_id, glance in found.items():
        if not glance.states:
            glance.held = queries.is_held(tx.connection, message_id=message_id) is not None
    return found


def names(tx: Tx) -> dict[str, str]:
    """What agents with a label are called, by their ids. A label that could be taken for somebody else is left out."""
    rows = list(queries.labels(tx.connection, limit=MANY * 10))
    times = Counter(row["label"] for row in rows)
    return {
        row["id"]: row["label"]
        for row in rows
        if times[row["label"]] == 1
        and row["label"] not in (SYSTEM, BROADCAST)
        and queries.get_agent(tx.connection, id=row["label"]) is None
    }


def dead_letters(tx: Tx, limit: int) -> list[Message]:
    """The newest messages that were given up for somebody."""
    return [message_of(row) for row in queries.dead_in_inboxes(tx.connection, limit=limit)]


def some(tx: Tx, message_ids: Iterable[int]) -> list[Message]:
    """Some messages by their ids, those there are, newest first."""
    rows = [
        queries.get_message(tx.connection, id=message_id) for message_id in sorted(message_ids, reverse=True)
    ]
    return [message_of(row) for row in rows if row is not None]


def newest_of_inbox(
    tx: Tx, agent_id: str, *, unread: bool, before: int | None = None, limit: int = 50
) -> list[InboxMessage]:
    """What stands in an inbox, the newest arrival first."""
    query = queries.inbox_newest_unread if unread else queries.inbox_newest
    return [
        delivery_of(row)
        for row in query(tx.connection, agent_id=agent_id, before=before or NEWEST, limit=limit)
    ]


def parked_messages(tx: Tx, limit: int = 100) -> list[Message]:
    """Messages nobody answers to yet, oldest first."""
    return [message_of(row) for row in queries.parked_messages(tx.connection, limit=limit)]


def _seen(row: Row) -> Seen:
    return Seen(agent_of(row), row["unread"], row["oldest_unread"])


def _order(seen: Seen) -> tuple[int, str]:
    if seen.trouble is not None:
        return 0, seen.agent.id
    if seen.is_mailbox:
        return 3, seen.agent.id
    return (2 if seen.agent.status is AgentStatus.OFFLINE else 1), seen.agent.id
