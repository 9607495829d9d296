"""Coming back to the event stream: nothing skipped, nothing twice, every hole named; and how streams end."""

import random
from pathlib import Path

import pytest
import trio
import trio.testing

from support.relay import Room, open_room
from support.sse import EventReader, SeenEvent, follow
from trio_relay.core.events import wanted
from trio_relay.relay.events import EventFeed
from trio_relay.relay.operations import event_log
from trio_relay.relay.operations.event_log import Event, LogState, Page
from trio_relay.relay.operations.tx import EVENTS, Tx
from trio_relay.settings import ServerSettings

#: An event with a body about as long as this.
TEXT = "x" * 100


async def write(room: Room, count: int = 1) -> None:
    """Commit so many events in one transaction."""

    def change(tx: Tx) -> None:
        for _ in range(count):
            tx.event("token.minted", note=TEXT)

    await room.service.write(change)


async def trim(room: Room, keep: int) -> None:
    await room.service.write(event_log.trim, older_than=10**12, keep=keep)


async def ids(stream: EventReader, count: int) -> list[int | None]:
    return [event.id for event in await stream.events(count)]


async def test_a_resume_goes_on_where_it_stopped(room: Room) -> None:
    async with follow(room.app) as stream:
        await write(room, 3)
        assert await ids(stream, 2) == [1, 2]
    await write(room, 3)
    async with follow(room.app, last_event_id=2) as stream:
        await write(room)
        assert await ids(stream, 5) == [3, 4, 5, 6, 7]


async def test_a_resume_works_before_the_first_event(room: Room) -> None:
    await write(room, 3)
    async with follow(room.app) as stream:
        first = await stream.block()
    await write(room)
    async with follow(room.app, last_event_id=first.id) as stream:
        assert await ids(stream, 1) == [4]


async def test_the_header_counts_more_than_the_address(room: Room) -> None:
    await write(room, 5)
    async with follow(room.app, "lastEventId=1", last_event_id=3) as stream:
        assert await ids(stream, 2) == [4, 5]
    async with follow(room.app, "lastEventId=1", last_event_id="") as stream:
        assert await ids(stream, 4) == [2, 3, 4, 5]


async def test_a_resume_from_before_the_log_begins_names_the_gap(room: Room) -> None:
    await write(room, 10)
    await trim(room, keep=4)
    async with follow(room.app, "types=token.*", last_event_id=2) as stream:
        gap = await stream.event()
        assert (gap.kind, gap.id) == ("gap", 6)
        assert gap.data == {"from": 3, "to": 6, "reason": "trimmed"}
        assert await ids(stream, 4) == [7, 8, 9, 10]
    async with follow(room.app, last_event_id=6) as stream:
        assert await ids(stream, 4) == [7, 8, 9, 10]


async def test_a_gap_is_named_whatever_is_wanted_and_when_nothing_is_left(room: Room) -> None:
    await write(room, 10)
    await trim(room, keep=0)
    async with follow(room.app, "types=agent.*", last_event_id=2) as stream:
        assert (await stream.event()).data == {"from": 3, "to": 10, "reason": "trimmed"}
    async with follow(room.app, last_event_id=10) as stream:
        await write(room)
        assert await ids(stream, 1) == [11]


async def test_an_id_the_log_never_gave_is_a_gap(room: Room) -> None:
    await write(room, 3)
    async with follow(room.app, last_event_id=90) as stream:
        gap = await stream.event()
        assert (gap.kind, gap.id) == ("gap", 3)
        assert gap.data == {"from": 4, "to": 90, "reason": "unknown_id"}
        await write(room)
        assert await ids(stream, 1) == [4]


async def test_a_quiet_stream_has_a_heartbeat_every_fifteen_seconds(room: Room) -> None:
    async with follow(room.app) as stream:
        await stream.block()
        began = trio.current_time()
        for beat in (15.0, 30.0):
            assert (await stream.block()).comment == "heartbeat"
            assert trio.current_time() - began == beat


async def test_a_heartbeat_carries_the_place_past_what_was_not_wanted(room: Room) -> None:
    async with follow(room.app, "types=agent.*") as stream:
        await stream.block()
        await write(room, 3)
        beats = [await stream.block() for _ in range(2)]
    assert [(beat.comment, beat.id) for beat in beats] == [("heartbeat", 3), ("heartbeat", None)]


async def test_a_stopping_relay_says_goodbye(room: Room) -> None:
    async with follow(room.app) as live, follow(room.app) as unread:
        await live.block()
        room.service.hub.close()
        assert [event.kind for event in await live.rest()] == ["bye"]
        assert [event.kind for event in await unread.rest()] == ["bye"]
        async with follow(room.app, last_event_id=0) as late:
            assert [event.kind for event in await late.rest()] == ["bye"]


