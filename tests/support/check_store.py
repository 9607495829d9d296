"""What every store must hold, whatever its engine: written against its two verbs and the relay's operations.

A test of an engine gives `make`, which opens the store of a name (opened again, it holds what was kept), and runs each
of `CHECKS` with it.
"""

import itertools
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, TypeVar

import pytest
import trio

from trio_relay.core.model import Rung
from trio_relay.core.wire import AgentRegistration, ClaimRequest, InboxMessage, ReceiptReport, SendRequest
from trio_relay.errors import Conflict, NotFound, RelayError, Unavailable
from trio_relay.relay.operations import agents, leases, messages, messages_read, receipts, upkeep
from trio_relay.relay.operations.tx import Policy, Tx
from trio_relay.store import Store
from trio_relay.store.queries import queries

T = TypeVar("T")
_tokens = itertools.count(1)
NOW = 1_800_000_000_000


MakeStore = Callable[[str], AbstractAsyncContextManager[Store]]
Check = Callable[[MakeStore], Awaitable[None]]


def on(operation: Callable[..., T], *args: Any, **kwargs: Any) -> Callable[[Any], T]:
    """One of the relay's operations, as a function of a connection."""

    def run(connection: Any) -> T:
        tx = Tx(connection, NOW, lambda: f"token-{next(_tokens)}", Policy())
        return operation(tx, *args, **kwargs)

    return run


def joining(agent_id: str, **fields: Any) -> Callable[[Any], Any]:
    return on(agents.register, AgentRegistration(id=agent_id, ready=True, **fields))


def sending(body: str = "hello", *, to: str = "bob", **fields: Any) -> Callable[[Any], int]:
    def run(connection: Any) -> int:
        request = SendRequest(sender="ann", to=to, body=body, **fields)
        sent, _ = on(messages.send, request)(connection)
        return int(sent.id)

    return run


async def inbox(store: Store, agent_id: str = "bob", *, after_seq: int = 0) -> list[InboxMessage]:
    query = {"unread": True, "since_id": None, "after_seq": after_seq, "state": None, "limit": 1000}
    return await store.read(on(messages_read.inbox, agent_id, **query))


async def bodies(store: Store) -> list[str]:
    return [message.body for message in await inbox(store)]


def failing_after(operation: Callable[[Any], Any], error: Exception) -> Callable[[Any], Any]:
    """Do `operation`, then raise: nothing of it may remain."""

    def run(connection: Any) -> None:
        operation(connection)
        raise error

    return run


async def what_was_written_is_read_now_and_after_reopening(make: MakeStore) -> None:
    async with make("kept") as store:
        await store.write(joining("bob", tags=["x"], meta={"channels": ["ops"]}))
        sent = await store.write(sending("first", channel="ops"))
        receipt = await store.write(
            on(receipts.report, sent, ReceiptReport(agent_id="bob", state=Rung.HANDED_OFF, evidence={"n": 1}))
        )
        before = await inbox(store)
    async with make("kept") as store:
        assert await inbox(store) == before
        assert await store.read(on(receipts.receipts, sent)) == [receipt]
        assert await store.write(sending("second")) == sent + 1


async def an_operation_that_raises_changes_nothing_and_raises_its_own_error(make: MakeStore) -> None:
    async with make("failed") as store:
        await store.write(joining("bob"))
        error = NotFound("nobody")
        with pytest.raises(NotFound) as raised:
            await store.write(failing_after(sending("lost"), error))
        assert raised.value is error
        with pytest.raises(ZeroDivisionError):
            await store.write(failing_after(sending("lost"), ZeroDivisionError()))
        assert await bodies(store) == []


async def siblings_commit_when_one_raises(make: MakeStore) -> None:
    async with make("siblings") as store:
        await store.write(joining("bob"))
        failed: list[str] = []

        async def write(number: int) -> None:
            operation = sending(str(number))
            try:
                await store.write(
                    failing_after(operation, NotFound("nobody")) if number % 3 == 0 else operation
                )
            except NotFound:
                failed.append(str(number))

        async with trio.open_nursery() as nursery:
            for number in range(60):
                nursery.start_soon(write, number)
        assert sorted(failed) == sorted(str(n) for n in range(60) if n % 3 == 0)
        assert sorted(await bodies(store)) == sorted(str(n) for n in range(60) if n % 3)


