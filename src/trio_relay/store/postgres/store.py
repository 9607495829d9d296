"""PostgreSQL: several write at once, from this process and others, and each transaction is committed by itself.

An operation is alone (nobody writes beside it, anywhere) or runs beside others, having been thought through for it:
see ``locks.py``. Within this process those that are alone are run in the order in which they were asked for, one at a
time, so that at most one connection waits for the room.

What fails because of the weather is tried again, with a new connection where the old one is gone, for `PATIENCE`
seconds. If the connection is lost while a transaction commits, the server is asked what became of it; nobody hears of
success before that is known, and nothing is done twice.
"""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

import outcome
import trio

from trio_relay.errors import Unavailable
from trio_relay.store.interface import RunSync
from trio_relay.store.postgres.connection import connect
from trio_relay.store.postgres.seat import Done, Failed, NotAlone, Seat, Unsure

T = TypeVar("T")
#: Seconds until a caller hears that the database is away.
PATIENCE = 4.0
#: Seconds between two attempts: the first pause, the longest.
PAUSES = (0.05, 0.5)


#: Seconds after which a write that nobody has begun is given up.
IN_QUEUE = 10.0
#: Seconds after which a server that still has not answered counts as gone, though it acknowledges our packets: more
#: than it may take for a statement (connection.py).
LONGEST = 40.0


@dataclass(eq=False)
class _Job(Generic[T]):
    """One waiting write. `number` is its place in the order in which writes were asked for."""

    operation: Callable[[Any], T]
    after: Callable[[T], None] | None
    alone: bool
    number: int
    deadline: float
    done: trio.Event = field(default_factory=trio.Event)
    result: outcome.Outcome[T] | None = None