async def test_a_reader_that_falls_behind_is_told_and_can_go_on(room: Room) -> None:
    room.service.events.max_behind = 10
    async with follow(room.app) as slow, follow(room.app) as quick:
        await slow.block()
        await quick.block()
        await write(room)
        assert await ids(slow, 1) == await ids(quick, 1) == [1]
        # The slow one's next piece is on its way when its peer stops reading.
        await write(room)
        await trio.testing.wait_all_tasks_blocked()
        for start in range(3, 15):
            await write(room)
            assert await ids(quick, 1 if start > 3 else 2) == ([start] if start > 3 else [2, 3])
        rest = await slow.rest()
    assert [(event.kind, event.id) for event in rest] == [("token.minted", 2), ("overrun", None)]
    assert "10 events behind" in rest[-1].data["reason"]
    async with follow(room.app, last_event_id=2) as again:
        assert await ids(again, 12) == list(range(3, 15))


async def test_a_long_catching_up_is_not_falling_behind(room: Room) -> None:
    room.service.events.max_behind = 10
    await write(room, 500)
    async with follow(room.app, last_event_id=0) as stream, follow(room.app) as other:
        for number in range(1, 501):
            assert (await stream.event()).id == number
        await write(room)
        assert await ids(stream, 1) == await ids(other, 1) == [501]


async def test_a_burst_larger_than_the_window_is_taken_from_the_log(room: Room) -> None:
    room.service.events.window_bytes = 1000
    async with follow(room.app) as stream:
        await write(room, 300)
        assert await ids(stream, 300) == list(range(1, 301))


async def test_an_event_is_read_once_for_all(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    feed, pages = room.service.events, 0
    read_page = feed.read_page

    async def counted(after: int) -> Page:
        nonlocal pages
        pages += 1
        return await read_page(after)

    monkeypatch.setattr(feed, "read_page", counted)
    seen: list[int | None] = []

    async def listen(task_status: trio.TaskStatus[None]) -> None:
        async with follow(room.app) as stream:
            await stream.block()
            task_status.started()
            seen.extend(await ids(stream, 1))

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            await nursery.start(listen)
        await trio.testing.wait_all_tasks_blocked()
        pages = 0
        await write(room)
    assert seen == [1] * 100
    assert pages <= 2  # the event, and that there is no more


async def test_nothing_is_read_and_kept_while_nobody_listens(room: Room) -> None:
    feed = room.service.events
    async with follow(room.app) as stream:
        await write(room, 5)
        await ids(stream, 5)
        assert feed.streams == 1
    assert feed.streams == 0
    assert feed.window_after(0) == ([], 5)
    await write(room, 5)
    await trio.testing.wait_all_tasks_blocked()
    assert feed.total == 5


async def test_a_revoked_token_ends_its_stream(tmp_path: Path, autojump_clock: object) -> None:
    async with open_room(tmp_path, ServerSettings(token="shared")) as room:
        credentials = {"Authorization": "Bearer shared"}
        made = await room.http(
            "POST", "/api/tokens", json={"name": "eye", "scopes": ["observe"]}, headers=credentials
        )
        token = made.json()["token"]
        async with follow(room.app, token=token) as stream:
            await write(room)
            assert (await stream.event()).kind == "token.minted"
            revoked = await room.http("DELETE", f"/api/tokens/{made.json()['id']}", headers=credentials)
            assert revoked.status_code == 200
            rest = await stream.rest()
        assert [event.kind for event in rest] == ["bye"]
        async with follow(room.app, token=token) as stream:
            assert stream.status == 401


class LateLog:
    """A log in which ids are given before the commit: what several relays on one PostgreSQL see."""

    def __init__(self) -> None:
        self.committed: dict[int, Event] = {}
        self.open: set[int] = set()
        self.given = 0

    def begin(self) -> int:
        self.given += 1
        self.open.add(self.given)
        return self.given

    def commit(self, event_id: int) -> None:
        self.open.discard(event_id)
        self.committed[event_id] = Event(event_id, "token.minted", b"{}", frozenset())

    @property
    def horizon(self) -> int:
        return min(self.open) - 1 if self.open else self.given

    async def state(self) -> LogState:
        await trio.lowlevel.checkpoint()
        return LogState(0, self.horizon)

    async def page(self, after: int) -> Page:
        await trio.lowlevel.checkpoint()
        events = [self.committed[each] for each in sorted(self.committed) if after < each <= self.horizon][:2]
        return Page(0, events[-1].id if events else max(after, self.horizon), events)


async def test_an_event_that_commits_late_is_not_skipped(room: Room) -> None:
    hub, log = room.service.hub, LateLog()
    feed = EventFeed(hub, read_state=log.state, read_page=log.page, on_end=lambda _: None)

    async def seen() -> bytes | None:
        with trio.move_on_after(1):
            return await stream.next_chunk()
        return None

    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.follow)
        slow, quick = log.begin(), log.begin()
        log.commit(quick)
        with await feed.open(None, wanted(None, None)) as stream:
            await stream.next_chunk()
            hub.ring([EVENTS])
            assert await seen() is None
            log.commit(slow)
            hub.ring([EVENTS])
            first = await seen()
            second = b"" if first is None or b"id: 2" in first else await seen()
            assert (first or b"") + (second or b"") == b"".join(
                b"id: %d\nevent: token.minted\ndata: {}\n\n" % number for number in (1, 2)
            )
        nursery.cancel_scope.cancel()


