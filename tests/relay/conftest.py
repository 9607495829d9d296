"""A room without an event loop, on both engines."""

from collections.abc import Iterator

import pytest

from support.sync_room import PostgresSyncRoom, SyncRoom
from trio_relay.relay.operations.tx import Policy
from trio_relay.store.postgres.connection import connect


@pytest.fixture(params=["sqlite", "postgres"])
def sync_room(request: pytest.FixtureRequest) -> Iterator[SyncRoom]:
    """A room in which a message is handed off once at most."""
    policy = Policy(max_attempts=1)
    if request.param == "sqlite":
        room = SyncRoom(policy)
        yield room
        room.close()
        return
    with connect(request.getfixturevalue("room_url")) as connection:
        room = PostgresSyncRoom(connection, policy)
        yield room
        room.close()
