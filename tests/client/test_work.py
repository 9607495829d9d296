"""Work that one agent does: claimed under a lease that lasts as long as its block, and no longer than the relay knows."""

import pytest
import trio
from trio.testing import MockClock

from trio_relay.client import Relay
from trio_relay.core.tasks import TaskStatus
from trio_relay.errors import Conflict, Invalid
from trio_relay.testing import InsideRelay


async def test_each_piece_of_work_is_done_by_one(relay: Relay, autojump_clock: MockClock) -> None:
    done: dict[int, list[str]] = {}

    async def worker(name: str, task_status: trio.TaskStatus[None]) -> None:
        async with relay.agent(name, tags=["pool"]) as me:
            task_status.started()
            async for work in me.claimables():
                async with work:
                    await trio.sleep(10)
                    done.setdefault(work.id, []).append(name)
                    work.result = {"by": name}

    async with relay.agent("boss") as boss, trio.open_nursery() as nursery:
        for name in ("w1", "w2"):
            await nursery.start(worker, name)
        jobs = [await boss.send("tag:pool", f"job {n}", claimable=True) for n in range(4)]
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert sorted(done) == [job.id for job in jobs]
    assert all(len(by) == 1 for by in done.values())


async def test_a_claim_outlives_its_lease_while_the_block_runs(
    relay: Relay, autojump_clock: MockClock
) -> None:
    async with relay.agent("boss") as boss, relay.agent("ann") as ann, relay.agent("bob", tags=["b"]):
        sent = await boss.send("ann", "long", claimable=True)
        work = await anext(ann.claimables())
        async with work:
            await trio.sleep(600)
            assert (await relay.client.message(sent.id)).claimed_by == "ann"
        assert not work.lost
        ladder = (await relay.client.receipts(sent.id))[0]
        assert ladder.state == "settled"


async def test_an_error_gives_the_work_back(relay: Relay, autojump_clock: MockClock) -> None:
    async with relay.agent("boss") as boss, relay.agent("ann") as ann:
        await boss.send("ann", "hard", claimable=True)
        claimables = ann.claimables()
        with pytest.raises(ZeroDivisionError):
            async with await anext(claimables):
                _ = 1 / 0
        async with await anext(claimables) as again:
            assert again.wire.attempt == 2
            await again.complete("done")


async def test_work_stops_before_a_claim_that_cannot_be_kept_lapses(
    relay: Relay, inside: InsideRelay, autojump_clock: MockClock
) -> None:
    async with relay.agent("boss") as boss, relay.agent("ann") as ann:
        sent = await boss.send("ann", "long", claimable=True)
        work = await anext(ann.claimables())
        async with work:
            began = trio.current_time()
            inside.cut()
            await trio.sleep_forever()
        assert work.lost
        assert 59 <= trio.current_time() - began <= 60
        inside.mend()
        await trio.sleep(60)
        async with await anext(ann.claimables()) as again:
            assert again.id == sent.id


async def test_a_claim_taken_away_ends_the_block(relay: Relay, autojump_clock: MockClock) -> None:
    async with relay.agent("boss") as boss, relay.agent("ann") as ann:
        sent = await boss.send("ann", "long", claimable=True)
        work = await anext(ann.claimables())
        async with work:
            await relay.client.release(sent.id, "ann", None, ann.presence.session)
            await trio.sleep_forever()
        assert work.lost


async def test_ci_posts_an_event_and_waits_for_what_came_of_it(
    relay: Relay, inside: InsideRelay, autojump_clock: MockClock
) -> None:
    async def fix(task_status: trio.TaskStatus[None]) -> None:
        async with relay.agent("fixer", tags=["ci"]) as me:
            task_status.started()
            async for work in me.claimables():
                async with work:
                    await work.progress({"done": 0.5})
                    await trio.sleep(300)
                    if work.body == "flaky":
                        await work.fail("cannot be reproduced")
                    else:
                        await work.complete({"pull": 7})

    token = await inside.mint("ci")
    async with inside.connect(token) as ci, trio.open_nursery() as nursery:
        await nursery.start(fix)
        red = await ci.post_event("The build is red", target="tag:ci", dedupe_key="build-7")
        again = await ci.post_event("The build is red", target="tag:ci", dedupe_key="build-7")
        assert (again.id, again.occurrence_count) == (red.id, 2)
        ended = await ci.wait_for_task(red.id)
        assert (ended.status, ended.result, ended.progress) == ("done", {"pull": 7}, {"done": 0.5})
        other = await ci.post_event("Odd", body="flaky", target="tag:ci")
        assert (await ci.wait_for_task(other.id)).status is TaskStatus.FAILED
        assert (await ci.wait_for_task(other.id)).result == "cannot be reproduced"
        nursery.cancel_scope.cancel()


async def test_a_message_has_no_progress(relay: Relay, autojump_clock: MockClock) -> None:
    async with relay.agent("boss") as boss, relay.agent("ann") as ann:
        await boss.send("ann", "job", claimable=True)
        async with await anext(ann.claimables()) as work:
            with pytest.raises(Invalid, match="only tasks"):
                await work.progress(1)


async def test_a_named_resource_is_held_for_a_block(
    relay: Relay, inside: InsideRelay, autojump_clock: MockClock
) -> None:
    async with relay.agent("ann") as ann, relay.agent("bob") as bob:
        async with ann.lease("file:src/**") as held:
            await trio.sleep(600)
            with pytest.raises(Conflict, match="'ann' holds"):
                async with bob.lease("file:src/a.py"):
                    pass
        assert not held.lost
        async with bob.lease("file:src/a.py") as lost:
            inside.cut()
            await trio.sleep_forever()
        assert lost.lost


async def test_work_nobody_began_is_offered_again(relay: Relay, autojump_clock: MockClock) -> None:
    async with relay.agent("boss") as boss, relay.agent("ann") as ann:
        sent = await boss.send("ann", "job", claimable=True)
        claimables = ann.claimables()
        forgotten = await anext(claimables)
        async with await anext(claimables) as again:
            assert (again.id, again.wire.attempt) == (sent.id, 2)
        async with forgotten:
            await trio.sleep_forever()
        assert forgotten.lost


async def test_work_that_is_given_back_comes_again_and_is_not_settled(
    relay: Relay, autojump_clock: MockClock
) -> None:
    async with relay.agent("boss") as boss, relay.agent("ann") as ann:
        await boss.send("ann", "job", claimable=True)
        claimables = ann.claimables()
        async with await anext(claimables) as work:
            await work.release()
        assert (work.settled, work.lost) == (False, False)
        async with await anext(claimables) as again:
            pass
        assert again.settled
