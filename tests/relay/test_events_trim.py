"""The event log's tail: how long it is kept, and that what is gone is known to be gone."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from support.relay import Room, open_room
from trio_relay.relay.operations import event_log
from trio_relay.relay.operations.tx import Tx
from trio_relay.settings import ServerSettings

NEVER = 10**12


async def write(room: Room, count: int) -> None:
    def change(tx: Tx) -> None:
        for _ in range(count):
            tx.event("token.minted")

    await room.service.write(change)


async def kept(room: Room) -> tuple[int, list[int]]:
    """How far the log is gone, and the ids it holds."""

    def look(tx: Tx) -> tuple[int, list[int]]:
        rows = tx.connection.execute("SELECT id FROM events ORDER BY id").fetchall()
        return event_log.state(tx).trimmed_to, [row["id"] for row in rows]

    return await room.service.read(look)


async def test_events_past_their_age_go(room: Room) -> None:
    await write(room, 3)
    await trio.sleep(10)
    await write(room, 2)
    await trio.sleep(10)
    assert await room.service.write(event_log.trim, older_than=20_000, keep=NEVER) == 0
    assert await room.service.write(event_log.trim, older_than=19_999, keep=NEVER) == 3
    assert await kept(room) == (3, [4, 5])


async def test_only_the_newest_stay_when_there_are_too_many(room: Room) -> None:
    await write(room, 10)
    assert await room.service.write(event_log.trim, older_than=NEVER, keep=4) == 6
    assert await room.service.write(event_log.trim, older_than=NEVER, keep=4) == 0
    assert await kept(room) == (6, [7, 8, 9, 10])


async def test_the_log_never_gives_an_id_again(room: Room) -> None:
    await write(room, 3)
    await room.service.write(event_log.trim, older_than=NEVER, keep=0)
    await write(room, 1)
    assert await kept(room) == (3, [4])


async def test_a_clock_set_back_leaves_no_hole(tmp_path: Path, autojump_clock: object) -> None:
    times = iter([100, 100_000, 100_000, 50, 100_000, 100_000])
    late: Callable[[], int] = lambda: next(times, 100_000)  # noqa: E731  # the service's clock
    async with open_room(tmp_path, now=late) as room:
        for _ in range(4):
            await write(room, 1)
        await room.service.write(event_log.trim, older_than=50_000, keep=NEVER)
        trimmed_to, ids = await kept(room)
    assert ids == list(range(trimmed_to + 1, 5))


async def test_one_transaction_lets_go_of_a_bounded_number(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "TRIM_BATCH", 10)
    await write(room, 25)
    gone = [await room.service.write(event_log.trim, older_than=NEVER, keep=0) for _ in range(4)]
    assert gone == [10, 10, 5, 0]


async def test_housekeeping_keeps_what_the_settings_say(tmp_path: Path, autojump_clock: object) -> None:
    settings = ServerSettings(event_log_hours=2, event_log_max=2500)
    async with open_room(tmp_path, settings) as room:
        await write(room, 4000)
        await room.service.keep_house()
        assert await kept(room) == (1500, list(range(1501, 4001)))
        await trio.sleep(2 * 3600)
        await write(room, 1)
        await room.service.keep_house()
        assert (await kept(room))[0] == 1501
        await trio.sleep(0.001)
        await room.service.keep_house()
        assert await kept(room) == (4000, [4001])
