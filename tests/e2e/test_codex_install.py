"""A home before and after: install, a new shell, a session, a message and its answer, uninstall --purge; twice."""

import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import trio

from support.codex_session import World, codex_world
from support.codex_setup import everything_in
from support.tmux import terminal

pytestmark = pytest.mark.codex

_COMMENTS = """
# What I wrote myself   \t
[projects."/somewhere"]   # a project
trust_level   =   'trusted'

# [mcp_servers.other] is off for now

"""


def run(world: World, *command: str | Path) -> str:
    done = subprocess.run(
        command,
        check=False,
        env=world.environment,
        cwd=world.home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@asynccontextmanager
async def headless(world: World) -> AsyncGenerator[None]:
    """``codex-relay --headless``, as a shell finds it."""
    process = await trio.lowlevel.open_process(
        ["sh", "-c", "exec codex-relay --headless"],
        stdin=subprocess.DEVNULL,
        env=world.environment,
        cwd=world.project(),
    )
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            process.terminate()
            await process.wait()


@asynccontextmanager
async def under_the_alias(world: World) -> AsyncGenerator[None]:
    """A person opens a shell and types ``codex``."""
    shell = ["bash", "--rcfile", str(world.home / ".bashrc"), "-i"]
    async with terminal(shell, env=world.environment, cwd=world.project()) as screen:
        await screen.type("codex; exit")
        await screen.shows("Ask Codex to do anything")
        yield
        await screen.type("/quit")
        await screen.shows("codex-relay -- resume")


async def test_a_home_is_after_uninstalling_as_it_was_before_installing(tmp_path: Path) -> None:
    with trio.fail_after(120):
        async with codex_world(tmp_path) as world:
            config = world.home / ".codex/config.toml"
            written = config.read_text().replace("plugins = false", "remote_plugin = false") + _COMMENTS
            # Codex notes this when its terminal interface runs, with us or without, and makes the file 0600.
            config.write_text(written.replace("[tui]\n", "[tui]\nscreen_reader_detection_done = true\n"))
            config.chmod(0o600)
            (world.home / ".bashrc").write_text("# mine\nexport MINE=1")
            world.environment |= {"SHELL": "/bin/bash", "HISTFILE": ""}
            world.environment["PATH"] = f"{world.home}/.local/bin:{world.environment['PATH']}"
            world.project()
            before = everything_in(world.home)
            await _come_and_go(world, headless(world))
            assert everything_in(world.home) == before
            await _come_and_go(world, under_the_alias(world))
            assert everything_in(world.home) == before
            await world.nothing_left()


async def _come_and_go(world: World, session: AbstractAsyncContextManager[None]) -> None:
    program = Path(sys.executable).with_name("trio-relay")
    before = (world.home / ".codex/config.toml").read_bytes()
    run(world, program, "install", "codex", "--alias")
    assert (world.home / ".codex/config.toml").read_bytes().startswith(before)
    said = run(world, "bash", "--rcfile", world.home / ".bashrc", "-ic", "alias codex; codex --version")
    assert "codex-relay --as-codex" in said
    assert "codex-cli" in said

    async with session:
        agent = await world.agent()
        me = await world.person("me")
        asked = await world.send(me, agent.id, "Are you there?")
        assert (await world.answer_to(asked)).sender == agent.id
        assert "✗" not in run(world, "trio-relay", "doctor")
    run(world, "agent-relay-codex", "uninstall", "--purge")
