"""What must be true when a simulated hour is over, read from the relay's database and from the threads themselves.

Nothing here asks the code under test what it thinks: the rows, the event log and the app-servers' disks are compared
with what the senders and the holders of leases were told.
"""

import hashlib
import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.fake_codex_thread import Rollout
from support.sim_network import Grant
from support.sim_traffic import GHOST, body_of
from trio_relay.core.batching import message_ids

#: Hand-offs of one message to one recipient, and claims of one message: low, so that it is met.
MAX_ATTEMPTS = 3
FINAL = ("settled", "expired", "retracted", "dead")
_ENDED = f"({', '.join(repr(state) for state in FINAL)})"


@dataclass
class Book:
    """Everything the audit looks at. `disks`: the threads of each agent, by agent id."""

    database: Path
    disks: dict[str, dict[str, Rollout]]
    sent: dict[tuple[str, str], int]
    grants: dict[str, Grant]


def unfinished(database: Path) -> list[str]:
    """What has not come to an end, apart from what waits for somebody who will not come."""
    with closing(_open(database)) as rows:
        deliveries = [
            f"message {row['message_id']} for {row['agent_id']} stands at {row['state']}"
            for row in rows.execute(
                f"SELECT * FROM inbox WHERE state NOT IN {_ENDED} AND NOT (agent_id = ? AND state = 'queued')",  # constants
                (GHOST,),
            )
        ]
        leases = [
            f"{row['key']} is held by {row['holder']}"
            for row in rows.execute("SELECT * FROM leases WHERE state = 'held'")
        ]
    return deliveries + leases


def audit(book: Book) -> list[str]:
    """Every promise that was broken, one line each."""
    with closing(_open(book.database)) as rows:
        return [
            *_lost(book, rows),
            *_endings(rows),
            *_threads(book, rows),
            *_replies(rows),
            *_leases(book, rows),
        ]


def seen(book: Book) -> Counter[str]:
    """How often what happened: rungs, events, ways into the thread. Tells whether an hour was worth living."""
    found: Counter[str] = Counter(
        {"accepted": len(book.sent), "threads": sum(len(disk) for disk in book.disks.values())}
    )
    with closing(_open(book.database)) as rows:
        for row in rows.execute("SELECT state, evidence FROM receipts"):
            found[row["state"]] += 1
            mode = json.loads(row["evidence"]).get("mode")
            if mode is not None and row["state"] == "in_context":
                found[f"by {mode}"] += 1
        for row in rows.execute("SELECT type, count(*) AS n FROM events GROUP BY type"):
            found[row["type"]] = row["n"]
        (found["handed off again"],) = rows.execute(
            "SELECT count(*) FROM inbox WHERE attempts > 1"
        ).fetchone()
    return found


def digest(book: Book) -> str:
    """A short name for everything that happened."""
    with closing(_open(book.database)) as rows:
        log = [tuple(row) for row in rows.execute("SELECT * FROM events ORDER BY id")]
    return hashlib.sha256(repr(log).encode()).hexdigest()


