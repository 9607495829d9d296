"""A session that Codex has compacted still knows that it is in the room: from the sidecar, and from the plugin's hook."""

import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from support.codex_session import World, codex_world
from trio_relay.codex.protocol import Notification
from trio_relay.core.wire import Agent

pytestmark = pytest.mark.codex

KNOWS = "You are connected to a message relay"


async def test_after_a_compaction_the_sidecar_tells_the_session_again(tmp_path: Path) -> None:
    with trio.fail_after(90):
        async with codex_world(tmp_path) as world, world.headless():
            agent, me = await world.agent(), await world.person("me")
            await world.answer_to(await world.send(me, agent.id, "before"))
            await _compact(world, agent)
            await world.answer_to(await world.send(me, agent.id, "after"))
            [asked] = [one for one in world.model.requests if "after" in one.last_user_text]
            assert asked.contains(KNOWS)
            assert asked.contains(agent.id)


async def test_after_a_compaction_the_hook_tells_the_session_at_once(tmp_path: Path) -> None:
    with trio.fail_after(90):
        async with codex_world(tmp_path) as world:
            config = world.home / ".codex/config.toml"
            config.write_text(config.read_text().replace("plugins = false", "remote_plugin = false"))
            before = config.read_bytes()
            _run(world, "install", "codex", "--hooks", "--no-alias")
            async with world.headless():
                agent, me = await world.agent(), await world.person("me")
                await world.answer_to(await world.send(me, agent.id, "before"))
                async with world.app_server(agent) as server:
                    await _trust(server.call, world.project())
                await _compact(world, agent)
                await world.answer_to(await world.send(me, agent.id, "after"))
            [asked] = [one for one in world.model.requests if "after" in one.last_user_text]
            assert str(asked.body).count(KNOWS) == 2
            assert b"hooks.state" in config.read_bytes()
            _run(world, "uninstall", "codex")
            assert config.read_bytes() == before


def _run(world: World, *arguments: str) -> None:
    program = Path(sys.executable).with_name("trio-relay")
    subprocess.run([program, *arguments], env=world.environment, capture_output=True, check=True)


async def _compact(world: World, agent: Agent) -> None:
    thread = agent.meta["threadId"]
    async with world.app_server(agent) as server:
        await server.thread_resume(thread)
        await server.call("thread/compact/start", {"threadId": thread})
        async for told in server.notifications:
            if _is_over(told, thread):
                break


def _is_over(told: Notification, thread: str) -> bool:
    return told.method == "turn/completed" and told.params.get("threadId") == thread


async def _trust(call: Callable[[str, dict[str, Any]], Awaitable[Any]], project: Path) -> None:
    """What a user does in Codex's review of hooks."""
    listed = (await call("hooks/list", {"cwds": [str(project)]}))["data"][0]["hooks"]
    trusted = {one["key"]: {"trusted_hash": one["currentHash"]} for one in listed}
    edit = {"keyPath": "hooks.state", "value": trusted, "mergeStrategy": "upsert"}
    await call("config/batchWrite", {"edits": [edit], "reloadUserConfig": True})
