"""On PostgreSQL too, no statement a request waits for reads through a table that grows, and polls are read in order.

The plans are those for any parameters, over tables that hold something and have been analysed.
"""

import re
from collections.abc import Iterator

import psycopg
import pytest

from support.postgres import PostgresDatabases
from trio_relay.store.postgres import RelayConnection, prepare
from trio_relay.store.postgres.connection import connect
from trio_relay.store.queries import queries

#: What a send, a poll, a report, a claim, a heartbeat, an event stream, the leader's every second and an open page of the
#: dashboard ask for.
HOT = (
    "agent_with_unread",
    "count_unread_of",
    "inbox_newest",
    "inbox_newest_unread",
    "recipients_after",
    "thread_after",
    "thread_before",
    "close_open_target",
    "climb",
    "collapsible",
    "claim_lease",
    "event_parties",
    "events_after",
    "expired_messages",
    "get_agent",
    "get_idempotency_key",
    "get_inbox",
    "get_lease",
    "get_message",
    "get_thread",
    "hand_offs",
    "inbox_after_seq",
    "inbox_in_state",
    "inbox_since_id",
    "inbox_unread_after_seq",
    "inbox_unread_since_id",
    "is_held",
    "is_parked",
    "lapsed_leases",
    "list_agents_matching",
    "mark_read",
    "message_of_lease",
    "newest_reply",
    "open_deliveries_to",
    "open_targets_for",
    "pair_of_agent",
    "receipts_of",
    "recent_in_thread",
    "recipients",
    "task_of_message",
    "thread_messages",
    "valid_token",
)
#: Nothing is sorted, so that LIMIT stops the reading: a poll costs what is new, whatever the history.
IN_ORDER = tuple(name for name in HOT if re.match("inbox_|thread_|events_after", name))
IN_TWO_HALVES = ("inbox_since_id", "inbox_unread_since_id")
FILL = """
INSERT INTO agents SELECT 'agent-' || n, '', NULL, '', '', '[]', '[]', '[]', 'idle', 1, NULL, NULL, 1, 0, '{}', n, n, n
FROM generate_series(1, 2000) AS n;
INSERT INTO agent_selectors SELECT selector, id FROM agents, unnest(ARRAY['broadcast', 'tag:' || id, id]) AS selector;
INSERT INTO messages (sender, target, body, thread_id, hop, claimable, lease_key, type, meta, created_at, words,
                      expires_at, channel, collapse_key)
SELECT 'agent-' || n % 2000, 'agent-' || n % 1999, 'x', n / 5 + 1, 0, 1, 'message:' || n, 'message', '{}', n, '',
       CASE WHEN n % 10 = 0 THEN n END, 'ops', CASE WHEN n % 3 = 0 THEN 'c' || n % 7 END
FROM generate_series(1, 20000) AS n;
INSERT INTO leases (key, state, holder, expires_at)
SELECT 'message:' || n, CASE WHEN n % 50 = 0 THEN 'held' ELSE 'done' END, 'agent-1', n
FROM generate_series(1, 20000) AS n;
INSERT INTO inbox (agent_id, message_id, state, late, queued_at, read_at)
SELECT 'agent-' || (n * 7) % 2000, n, CASE WHEN n % 9 = 0 THEN 'queued' ELSE 'settled' END, n % 2, n,
       CASE WHEN n % 9 = 0 THEN NULL ELSE n END
FROM generate_series(1, 20000) AS n;
INSERT INTO receipts (message_id, agent_id, state, at, evidence)
SELECT n, 'agent-' || (n * 7) % 2000, 'handed_off', n, '{}' FROM generate_series(1, 20000) AS n;
INSERT INTO events (type, at, data) SELECT 'message.new', n, '{}' FROM generate_series(1, 20000) AS n;
INSERT INTO idempotency_keys SELECT 'agent-' || n % 2000, 'k' || n, '', n, n FROM generate_series(1, 20000) AS n;
INSERT INTO open_targets SELECT 'tag:agent-' || n % 2000, n, 'claimable' FROM generate_series(1, 20000) AS n;
INSERT INTO threads (id) SELECT n FROM generate_series(1, 20000) AS n;
INSERT INTO held_messages SELECT n, n FROM generate_series(1, 20000) AS n;
INSERT INTO tokens (hash, name, scopes, authority, created_at)
SELECT 'h' || n, '', '[]', 'peer', n FROM generate_series(1, 20000) AS n;
INSERT INTO pairs (inviter, invitee, target, status, created_at, expires_at)
SELECT 'agent-' || n, 'agent-' || n + 1, '', 'active', n, n FROM generate_series(1, 20000) AS n;
INSERT INTO pair_members SELECT 'agent-' || n, n FROM generate_series(1, 20000) AS n;
INSERT INTO tasks (source, type, severity, title, body, target, metadata, status, message_id, calls_back, created_at,
                   updated_at, last_seen_at)
SELECT 'ci', '', '', '', '', '', '{}', 'done', n, 0, n, n, n FROM generate_series(1, 20000) AS n;
ANALYZE;
"""


@pytest.fixture(scope="module")
def filled(postgres: PostgresDatabases) -> Iterator[RelayConnection]:
    with postgres.database() as url:
        prepare(url, "a test's database")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(FILL)
        with connect(url) as opened:
            yield opened


def plan(connection: RelayConnection, name: str) -> list[str]:
    """What PostgreSQL would do, line by line; parameters as a server-side prepared statement has them."""
    numbers: dict[str, int] = {}

    def numbered(match: re.Match[str]) -> str:
        return f"${numbers.setdefault(match[1], len(numbers) + 1)}"

    text = re.sub(r"%\((\w+)\)s", numbered, queries.postgres[name].sql).replace("%%", "%")
    rows = connection.execute(f"EXPLAIN (GENERIC_PLAN, COSTS OFF) {text}".encode()).fetchall()
    return [row[0] for row in rows]


@pytest.mark.parametrize("name", HOT)
def test_a_hot_statement_reads_no_whole_table(filled: RelayConnection, name: str) -> None:
    lines = plan(filled, name)
    assert [line for line in lines if "Seq Scan" in line] == [], lines


@pytest.mark.parametrize("name", sorted(set(IN_ORDER) - set(IN_TWO_HALVES)))
def test_what_is_read_in_order_is_found_in_order(filled: RelayConnection, name: str) -> None:
    lines = plan(filled, name)
    assert [line for line in lines if re.match(r"\W*(Incremental )?Sort", line)] == [], lines


@pytest.mark.parametrize("name", IN_TWO_HALVES)
def test_what_is_put_together_from_two_halves_is_bounded_in_each(filled: RelayConnection, name: str) -> None:
    lines = plan(filled, name)
    assert len([line for line in lines if line.endswith("Limit")]) == 3, lines
    assert [line for line in lines if re.match(r"\W*(Incremental )?Sort", line)][1:] == [], lines
