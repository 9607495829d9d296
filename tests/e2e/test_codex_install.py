"""A home before and after: install, a new shell, a session, a message and its answer, uninstall --purge. Twice in a row."""

import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from support.codex_session import World, codex_world
from support.codex_setup import everything_in

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
async def session(world: World) -> AsyncGenerator[None]:
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


async def test_a_home_is_after_uninstalling_as_it_was_before_installing(tmp_path: Path) -> None:
    with trio.fail_after(120):
        async with codex_world(tmp_path) as world:
            config = world.home / ".codex/config.toml"
            config.write_text(
                config.read_text().replace("plugins = false", "remote_plugin = false") + _COMMENTS
            )
            (world.home / ".bashrc").write_text("# mine\nexport MINE=1")
            world.environment |= {"SHELL": "/bin/bash"}
            world.environment["PATH"] = f"{world.home}/.local/bin:{world.environment['PATH']}"
            world.project()
            before = everything_in(world.home)
            for _ in range(2):
                await _come_and_go(world)
                assert everything_in(world.home) == before
            await world.nothing_left()


async def _come_and_go(world: World) -> None:
    program = Path(sys.executable).with_name("trio-relay")
    before = (world.home / ".codex/config.toml").read_bytes()
    run(world, program, "install", "codex", "--alias")
    assert (world.home / ".codex/config.toml").read_bytes().startswith(before)
    shell = run(world, "bash", "--rcfile", world.home / ".bashrc", "-ic", "alias codex; codex --version")
    assert "codex-relay --as-codex" in shell
    assert "codex-cli" in shell

    async with session(world):
        agent = await world.agent()
        me = await world.person("me")
        asked = await world.send(me, agent.id, "Are you there?")
        assert (await world.answer_to(asked)).sender == agent.id
        assert "✗" not in run(world, "trio-relay", "doctor")
    run(world, "agent-relay-codex", "uninstall", "--purge")
