"""Which thread is the person's: the observer's view of a (fake) app-server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing

from support.fake_app_server import FakeAppServer, fake_app_server
from trio_relay.codex.app_server import open_app_server
from trio_relay.codex.follow import follow, is_persons_own

THREAD = {"id": "t", "ephemeral": False, "parentThreadId": None, "threadSource": "user"}


def test_helpers_and_children_are_not_a_persons_threads() -> None:
    assert is_persons_own(THREAD)
    assert is_persons_own({**THREAD, "threadSource": None}), "one that a sidecar began, resumed by a person"
    assert not is_persons_own({**THREAD, "threadSource": "thread_title", "ephemeral": True})
    assert not is_persons_own({**THREAD, "ephemeral": True})
    assert not is_persons_own({**THREAD, "threadSource": "subagent"})
    assert not is_persons_own({**THREAD, "parentThreadId": "another"})
    assert not is_persons_own({})


@asynccontextmanager
async def followed(fake: FakeAppServer) -> AsyncIterator[trio.MemoryReceiveChannel[str]]:
    send, receive = trio.open_memory_channel[str](16)
    async with open_app_server(fake.url, dial=fake.dial) as observer, trio.open_nursery() as nursery:
        nursery.start_soon(follow, observer, send)
        await trio.testing.wait_all_tasks_blocked()
        yield receive
        nursery.cancel_scope.cancel()


async def test_a_thread_that_begins_is_told_once(autojump_clock: Any) -> None:
    async with (
        fake_app_server() as fake,
        followed(fake) as threads,
        open_app_server(fake.url, dial=fake.dial) as tui,
    ):
        thread = await tui.thread_start(cwd="/x")
        assert await threads.receive() == thread
        await tui.turn_start(thread, "hello", "1")  # changes its status
        another = await tui.thread_start(cwd="/x")
        assert await threads.receive() == another


async def test_a_thread_that_was_there_before_is_told(autojump_clock: Any) -> None:
    async with fake_app_server() as fake, open_app_server(fake.url, dial=fake.dial) as tui:
        thread = await tui.thread_start(cwd="/x")
        async with followed(fake) as threads:
            assert await threads.receive() == thread


async def test_a_resumed_thread_is_told_though_it_never_began(autojump_clock: Any) -> None:
    """Codex 0.169 sends no ``thread/started`` for a thread loaded from disk."""
    async with fake_app_server() as fake:
        async with open_app_server(fake.url, dial=fake.dial) as earlier:
            thread = await earlier.thread_start(cwd="/x")
            await earlier.turn_start(thread, "hello", "1")
            async for notification in earlier.notifications:
                if notification.method == "turn/completed":
                    break
        await fake.kill()
        await fake.start()
        async with followed(fake) as threads, open_app_server(fake.url, dial=fake.dial) as tui:
            await tui.thread_resume(thread)
            assert await threads.receive() == thread