def _open(database: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(database)
    connection.row_factory = sqlite3.Row
    return connection


def _lost(book: Book, rows: sqlite3.Connection) -> Iterator[str]:
    """Accepted and gone: neither with a recipient, nor waiting for one, nor withdrawn, nor done."""
    kept = {row["id"]: row for row in rows.execute("SELECT id, sender, body FROM messages")}
    for (sender, key), message_id in book.sent.items():
        row = kept.get(message_id)  # an id that was never committed is given to another message
        if row is None or (row["sender"], row["body"]) != (sender, body_of(key)):
            yield f"message {message_id} ({key} of {sender}) was accepted and is gone"
    copies = Counter(
        row["body"] for row in rows.execute("SELECT body FROM messages WHERE body LIKE 'message %'")
    )
    yield from (f"{body!r} was stored {count} times" for body, count in copies.items() if count > 1)
    for row in rows.execute(
        """SELECT m.id FROM messages AS m WHERE m.withdrawn IS NULL AND m.target <> 'system'
           AND NOT EXISTS (SELECT 1 FROM inbox WHERE message_id = m.id)
           AND NOT EXISTS (SELECT 1 FROM open_targets WHERE message_id = m.id)
           AND NOT EXISTS (SELECT 1 FROM held_messages WHERE message_id = m.id)
           AND NOT EXISTS (SELECT 1 FROM leases WHERE key = m.lease_key AND state IN ('done', 'dead'))"""
    ):
        yield f"message {row['id']} waits nowhere and has not ended"
    # Work that everybody who had it gave back looks for another taker.
    for row in rows.execute(
        """SELECT m.id FROM messages AS m JOIN leases AS l ON l.key = m.lease_key WHERE l.state = 'open'
           AND m.withdrawn IS NULL AND NOT EXISTS (SELECT 1 FROM open_targets WHERE message_id = m.id)
           AND NOT EXISTS (SELECT 1 FROM held_messages WHERE message_id = m.id)"""
    ):
        yield f"message {row['id']} is work to be done, and nobody is offered it"


def _endings(rows: sqlite3.Connection) -> Iterator[str]:
    """Every delivery that ended did so once, says why, and its receipts agree with its state."""
    ends: dict[tuple[int, str], list[tuple[str, Any]]] = defaultdict(list)
    for row in rows.execute(f"SELECT * FROM receipts WHERE state IN {_ENDED} ORDER BY id"):  # constants
        ends[row["message_id"], row["agent_id"]].append((row["state"], json.loads(row["evidence"])))
    for row in rows.execute("SELECT * FROM inbox"):
        found = ends.pop((row["message_id"], row["agent_id"]), [])
        where = f"message {row['message_id']} for {row['agent_id']}"
        if len(found) > 1:
            yield f"{where} ended {len(found)} times: {found}"
        if row["state"] in FINAL and [state for state, _ in found] != [row["state"]]:
            yield f"{where} is {row['state']}, its receipts say {found}"
        if any(not evidence for _, evidence in found):
            yield f"{where} ended without a reason: {found}"
        if row["attempts"] > MAX_ATTEMPTS:
            yield f"{where} was handed off {row['attempts']} times"
    yield from (f"message {number} for {agent} ended and was never there" for number, agent in ends)


def _threads(book: Book, rows: sqlite3.Connection) -> Iterator[str]:
    """A message stands in its recipient's thread once, exactly when its ladder says so, and in order."""
    proven = {
        (row["message_id"], row["agent_id"])
        for row in rows.execute("SELECT * FROM receipts WHERE state = 'in_context'")
    }
    messages = {row["id"]: row for row in rows.execute("SELECT * FROM messages")}
    deliveries = {(row["message_id"], row["agent_id"]): row for row in rows.execute("SELECT * FROM inbox")}
    for agent, disk in book.disks.items():
        shown: list[int] = []
        for rollout in disk.values():
            items = [entry["item"] for entry in rollout.items if entry["item"]["type"] == "userMessage"]
            clients = [item.get("clientId") for item in items] + [item.get("id") for item in rollout.history]
            shown += [number for client in clients for number in message_ids(client)]
        for number, count in Counter(shown).items():
            if count > 1:
                yield f"message {number} stands in the thread of {agent} {count} times"
            delivery = deliveries.get((number, agent))
            if delivery is None:
                yield f"message {number} stands in the thread of {agent}, who was no recipient"
            elif (number, agent) not in proven and not messages[number]["claimable"]:
                yield f"message {number} stands in the thread of {agent}, and its ladder ends at {delivery['state']}"
        for number, who in proven:
            if who == agent and number not in shown:
                yield f"message {number} is proven to be in the thread of {agent}, and is not"
        yield from _order(agent, shown, messages, deliveries)


def _order(agent: str, shown: list[int], messages: Any, deliveries: Any) -> Iterator[str]:
    last: dict[int, int] = {}
    for number in shown:
        message, delivery = messages[number], deliveries[number, agent]
        if message["claimable"] or '"fyi"' in message["meta"] or '"digest"' in message["meta"]:
            continue  # offered again it arrives again, later; the others have no place to keep
        before = last.get(message["thread_id"], 0)
        if delivery["seq"] < before:
            yield f"message {number} came to {agent} after a later one of its conversation"
        last[message["thread_id"]] = delivery["seq"]


def _replies(rows: sqlite3.Connection) -> Iterator[str]:
    """A sidecar answers a message at most once."""
    for row in rows.execute(
        "SELECT sender, reply_to, count(*) AS n FROM messages WHERE type = 'reply' GROUP BY sender, reply_to HAVING n > 1"
    ):
        yield f"{row['sender']} replied to message {row['reply_to']} {row['n']} times"


def _leases(book: Book, rows: sqlite3.Connection) -> Iterator[str]:
    """From one claim to the next of the same message, the lease was given back, taken back or run out."""
    known = {(grant.message_id, grant.epoch): grant for grant in book.grants.values()}
    history: dict[int, list[tuple[str, str | None, int]]] = defaultdict(list)
    gone: dict[tuple[str, int], bool] = {}
    for row in rows.execute("SELECT * FROM events ORDER BY id"):
        told = json.loads(row["data"])
        if row["type"] == "agent.status":
            gone[told["agentId"], row["at"]] = True
        elif row["type"] in {
            "message.claimed",
            "message.claim_released",
            "message.completed",
            "message.dead",
        }:
            history[told["messageId"]].append((row["type"], told.get("agentId"), row["at"]))
    for number, events in history.items():
        holder, epoch, over = None, 0, None
        for kind, agent, at in events:
            grant = known.get((number, epoch))
            ended = grant is None or grant.ends_at <= at
            match kind:
                case "message.claimed":
                    if over is not None:
                        yield f"message {number} was claimed by {agent} after it was {over}"
                    if holder is not None and not ended:
                        yield f"message {number} was claimed by {agent} while {holder} held it"
                    holder, epoch = agent, epoch + 1
                    mine = known.get((number, epoch))
                    if mine is not None and (mine.agent_id, mine.claimed_at) != (agent, at):
                        yield f"message {number}: lease {epoch} was told to {mine.agent_id}, and claimed by {agent}"
                case "message.claim_released":
                    if not (ended or (grant and grant.given_back) or gone.get((str(holder), at))):
                        yield f"message {number} was taken from {holder}, whose lease was good"
                    holder = None
                case "message.completed":
                    if over is not None:
                        yield f"message {number} was completed twice"
                    if agent is not None and agent != holder:
                        yield f"message {number} was completed by {agent} while {holder} held it"
                    holder, over = None, "completed"
                case _:
                    holder, over = None, "dead"
