"""What is asked of the store at every claim, event and callback is found by an index, never by reading a table."""

import pytest

from support.sync_room import SyncRoom
from trio_relay.store.queries import queries

#: By statement: whether its rows may be sorted after they are found.
HOT = {
    "pair_of_agent": False,
    "free_pair_members": False,
    "lapsed_invites": False,
    "list_pairs_of": True,
    "forget_pairs": False,
    "get_task": False,
    "task_of_message": False,
    "active_task": False,
    "latest_task": False,
    "newest_reply": False,
    "drop_oldest_repeat": False,
    "task_events_of": False,
    "forget_tasks": False,
    "insert_callback": False,
    "next_callback": False,
    "free_next_callback": False,
    "callbacks_of": False,
    "callback_attempts_of": True,
}


class Anything(dict[str, int]):
    """A value for every parameter a statement names."""

    def __missing__(self, name: str) -> int:
        return 1


@pytest.mark.parametrize(("name", "sorts"), HOT.items())
def test_a_hot_statement_reads_no_whole_table(name: str, *, sorts: bool) -> None:
    room = SyncRoom()
    statement = f"EXPLAIN QUERY PLAN {queries.sqlite[name].sql}"
    details = [row["detail"] for row in room.connection.execute(statement, Anything())]
    room.close()
    assert details
    assert [each for each in details if each.startswith("SCAN") and each != "SCAN CONSTANT ROW"] == []
    assert sorts or [each for each in details if "TEMP B-TREE" in each] == []