async def each_caller_hears_its_own_result(make: MakeStore) -> None:
    async with make("results") as store, trio.open_nursery() as nursery:

        async def ask(number: int) -> None:
            assert await store.write(lambda _: number) == number
            assert await store.read(lambda _: -number) == -number

        for number in range(100):
            nursery.start_soon(ask, number)


async def writes_happen_one_after_another_in_the_order_they_were_asked_for(make: MakeStore) -> None:
    async with make("order") as store:
        await store.write(joining("bob"))
        order: list[int] = []
        async with trio.open_nursery() as nursery:
            for number in range(50):
                write = partial(store.write, sending(str(number)), after=order.append)
                # Started in this order: start() runs a task up to its first wait.
                await nursery.start(_started, write)
        found = await inbox(store)
        assert [message.body for message in found] == [str(number) for number in range(50)]
        assert [message.id for message in found] == order


async def _started(
    call: Callable[[], Awaitable[Any]], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    task_status.started()
    await call()


async def no_update_is_lost(make: MakeStore) -> None:
    """Every registration reads the epoch and writes the next."""
    async with make("updates") as store:
        async with trio.open_nursery() as nursery:
            for number in range(80):
                nursery.start_soon(store.write, joining("bob", instance_id=str(number)))
        assert (await store.read(on(agents.get_agent, "bob"))).epoch == 80


async def a_claimable_has_one_winner(make: MakeStore) -> None:
    async with make("claims") as store:
        names = [f"worker-{number}" for number in range(30)]
        for name in names:
            await store.write(joining(name))
        message_id = await store.write(sending(to="broadcast", claimable=True))
        winners: list[str] = []

        async def race(name: str) -> None:
            try:
                await store.write(on(leases.claim, message_id, ClaimRequest(agent_id=name)))
            except Conflict:
                return
            winners.append(name)

        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(race, name)
        (winner,) = winners
        assert (await store.read(on(messages_read.get_message, message_id))).claimed_by == winner


async def after_is_called_once_with_the_result_before_the_caller_hears(make: MakeStore) -> None:
    async with make("after") as store:
        heard: list[Any] = []
        result = await store.write(lambda _: 7, after=heard.append)
        assert (heard, result) == ([7], 7)
        with pytest.raises(NotFound):
            await store.write(failing_after(lambda _: None, NotFound("nobody")), after=heard.append)
        assert heard == [7]


async def a_caller_that_goes_away_does_not_undo_what_was_done_for_it(make: MakeStore) -> None:
    async with make("cancelled") as store:
        await store.write(joining("bob"))

        async def hang_up(body: str) -> None:
            heard = trio.Event()
            with trio.CancelScope() as scope:
                scope.cancel()
                await store.write(sending(body), after=lambda _: heard.set())
            await heard.wait()

        for number in range(10):  # who runs first, the caller or the writer, is a matter of chance
            await hang_up(str(number))
        assert await bodies(store) == [str(number) for number in range(10)]


async def a_read_sees_every_commit_made_before_it(make: MakeStore) -> None:
    async with make("fresh") as store:
        await store.write(joining("bob"))

        async def alternate(name: str) -> None:
            for number in range(15):
                await store.write(sending(f"{name}-{number}"))
                assert f"{name}-{number}" in await bodies(store)

        async with trio.open_nursery() as nursery:
            for name in "abcdefgh":
                nursery.start_soon(alternate, name)


async def a_read_changes_nothing(make: MakeStore) -> None:
    async with make("readonly") as store:
        await store.write(joining("bob"))
        with pytest.raises(Exception, match=r".+") as refused:
            await store.read(sending("never"))
        assert not isinstance(refused.value, RelayError)
        assert await bodies(store) == []


async def a_cursor_skips_nothing_that_commits_late(make: MakeStore) -> None:
    """Whoever follows the arrival numbers while many write sees every message once."""
    async with make("cursor") as store:
        await store.write(joining("bob"))
        seen: list[str] = []
        written = trio.Event()

        async def write(name: str) -> None:
            for number in range(20):
                await store.write(sending(f"{name}-{number}"))

        async def follow() -> None:
            cursor = 0
            while True:
                last = written.is_set()
                page = await inbox(store, after_seq=cursor)
                seen.extend(message.body for message in page)
                cursor = page[-1].inbox_seq if page else cursor
                if last and not page:
                    return

        async with trio.open_nursery() as following:
            following.start_soon(follow)
            async with trio.open_nursery() as writing:
                for name in "abcdef":
                    writing.start_soon(write, name)
            written.set()
        assert sorted(seen) == sorted(f"{name}-{number}" for name in "abcdef" for number in range(20))


async def numbers_are_never_given_twice(make: MakeStore) -> None:
    async with make("numbers") as store:
        await store.write(joining("bob"))
        first = await store.write(sending())
        last = (await inbox(store))[0].inbox_seq
        await store.write(on(messages.delete, first))
    async with make("numbers") as store:
        cursor = await store.read(on(messages_read.cursor))
        assert (cursor.latest_id, cursor.latest_seq) == (first, last)
        assert await store.write(sending()) > first
        assert (await inbox(store))[0].inbox_seq > last


async def text_and_numbers_come_back_as_they_were(make: MakeStore) -> None:
    body = "line\r\n\ttab 'quote' \"double\" %s :name ; -- \u202e😀\u0000 end" + "ä" * 1_000_000
    async with make("text") as store:
        await store.write(joining("bob"))
        sent = await store.write(sending(body, subject="", meta={"n": 2**53, "f": 0.1, "": None}))
        found = await store.read(on(messages_read.get_message, sent))
        assert (found.body, found.subject) == (body, "")
        assert found.meta == {"n": 2**53, "f": 0.1, "": None}


async def deleting_a_message_takes_along_what_hangs_on_it(make: MakeStore) -> None:
    async with make("deleted") as store:
        await store.write(joining("bob"))
        sent = await store.write(sending(claimable=True))
        report = ReceiptReport(agent_id="bob", state=Rung.IN_CONTEXT)
        await store.write(on(receipts.report, sent, report))
        await store.write(on(messages.delete, sent))
        assert await store.read(on(upkeep.counts)) == ({"online": 1}, 0, {}, 0)
        assert await store.read(lambda c: queries.get_lease(c, key=f"message:{sent}")) is None
        await store.write(joining("cat"))
        assert await inbox(store, "cat") == []


async def closing_commits_what_waits_and_takes_no_more(make: MakeStore) -> None:
    heard: list[int] = []
    async with trio.open_nursery() as nursery:
        async with make("closing") as store:
            await store.write(joining("bob"))
            for number in range(20):
                write = partial(store.write, sending(str(number)), after=heard.append)
                await nursery.start(_started, write)
        with pytest.raises(Unavailable) as refused:
            await store.write(sending("too late"))
        assert refused.value.code == "shutting_down"
    assert len(heard) == 20
    async with make("closing") as store:
        assert await bodies(store) == [str(number) for number in range(20)]


CHECKS: tuple[Check, ...] = (
    what_was_written_is_read_now_and_after_reopening,
    an_operation_that_raises_changes_nothing_and_raises_its_own_error,
    siblings_commit_when_one_raises,
    each_caller_hears_its_own_result,
    writes_happen_one_after_another_in_the_order_they_were_asked_for,
    no_update_is_lost,
    a_claimable_has_one_winner,
    after_is_called_once_with_the_result_before_the_caller_hears,
    a_caller_that_goes_away_does_not_undo_what_was_done_for_it,
    a_read_sees_every_commit_made_before_it,
    a_read_changes_nothing,
    a_cursor_skips_nothing_that_commits_late,
    numbers_are_never_given_twice,
    text_and_numbers_come_back_as_they_were,
    deleting_a_message_takes_along_what_hangs_on_it,
    closing_commits_what_waits_and_takes_no_more,
)
