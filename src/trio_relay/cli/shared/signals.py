"""Leaving in good order when somebody wants us to stop: Ctrl-C, SIGTERM, a terminal that is closed."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from trio_relay.cli.shared.failures import INTERRUPTED

_SIGNALLED = 128


@dataclass(slots=True)
class Stopped:
    """Whether the block was stopped, and the exit code a shell expects then."""

    exit_code: int | None = None


@asynccontextmanager
async def until_signal() -> AsyncIterator[Stopped]:
    """Run the block until it ends or a signal comes, which cancels it. Its clean-up runs either way."""
    stopped = Stopped()
    async with trio.open_nursery() as nursery:
        await nursery.start(_wait, stopped, nursery.cancel_scope)
        yield stopped
        nursery.cancel_scope.cancel()


async def _wait(stopped: Stopped, scope: trio.CancelScope, *, task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        task_status.started()
        async for number in signals:
            stopped.exit_code = INTERRUPTED if number == signal.SIGINT else _SIGNALLED + number
            scope.cancel()
            return
