"""The plugin as Codex wants it: a marketplace directory with one plugin of skills, the MCP server and, on request, hooks.

It is made in the user's data directory, because Codex notes where a local marketplace lies and looks there again
(Codex 0.169: ``marketplaces.NAME.source``); an environment of Python may move with any upgrade. Codex copies the
plugin from there into ``plugins/cache/MARKETPLACE/PLUGIN/VERSION`` of its own home.

The MCP server is the one over stdio: it reads our settings and tokens itself, and a relay that is down is said by the
tool, not by a failure at Codex's start. It is called like the one `codex-relay` gives its sessions, which then wins,
so the model never sees two (Codex 0.169). Its tools need no approval (``default_tools_approval_mode``): a Codex that
does not take the tools' own word that they are harmless refuses them under approval policy ``never``.

Hooks of a plugin are not run until the user has looked at them, and Codex asks for that at its next start. So the one
we have (`cli/sessions/hook.py`) is there only for who asks.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from trio_relay import __version__
from trio_relay.codex.arguments import MCP_SERVER
from trio_relay.codex.setup.config_entries import MARKETPLACE, PLUGIN

#: Variables Codex passes on to the MCP server; it gets no others (Codex 0.169).
_PASSED_ON = (
    "AGENT_RELAY_URL",
    "AGENT_RELAY_TOKEN",
    "CODEX_HOME",
    "XDG_CONFIG_HOME",
    "XDG_STATE_HOME",
    "XDG_DATA_HOME",
)
_PLUGIN_ROOT = f"plugins/{PLUGIN}"


def marketplace(python: str, skills: Mapping[str, bytes], *, hooks: bool) -> dict[str, bytes]:
    """The files of the marketplace by relative path. `python` runs us; `skills` are those of ``skills/``."""
    about = {
        "name": PLUGIN,
        "version": __version__,
        "description": "Message other coding-agent sessions through trio-relay.",
        "skills": "./skills/",
        "mcpServers": "./.mcp.json",
    }
    files = {
        ".agents/plugins/marketplace.json": _json(_MARKETPLACE),
        f"{_PLUGIN_ROOT}/.mcp.json": _json(_mcp(python)),
        **{f"{_PLUGIN_ROOT}/skills/{name}": content for name, content in skills.items()},
    }
    if hooks:
        about["hooks"] = "./hooks/hooks.json"
        files[f"{_PLUGIN_ROOT}/hooks/hooks.json"] = _json(_hooks(python))
    files[f"{_PLUGIN_ROOT}/.codex-plugin/plugin.json"] = _json(about)
    return files


_MARKETPLACE = {
    "name": MARKETPLACE,
    "interface": {"displayName": "trio-relay"},
    "plugins": [
        {
            "name": PLUGIN,
            "source": {"source": "local", "path": f"./{_PLUGIN_ROOT}"},
            "policy": {"installation": "AVAILABLE", "authentication": "ON_INSTALL"},
            "category": "Productivity",
        }
    ],
}


def _mcp(python: str) -> dict[str, object]:
    return {
        "mcpServers": {
            MCP_SERVER: {
                "command": python,
                "args": ["-P", "-m", "trio_relay", "mcp"],
                "env_vars": _PASSED_ON,
                "default_tools_approval_mode": "approve",
            }
        }
    }


def _hooks(python: str) -> dict[str, object]:
    import shlex  # noqa: PLC0415  # only where hooks are asked for

    command = shlex.join([python, "-P", "-m", "trio_relay", "hook", "codex", "session-start"])
    hook = {"type": "command", "command": command, "timeout": 10}
    return {"hooks": {"SessionStart": [{"matcher": "compact", "hooks": [hook]}]}}


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"


def installed_version(codex_home: Path) -> str | None:
    """The version of the plugin Codex has a copy of; None where it has none. Codex keeps one."""
    copies = sorted(cache(codex_home).glob("*/.codex-plugin/plugin.json"))
    return copies[-1].parent.parent.name if copies else None


def cache(codex_home: Path) -> Path:
    """Where Codex keeps its copies of the plugin."""
    return codex_home / "plugins" / "cache" / MARKETPLACE / PLUGIN
