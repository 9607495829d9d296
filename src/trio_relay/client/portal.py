"""The bridge of the synchronous library: a thread with an event loop, calls into it, and blocks that are held there."""

from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Generic, TypeVar

import anyio
from anyio.abc import TaskStatus
from anyio.from_thread import BlockingPortal

from trio_relay.client.holding import bare_errors
from trio_relay.client.presence import Presence

T = TypeVar("T")


class _Left(Exception):  # noqa: N818  # a message from one thread to another
    """The synchronous block has ended with an error."""


class LoopThread:
    """The thread with the loop, as the face of one object sees it. `presence` ends what is waited for when it is over."""

    def __init__(self, portal: BlockingPortal, presence: Presence | None = None) -> None:
        self.portal = portal
        self._presence = presence

    def of(self, presence: Presence) -> "LoopThread":
        """The same, for what belongs to an agent."""
        return LoopThread(self.portal, presence)

    def run(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any, **kwargs: Any) -> T:
        """Run a coroutine function there, and wait; an error here (Ctrl-C) cancels it."""
        future: Future[T] = self.portal.start_task_soon(self._guarded, lambda: function(*args, **kwargs))
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def _guarded(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if self._presence is None:
            return await call()
        presence = self._presence
        with bare_errors():
            async with anyio.create_task_group() as group:

                async def stop() -> None:
                    await presence.over.wait()
                    assert presence.error is not None
                    raise presence.error

                group.start_soon(stop)
                answer = await call()
                group.cancel_scope.cancel()
        return answer


class Block(Generic[T]):
    """An asynchronous block, entered and left from here."""

    def __init__(self, thread: LoopThread, opening: AbstractAsyncContextManager[T]) -> None:
        self._portal = thread.portal
        self._opening = opening
        self._failed = False

    def __enter__(self) -> T:
        self._future, value = self._portal.start_task(self._run)
        opened: T = value
        return opened

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._failed = kind is not None
        self._portal.call(self._left.set)
        try:
            self._future.result()
        except _Left:
            return

    async def _run(self, *, task_status: TaskStatus[T]) -> None:
        self._left = anyio.Event()
        async with self._opening as value:
            task_status.started(value)
            await self._left.wait()
            if self._failed:
                raise _Left


async def within(seconds: float | None, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Await a call for so many seconds at most; TimeoutError after."""
    with anyio.fail_after(seconds):
        return await call()