class PostgresStore:
    """An open PostgreSQL database. Use `open_postgres`."""

    def __init__(self, url: str, name: str, run_sync: RunSync, connections: int) -> None:
        self.name = name
        self.on_commit: Callable[[int, float], None] | None = None
        self._connect = partial(connect, url)
        self._run_sync = run_sync
        self._closing = False
        self._numbers = 0
        self._alone: deque[_Job[Any]] = deque()
        self._beside: deque[_Job[Any]] = deque()
        self._one_is_alone = False
        #: Why the latest attempt failed; None: it did not.
        self._trouble: str | None = None
        self._idle_writers = trio.lowlevel.ParkingLot()
        #: Who waits for the server, and since when.
        self._busy: dict[Seat, float] = {}
        self._watch = trio.CancelScope(shield=True)
        self._working = 0
        #: How many write at once.
        self.writers = max(1, connections // 2)
        readers = max(1, connections - self.writers)
        self._idle_readers = [Seat(partial(self._connect, readonly=True)) for _ in range(readers)]
        self._reader_slots = trio.CapacityLimiter(readers)

    async def write(
        self, operation: Callable[[Any], T], *, after: Callable[[T], None] | None = None, alone: bool = True
    ) -> T:
        """See `Store.write`."""
        if self._closing:
            raise Unavailable("the relay is shutting down", code="shutting_down")
        self._numbers += 1
        job = _Job(operation, after, alone, self._numbers, trio.current_time() + PATIENCE)
        self._queue(job)
        with trio.move_on_after(IN_QUEUE):
            await job.done.wait()
        if self._give_up(job):
            raise Unavailable(
                "the store cannot be used now: the database is too slow for what is to be written"
            )
        await job.done.wait()
        if job.result is None:
            raise RuntimeError("a write ended without a result")
        return job.result.unwrap()

    async def read(self, operation: Callable[[Any], T], *, fresh: bool = False) -> T:
        """See `Store.read`."""
        deadline = trio.current_time() + PATIENCE
        patience = _Patience(deadline)
        reason = "the store cannot be used now: the database is busy"
        while True:
            with trio.move_on_at(deadline) as waiting:
                await self._reader_slots.acquire()
            if waiting.cancelled_caught:
                raise Unavailable(reason)
            try:
                verdict = await self._read_once(operation, fresh)
            finally:
                self._reader_slots.release()
            if isinstance(verdict, Done):
                return verdict.result.unwrap()
            reason = verdict.reason
            if not await patience.pause():
                raise Unavailable(reason)

    async def _read_once(self, operation: Callable[[Any], T], fresh: bool) -> Done[T] | Failed:
        seat = self._idle_readers.pop()
        try:
            # Shielded: a cancelled reader must not leave a thread using a connection that others take next.
            with trio.CancelScope(shield=True):
                verdict: Done[T] | Failed = await self._in_thread(seat, seat.read, operation, fresh)
        finally:
            self._idle_readers.append(seat)
        return verdict

    async def work(self) -> None:
        """Task: do what waits to be written, until the store is closed and nothing waits any more."""
        seat = Seat(self._connect)
        self._working += 1
        with trio.CancelScope(shield=True):
            while True:
                job = self._take()
                if job is not None:
                    await self._do(seat, job)
                elif self._closing:
                    break
                else:
                    await self._idle_writers.park()
            await self._run_sync(seat.close)
        self._working -= 1
        if not self._working:
            self._watch.cancel()

    async def watch(self) -> None:
        """Task: end what the server leaves without an answer, as long as anybody writes."""
        with self._watch:
            while True:
                await trio.sleep(LONGEST / 8)
                for seat, since in self._busy.items():
                    if trio.current_time() - since > LONGEST:
                        seat.cut()

    async def _in_thread(self, seat: Seat, call: Callable[..., Any], *args: Any) -> Any:
        self._busy[seat] = trio.current_time()
        try:
            return await self._run_sync(call, *args)
        finally:
            del self._busy[seat]

    def _give_up(self, job: _Job[Any]) -> bool:
        """Take a write back that nobody has begun; answer whether that was possible."""
        waiting = self._alone if job.alone else self._beside
        if job not in waiting:
            return False
        waiting.remove(job)
        return True

    def close(self) -> None:
        """Take no more writes; those that wait are still done."""
        self._closing = True
        self._idle_writers.unpark_all()

    async def close_readers(self) -> None:
        """Give the readers' connections up: nobody reads any more."""
        for seat in self._idle_readers:
            await self._run_sync(seat.close)

    def _queue(self, job: _Job[Any]) -> None:
        (self._alone if job.alone else self._beside).append(job)
        self._idle_writers.unpark()

    def _take(self) -> _Job[Any] | None:
        """The oldest write that can be done now."""
        alone = None if self._one_is_alone or not self._alone else self._alone[0]
        beside = self._beside[0] if self._beside else None
        if alone is not None and (beside is None or alone.number < beside.number):
            self._one_is_alone = True
            return self._alone.popleft()
        return self._beside.popleft() if beside is not None else None

    async def _do(self, seat: Seat, job: _Job[Any]) -> None:
        began = trio.current_time()
        job.result = await self._outcome(seat, job)
        if job.alone:
            self._one_is_alone = False
            if self._alone:
                self._idle_writers.unpark()
        if job.result is None:  # it wants to be alone
            job.alone = True
            self._queue(job)
            return
        if isinstance(job.result, outcome.Value):
            if self.on_commit is not None:
                self.on_commit(1, trio.current_time() - began)
            if job.after is not None:
                job.after(job.result.value)
        job.done.set()

    async def _outcome(self, seat: Seat, job: _Job[Any]) -> outcome.Outcome[Any] | None:
        """Run a write until it is known what became of it; None: it must be alone."""
        patience = _Patience(job.deadline)
        while True:
            if self._trouble is not None and trio.current_time() > job.deadline:
                return outcome.Error(Unavailable(self._trouble))
            try:
                verdict = await self._in_thread(seat, seat.write, job.operation, job.alone)
                if isinstance(verdict, Unsure):
                    verdict = await self._fate(seat, verdict, patience)
            except Exception as error:  # noqa: BLE001  # what is wrong with one operation is its caller's to hear
                return outcome.Error(error)
            self._trouble = verdict.reason if isinstance(verdict, Failed) else None
            if isinstance(verdict, Done):
                return verdict.result
            if isinstance(verdict, NotAlone):
                return None
            if not await patience.pause():
                return outcome.Error(Unavailable(verdict.reason))

    async def _fate(self, seat: Seat, unsure: Unsure, patience: "_Patience") -> Done[Any] | Failed:
        """Ask until the server knows what became of a transaction.

        Raises:
            Unavailable: it cannot be known, or not in time (code ``outcome_unknown``).

        """
        while True:
            status = await self._in_thread(seat, seat.fate, unsure)
            if status == "committed":
                return Done(unsure.result)
            if status == "aborted":
                return Failed(f"the store cannot be used now: {unsure.reason}")
            if status == "doubtful" or not await patience.pause():
                raise Unavailable(
                    "the connection to the database was lost during the commit, and whether it was done is not known"
                    ": repeat the request (a send with the same idempotencyKey is done once)",
                    code="outcome_unknown",
                )


class _Patience:
    """How long to go on trying: growing pauses, up to a deadline."""

    def __init__(self, deadline: float, chance: Callable[[], float] = random.random) -> None:
        self._deadline = deadline
        self._chance = chance
        self._next, self._longest = PAUSES

    async def pause(self) -> bool:
        """Wait before the next attempt; False: there is no time for one."""
        pause = self._next * (0.5 + self._chance())
        self._next = min(self._longest, self._next * 2)
        if trio.current_time() + pause > self._deadline:
            return False
        await trio.sleep(pause)
        return True
