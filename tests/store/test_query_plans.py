"""No query a request waits for, and none of housekeeping, reads through a whole table."""

import re
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from support.sync_room import SyncRoom
from trio_relay.relay.operations import messages_read
from trio_relay.store.migrations import migrate
from trio_relay.store.queries import queries

#: Queries that may read a table through, and why.
MAY_SCAN = {
    "list_agents": "the answer is all of it",
    "agents_with_unread": "the answer is all of it",
    "count_conditions": "statistics of who is in the room",
    "labels": "the answer is all of it",
    "newcomers": "who is in the room: hundreds",
    "agents_there": "stops at its limit",
    "agents_in_trouble": "who is in the room: hundreds",
    "parked_messages": "stops at its limit",
    "dead_in_inboxes": "stops at its limit",
    "list_tokens": "the answer is all of it",
    "count_agents_by_status": "statistics",
    "count_deliveries_by_state": "statistics",
    "count_messages": "statistics",
    "count_parked": "statistics",
    "count_pending_approvals": "stops at its limit",
    "count_dead": "stops at its limit",
    "count_looking": "stops at its limit",
    "count_unread": "stops at its limit",
    "oldest_events": "stops at its limit",
    "search_messages": "the full-text index",
    "event_log": "a table of one row",
    "note_trimmed": "a table of one row",
    "latest_numbers": "a table of one row a numbered table",
    "insert_message": "a table of one row a numbered table",
    "drop_dead_tokens": "a few rows a person minted",
    "events_about": "a person asks why a message is not there",
}
STATEMENTS = {name: statement.sql for name, statement in queries.sqlite.items()}


@pytest.fixture(scope="module")
def connection() -> Iterator[sqlite3.Connection]:
    opened = sqlite3.connect(":memory:", isolation_level=None)
    migrate(opened)
    yield opened
    opened.close()


def plan(connection: sqlite3.Connection, sql: str) -> list[str]:
    parameters = dict.fromkeys(re.findall(r"(?<!:):(\w+)", sql), 1)
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]


def scans(details: list[str]) -> list[str]:
    return [
        detail
        for detail in details
        if re.match(r"SCAN (?!\(subquery|newest$|CONSTANT ROW|\d+ CONSTANT ROW)", detail)
    ]


@pytest.mark.parametrize("name", sorted(set(STATEMENTS) - set(MAY_SCAN)))
def test_a_query_finds_its_rows_by_an_index(connection: sqlite3.Connection, name: str) -> None:
    details = plan(connection, STATEMENTS[name])
    assert scans(details) == [], details


@pytest.mark.parametrize("name", sorted(name for name in STATEMENTS if re.match("inbox_|thread_", name)))
def test_what_is_read_in_order_is_found_in_order(connection: sqlite3.Connection, name: str) -> None:
    """A poll costs what is new, whatever the history: nothing is sorted, so that LIMIT stops the reading."""
    details = plan(connection, STATEMENTS[name])
    assert [detail for detail in details if "TEMP B-TREE" in detail] == []


@pytest.mark.parametrize("name", sorted(MAY_SCAN))
def test_the_exceptions_are_needed(connection: sqlite3.Connection, name: str) -> None:
    assert scans(plan(connection, STATEMENTS[name]))


@pytest.mark.parametrize(
    "filters",
    [{"sender": "ann"}, {"to": "bob"}, {"channel": "ops"}, {"thread_id": 1}, {"before": 5}],
    ids=lambda filters: next(iter(filters)),
)
def test_history_is_browsed_by_an_index_and_in_order(filters: dict[str, Any]) -> None:
    everything = {"sender": None, "to": None, "channel": None, "thread_id": None, "before": None}
    room = SyncRoom()
    try:
        statements: list[str] = []
        room.connection.set_trace_callback(statements.append)
        room.do(messages_read.browse, **(everything | filters), limit=10)
        room.connection.set_trace_callback(None)
        (browsing,) = [statement for statement in statements if statement.startswith("SELECT")]
        details = plan(room.connection, browsing)
        assert scans(details) == [], details
        assert [detail for detail in details if "TEMP B-TREE" in detail] == []
    finally:
        room.close()