async def test_an_event_that_commits_while_the_log_is_read_is_not_missed(room: Room) -> None:
    hub, log = room.service.hub, LateLog()
    after_the_look: list[int] = []

    async def page(after: int) -> Page:
        found = await log.page(after)
        if after_the_look:
            log.commit(after_the_look.pop())
            hub.ring([EVENTS])
        return found

    feed = EventFeed(hub, read_state=log.state, read_page=page, on_end=lambda _: None)
    async with trio.open_nursery() as nursery:
        with await feed.open(None, wanted(None, None)) as stream:
            await stream.next_chunk()
            after_the_look.append(log.begin())
            nursery.start_soon(feed.follow)
            assert await stream.next_chunk() == b"id: 1\nevent: token.minted\ndata: {}\n\n"
        nursery.cancel_scope.cancel()


async def test_what_is_read_after_everybody_has_left_is_not_kept(room: Room) -> None:
    hub, log, go_on = room.service.hub, LateLog(), trio.Event()

    async def page(after: int) -> Page:
        await go_on.wait()
        return await log.page(after)

    feed = EventFeed(hub, read_state=log.state, read_page=page, on_end=lambda _: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.follow)
        with await feed.open(None, wanted(None, None)):
            log.commit(log.begin())
            await trio.testing.wait_all_tasks_blocked()
        go_on.set()
        await trio.testing.wait_all_tasks_blocked()
        assert (feed.total, feed.window_after(0)) == (0, ([], 0))
        nursery.cancel_scope.cancel()


async def test_the_log_is_not_read_beyond_its_horizon(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    await write(room, 3)
    monkeypatch.setattr(event_log, "state", lambda _: LogState(0, 2))
    page = await room.service.read(event_log.page, 0)
    assert ([event.id for event in page.events], page.end) == ([1, 2], 2)
    page = await room.service.read(event_log.page, 2)
    assert ([event.id for event in page.events], page.end) == ([], 2)


class Follower:
    """A client of the random walk: it holds the stream to its promise, across hang-ups."""

    def __init__(self, after: int) -> None:
        self.last = after
        self.gaps = 0
        self.overruns = 0

    def take(self, event: SeenEvent) -> None:
        if event.kind == "gap":
            assert event.data["from"] == self.last + 1
            self.last = event.data["to"]
            self.gaps += 1
        elif event.kind == "overrun":
            self.overruns += 1
        else:
            assert event.id == self.last + 1
            self.last = event.id


async def live_through(room: Room, follower: Follower, rng: random.Random, until: trio.Event) -> None:
    """Follow, with pauses and hang-ups, until the walk is over and everything is seen."""
    while True:
        async with follow(room.app, last_event_id=follower.last) as stream:
            for _ in range(rng.randrange(1, 200)):
                try:
                    block = await stream.block()
                except EOFError:
                    break
                if block.kind is not None:
                    follower.take(block)
                if rng.random() < 0.05:
                    await trio.sleep(rng.choice([0.1, 1, 20]))
                if until.is_set() and follower.last == room.service.events.position:
                    return
        await trio.sleep(rng.choice([0, 0, 1, 10]))


@pytest.mark.parametrize("seed", range(20))
async def test_a_random_walk_loses_and_repeats_nothing(room: Room, seed: int) -> None:
    rng = random.Random(seed)
    feed = room.service.events
    feed.max_behind, feed.window_bytes = rng.choice([5, 50]), rng.choice([500, 5000, 10**6])
    over = trio.Event()
    followers = [Follower(0) for _ in range(5)]
    async with trio.open_nursery() as nursery:
        for follower in followers:
            nursery.start_soon(live_through, room, follower, random.Random(rng.random()), over)
        for _ in range(150):
            await write(room, rng.choice([1, 1, 1, 2, 10, 150]))
            if rng.random() < 0.1:
                await trim(room, keep=rng.choice([0, 10, 200]))
            await trio.sleep(rng.choice([0, 0, 0.1, 1, 5]))
        over.set()
    total = (await room.service.read(event_log.state)).horizon
    assert [follower.last for follower in followers] == [total] * 5
