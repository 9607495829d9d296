"""The transaction an operation runs in, and the few things every operation does with it."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from trio_relay.core.access import FULL, Principal
from trio_relay.core.events import KINDS
from trio_relay.core.loops import Limits
from trio_relay.core.model import RESTORED, AgentStatus, Rung
from trio_relay.core.wire import Agent, Message, SessionFields
from trio_relay.errors import NotFound, StaleInstance
from trio_relay.store import locks
from trio_relay.store.locks import Kind
from trio_relay.store.queries import queries

Row = Mapping[str, Any]
F = TypeVar("F", bound=Callable[..., Any])
to_json = msgspec.json.Encoder().encode
from_json = msgspec.json.decode


#: The doorbell of whoever follows the event log; no agent id is empty.
EVENTS = ""


def concurrent(operation: F) -> F:
    """Mark an operation that was thought through for running beside others of its kind, where the store allows it.

    It locks what it decides upon and what it changes (`Tx.lock`, in the order of `Kind`), and asks to be alone
    (`Tx.alone`) in every case for which that is not enough. All others are alone from the start, so that whatever
    only they change stands still while one of these runs: who is in the room and whether they are offline, pairs,
    what was withdrawn, parked or deleted.
    """
    operation.concurrent = True  # type: ignore[attr-defined]
    return operation


def is_concurrent(operation: Callable[..., Any]) -> bool:
    """Whether an operation was marked so."""
    return getattr(operation, "concurrent", False)


def fresh(operation: F) -> F:
    """Mark an operation that reads with one statement, or needs each of its statements to see the newest commits."""
    operation.fresh = True  # type: ignore[attr-defined]
    return operation


def is_fresh(operation: Callable[..., Any]) -> bool:
    """Whether an operation was marked so."""
    return getattr(operation, "fresh", False)


def dump(value: Any) -> str:
    """JSON text for a column."""
    return to_json(value).decode()


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator has set: times in ms, `max_attempts` hand-offs, what a thread may do unattended."""

    stale_after: int = 120_000
    claim_ttl: int = 90_000
    max_attempts: int = 5
    loops: Limits = field(default_factory=Limits)


@dataclass(slots=True)
class Tx:
    """One transaction: the connection, the instant it happens at (Unix ms) and whom to wake after the commit."""

    connection: Any
    now: int
    new_token: Callable[[], str]
    policy: Policy
    principal: Principal = FULL
    wake: set[str] = field(default_factory=set)
    #: What the commit adds to the metrics: how often (family, label) happened.
    tally: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: And how long after its acceptance a delivery reached ``in_context`` or ``answered``, ms.
    took: list[tuple[Rung, int]] = field(default_factory=list)

    def alone(self) -> None:
        """From here on nothing else must be written meanwhile; if something is, everything begins again without it."""
        locks.alone(self.connection)

    def lock(self, kind: Kind, *names: str | int) -> None:
        """Keep others from one thing of this kind, to the end of the transaction."""
        locks.lock(self.connection, kind, [names])

    def lock_inboxes(self, agent_ids: Iterable[str]) -> None:
        """Keep others from these inboxes, so that what arrives in one becomes visible in the order of its numbers."""
        locks.lock(self.connection, Kind.INBOX, [(agent_id,) for agent_id in agent_ids])

    def event(self, kind: str, **data: Any) -> None:
        """Write one line of the event log; it commits with the change it tells. Ids only, never bodies."""
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is not among the kinds of core/events.py")
        queries.insert_event(self.connection, type=kind, now=self.now, data=dump(data))
        self.wake.add(EVENTS)
        self.tally["event", kind] += 1
        if kind == "message.receipt":
            self.tally["rung", data["state"]] += 1


def agent_row(tx: Tx, agent_id: str) -> Row:
    """The agent's row.

    Raises:
        NotFound: nobody is registered under this id (code ``unknown_agent``).

    """
    row: Row | None = queries.get_agent(tx.connection, id=agent_id)
    if row is None:
        raise NotFound(f"no agent {agent_id!r} is registered", code="unknown_agent")
    return row


def is_live(tx: Tx, row: Row) -> bool:
    """Whether the agent's registered instance names itself in its calls and has done so lately."""
    recently: bool = row["identified_at"] >= tx.now - tx.policy.stale_after
    return recently and row["status"] != AgentStatus.OFFLINE


def check_session(row: Row, session: SessionFields) -> bool:
    """Whether the call comes from the registered instance (True) or does not say (False).

    Raises:
        StaleInstance: it comes from an instance that has been replaced.
        NotFound: the room was restored from a backup and knows of no instance (code ``unknown_agent``).

    """
    if session.instance_id is None and session.epoch is None:
        return False
    if row["instance_id"] == RESTORED:
        raise NotFound(
            f"the relay was restored from a backup: agent {row['id']!r} has to register again",
            code="unknown_agent",
        )
    if session.instance_id not in (None, row["instance_id"]) or session.epoch not in (None, row["epoch"]):
        raise StaleInstance(
            f"agent {row['id']!r} is now instance {row['instance_id']!r}, epoch {row['epoch']}: "
            "a newer instance has registered"
        )
    return True


def agent_of(row: Row) -> Agent:
    """The agent as the API shows it. Who is offline is not ready, whatever it said last."""
    silent = row["status"] == AgentStatus.OFFLINE
    return Agent(
        id=row["id"],
        name=row["name"],
        label=row["label"],
        machine=row["machine"],
        rig=row["rig"],
        tags=from_json(row["tags"]),
        capabilities=from_json(row["capabilities"]),
        channels=from_json(row["channels"]),
        status=AgentStatus(row["status"]),
        ready=bool(row["ready"]) and not silent,
        ready_reason="not heard from" if row["ready"] and silent else row["ready_reason"],
        instance_id=row["instance_id"],
        epoch=row["epoch"],
        meta=from_json(row["meta"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        last_seen=row["last_seen"],
    )


def message_fields(row: Row) -> dict[str, Any]:
    """The fields every form of a message has, from a row of ``messages_with_claim``."""
    return {
        "id": row["id"],
        "sender": row["sender"],
        "to": row["target"],
        "channel": row["channel"],
        "subject": row["subject"],
        "body": row["body"],
        "reply_to": row["reply_to"],
        "thread_id": row["thread_id"],
        "claimable": bool(row["claimable"]),
        "claimed_by": row["claimed_by"],
        "claimed_at": row["claimed_at"],
        "claim_expires_at": row["claim_expires_at"],
        "type": row["type"],
        "meta": from_json(row["meta"]),
        "created_at": row["created_at"],
        "root_id": row["thread_id"],
        "hop": row["hop"],
        "authority": row["authority"],
        "expires_at": row["expires_at"],
        "supersedes": row["supersedes"],
        "collapse_key": row["collapse_key"],
        "withdrawn": row["withdrawn"],
    }


def message_of(row: Row) -> Message:
    """The message as the API shows it."""
    return Message(**message_fields(row))
