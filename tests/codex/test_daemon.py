"""Which thread of a shared app-server `attach` finds, and what it says when there is none."""

from pathlib import Path
from typing import Any

import trio

from support.fake_app_server import FakeAppServer, fake_app_server
from trio_relay.cli.sessions.attach import nothing_found
from trio_relay.codex.app_server import open_app_server
from trio_relay.codex.daemon import Found, find_thread

HERE = "/home/ann/shop"
UNKNOWN = "019a0000-0000-7000-8000-00000000dead"


async def find(fake: FakeAppServer, thread_id: str | None = None) -> Found:
    return await find_thread(fake.url, HERE, thread_id, dial=fake.dial)


async def test_it_is_the_thread_used_last_in_this_directory(autojump_clock: Any) -> None:
    async with fake_app_server() as fake, open_app_server(fake.url, dial=fake.dial) as tui:

        async def begin(cwd: str, source: str = "user") -> str:
            thread = (await tui.call("thread/start", {"cwd": cwd, "threadSource": source}))["thread"]
            return str(thread["id"])

        assert await find(fake) == Found()
        other = await begin("/elsewhere")
        await begin(HERE, "thread_title")
        assert await find(fake) == Found(elsewhere=("/elsewhere",))
        first, second = await begin(HERE), await begin(HERE)
        assert await find(fake) == Found(second)
        await trio.sleep(10)
        await tui.turn_start(first, "hello", "a-person-s")
        await trio.sleep(1)
        assert await find(fake) == Found(first)
        assert await find(fake, other) == Found(other)
        assert await find(fake, UNKNOWN) == Found()


async def test_a_daemon_that_is_not_there_is_told_from_one_without_threads(tmp_path: Path) -> None:
    found = await find_thread(f"unix://{tmp_path}/socket", HERE)
    assert found.away == "the app-server cannot be reached: No such file or directory"


def test_what_is_missing_is_said_with_what_to_do() -> None:
    def says(found: Found, thread_id: str | None = None) -> str:
        return nothing_found(found, Path("/s"), HERE, thread_id)

    assert says(Found(away="gone")).startswith("no Codex daemon at /s (gone); start `codex`")
    assert says(Found(), UNKNOWN) == f"the Codex daemon has no thread {UNKNOWN}"
    assert says(Found()).startswith(f"no thread of yours is open in {HERE}: start `codex` here")
    assert "; there are some in /a, /b: start" in says(Found(elsewhere=("/a", "/b")))
