"""What the real Codex makes of the plugin: its skills, and its MCP server in a Codex that codex-relay did not start."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from support.codex_setup import VERSIONS, home_with_codex
from trio_relay.codex.app_server import AppServer
from trio_relay.codex.arguments import MCP_SERVER, RelayTools
from trio_relay.codex.private_server import private_app_server
from trio_relay.codex.setup.config_entries import PLUGIN_ID
from trio_relay.codex.setup.install import Home, Wishes, plan_install
from trio_relay.home.skills import skill_files

pytestmark = pytest.mark.codex


@pytest.fixture(params=VERSIONS)
def home(tmp_path: Path, request: pytest.FixtureRequest) -> Home:
    """A home with the plugin in Codex, as it is shipped."""
    home = replace(home_with_codex(tmp_path / "home", request.param), skills=skill_files())
    home.codex_home.mkdir()
    (home.codex_home / "config.toml").write_text("[features]\nremote_plugin = false\napps = false\n")
    plan_install(home, Wishes(hooks=True)).take()
    return home


async def mcp_servers(server: AppServer) -> dict[str, dict[str, Any]]:
    """The MCP servers of a thread and what they offer, once all of them have answered."""
    started = await server.call("thread/start", {"ephemeral": True})
    asked = {"threadId": started["thread"]["id"]}
    while True:
        data = (await server.call("mcpServerStatus/list", asked))["data"]
        if all(one["tools"] for one in data):
            return {one["name"]: one for one in data}


async def test_codex_has_the_skills_the_tools_and_the_hook(home: Home) -> None:
    assert home.codex is not None
    with trio.fail_after(60):
        async with private_app_server(home.codex.program, home.codex.environment) as server:
            [listed] = (await server.call("skills/list", {"forceReload": True}))["data"]
            skills = {one["name"] for one in listed["skills"]}
            names = {Path(name).parent.name for name in skill_files()}
            assert {f"agent-relay:{name}" for name in names} <= skills
            assert "pair" in names
            assert listed["errors"] == []
            [pair] = [one for one in listed["skills"] if one["name"] == "agent-relay:pair"]
            assert f"description: {pair['description']}\n".encode() in skill_files()["pair/SKILL.md"]
            found = await mcp_servers(server)
            assert list(found) == [MCP_SERVER]
            assert {"send_message", "reply", "list_agents"} <= set(found[MCP_SERVER]["tools"])
            [listed] = (await server.call("hooks/list", {"cwds": [str(home.bin)]}))["data"]
            hooks = (
                [] if "/0.130." in server.user_agent else ["sessionStart"]
            )  # 0.130 takes none from a plugin
            assert [one["eventName"] for one in listed["hooks"]] == hooks


async def test_what_codex_relay_gives_comes_before_the_plugin(home: Home) -> None:
    """The model sees one server of the name, and it is not the plugin's."""
    assert home.codex is not None
    overrides = RelayTools("http://127.0.0.1:1").overrides
    with trio.fail_after(60):
        async with private_app_server(
            home.codex.program, home.codex.environment, overrides=overrides
        ) as server:
            listed = (await server.call("mcpServerStatus/list", {}))["data"]
    assert [(one["name"], one["tools"]) for one in listed] == [(MCP_SERVER, {})]
    assert PLUGIN_ID not in {one.get("pluginId") for one in listed}
