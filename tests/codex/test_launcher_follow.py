"""Where the person is, and where they go: seen through a (fake) app-server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from support.fake_app_server import FakeAppServer, fake_app_server
from trio_relay.codex.app_server import AppServer, open_app_server
from trio_relay.codex.follow import Follower, Move, first_thread, is_persons_own

THREAD = {"id": "t", "ephemeral": False, "parentThreadId": None, "threadSource": "user"}


def test_helpers_and_children_are_not_a_persons_threads() -> None:
    assert is_persons_own(THREAD)
    assert is_persons_own({**THREAD, "threadSource": None}), "one that a sidecar began, resumed by a person"
    assert not is_persons_own({**THREAD, "threadSource": "thread_title", "ephemeral": True})
    assert not is_persons_own({**THREAD, "ephemeral": True})
    assert not is_persons_own({**THREAD, "threadSource": "subagent"})
    assert not is_persons_own({**THREAD, "parentThreadId": "another"})
    assert not is_persons_own({**THREAD, "source": {"subAgent": {"thread_spawn": {}}}}), "as 0.130 tells it"
    assert not is_persons_own({})


class Watching:
    """A follower at work, and what it has told."""

    def __init__(self, server: AppServer, **settings: Any) -> None:
        self.server = server
        self.follower = Follower(server, **settings)
        self.moves: list[Move] = []

    async def run(self) -> None:
        if (there := await self.follower.present()) is not None:
            self._move(there)
        async for notification in self.server.notifications:
            if (move := await self.follower.take(notification)) is not None:
                self._move(move)

    def _move(self, move: Move) -> None:
        self.follower.current = move.thread_id
        self.moves.append(move)

    async def went(self) -> list[str]:
        """Where the person has gone so far."""
        await trio.sleep(2)
        return [move.thread_id for move in self.moves]


@asynccontextmanager
async def watching(fake: FakeAppServer, **settings: Any) -> AsyncIterator[Watching]:
    async with open_app_server(fake.url, dial=fake.dial) as observer, trio.open_nursery() as nursery:
        watch = Watching(observer, **settings)
        nursery.start_soon(watch.run)
        await trio.testing.wait_all_tasks_blocked()
        yield watch
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def terminal(fake: FakeAppServer) -> AsyncIterator[AppServer]:
    """A connection as a TUI has one."""
    async with open_app_server(fake.url, dial=fake.dial, name="codex-tui") as tui:
        yield tui


async def begin(tui: AppServer, cwd: str = "/x", source: str | None = "user", **more: Any) -> str:
    answer = await tui.call("thread/start", {"cwd": cwd, "threadSource": source, **more})
    return str(answer["thread"]["id"])


async def say(tui: AppServer, thread_id: str, client_id: str) -> None:
    """Have a turn, to its end."""
    await tui.turn_start(thread_id, "hello", client_id)
    await trio.sleep(1)


async def test_threads_a_person_begins_or_forks_are_followed(autojump_clock: Any) -> None:
    async with fake_app_server() as fake, watching(fake) as watch, terminal(fake) as tui:
        first = await begin(tui)
        await say(tui, first, "a-person-s-own-id")
        second = await begin(tui)
        fork = (await tui.call("thread/fork", {"threadId": first, "threadSource": "user"}))["thread"]["id"]
        assert await watch.went() == [first, second, fork]
        assert watch.moves[2].forked_from == first


async def test_helpers_and_programs_threads_are_not_followed(autojump_clock: Any) -> None:
    async with fake_app_server() as fake, watching(fake) as watch, terminal(fake) as tui:
        mine = await begin(tui)
        title = await begin(tui, source="thread_title", ephemeral=True)
        await say(tui, title, "title")
        await begin(tui, source=None)
        assert await watch.went() == [mine]


async def test_a_thread_that_was_there_before_is_told(autojump_clock: Any) -> None:
    async with fake_app_server() as fake, terminal(fake) as tui:
        thread = await begin(tui)
        async with watching(fake) as watch:
            assert await watch.went() == [thread]
        async with watching(fake, current=thread) as watch:
            assert await watch.went() == [], "known to be there"
        assert await first_thread(tui) == thread


async def test_a_resumed_thread_is_followed_though_it_never_began(autojump_clock: Any) -> None:
    """Codex 0.169 sends no ``thread/started`` for a thread loaded from disk."""
    async with fake_app_server() as fake:
        async with terminal(fake) as earlier:
            thread = await begin(earlier)
            await say(earlier, thread, "1")
        await fake.kill()
        await fake.start()
        async with watching(fake, shared=True) as watch, terminal(fake) as tui:
            await tui.thread_resume(thread)
            assert await watch.went() == [thread]


async def test_a_thread_in_memory_that_is_resumed_is_followed_at_once(autojump_clock: Any) -> None:
    async with fake_app_server() as fake, terminal(fake) as tui, watching(fake) as watch:
        first = await begin(tui)
        await say(tui, first, "1")
        second = await begin(tui)
        await tui.thread_resume(first)
        assert await watch.went() == [first, second, first]


async def test_our_own_resumes_are_not_taken_for_the_persons(autojump_clock: Any) -> None:
    async with fake_app_server() as fake, terminal(fake) as tui, watching(fake) as watch:
        first = await begin(tui)
        await say(tui, first, "1")
        second = await begin(tui)
        await watch.went()
        watch.follower.resumed(first)
        await watch.server.thread_resume(first)
        assert await watch.went() == [first, second]
        await tui.thread_resume(first)
        assert await watch.went() == [first, second, first]


@pytest.mark.parametrize("version", ["0.169.0", "0.130.0"])
async def test_a_person_who_writes_in_another_thread_is_there(version: str, autojump_clock: Any) -> None:
    async with (
        fake_app_server(version=version) as fake,
        terminal(fake) as tui,
        watching(fake, shared=True) as watch,
    ):
        first = await begin(tui)
        second = await begin(tui)
        await say(tui, first, "of-the-tui")
        assert await watch.went() == [first, second, first]


async def test_a_relays_message_in_another_thread_moves_nobody(autojump_clock: Any) -> None:
    async with fake_app_server() as fake, terminal(fake) as tui, watching(fake) as watch:
        first = await begin(tui)
        second = await begin(tui)
        await say(tui, first, "relay:17")
        assert await watch.went() == [first, second]


async def test_only_threads_of_the_directory_count_if_one_is_given(autojump_clock: Any) -> None:
    async with fake_app_server() as fake, terminal(fake) as tui:
        await begin(tui, cwd="/elsewhere")
        async with watching(fake, cwd="/x", shared=True) as watch:
            here = await begin(tui, cwd="/x")
            elsewhere = await begin(tui, cwd="/elsewhere")
            await say(tui, elsewhere, "of-the-tui")
            assert await watch.went() == [here]


async def test_on_a_shared_server_a_resume_alone_says_nothing(autojump_clock: Any) -> None:
    async with fake_app_server() as fake, terminal(fake) as tui, watching(fake, shared=True) as watch:
        first = await begin(tui)
        await say(tui, first, "1")
        second = await begin(tui)
        await tui.thread_resume(first)  # as another agent's sidecar does when it reconnects
        assert await watch.went() == [first, second]
