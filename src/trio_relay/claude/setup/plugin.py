"""The plugin as Claude Code wants it: a marketplace directory with one plugin of hooks, monitor, skills, tools and programs.

It is made in the user's data directory: Claude Code 2.1.329 reads a local plugin where it lies, 2.1.197 copies it. All
paths in it are those of this installation, so installing is repeated after an upgrade. ``bin/`` is appended to the PATH
of the session's shell, of monitors and of skills, not of hooks (2.1.329).

The name of the plugin is what skills are called by: ``/agent-relay:pair``.
"""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path

from trio_relay import __version__
from trio_relay.claude import hook_client

MARKETPLACE = "trio-relay"
PLUGIN = "agent-relay"
PLUGIN_ID = f"{PLUGIN}@{MARKETPLACE}"
#: The monitor's name, in Claude Code's list of background tasks.
MONITOR = "agent-relay"
MCP_SERVER = "trio_relay"
PROGRAMS = ("trio-relay", "agent-relay")
_ROOT = f"plugins/{PLUGIN}"
#: Tools whose use the hooks look at: what runs or changes something, and tools of MCP servers.
_TOOLS = "Bash|Edit|MultiEdit|NotebookEdit|Write|mcp__.*"
#: Seconds Claude Code gives a hook; the hook itself gives up much earlier.
_TIMEOUT = 10
#: Seconds a question to a person may stand, and a waiter wait.
_LONG = 86_400


def marketplace(python: str, skills: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of the marketplace by relative path. `python` runs us; `skills` are those of ``skills/``."""
    about = {
        "name": PLUGIN,
        "version": __version__,
        "description": "Message other coding-agent sessions, people and scripts through trio-relay.",
        "author": {"name": "The trio-relay developers"},
        "license": "MIT",
    }
    listed = {"name": PLUGIN, "source": f"./{_ROOT}", "description": about["description"]}
    market = {
        "name": MARKETPLACE,
        "owner": {"name": "The trio-relay developers"},
        "description": "The plugin of the trio-relay that is installed here.",
        "plugins": [listed],
    }
    return {
        ".claude-plugin/marketplace.json": _json(market),
        f"{_ROOT}/.claude-plugin/plugin.json": _json(about),
        f"{_ROOT}/hooks/hooks.json": _json(_hooks(python)),
        f"{_ROOT}/monitors/monitors.json": _json(_monitors(python)),
        f"{_ROOT}/monitors/keep.sh": _KEEP,
        f"{_ROOT}/.mcp.json": _json(_mcp(python)),
        **{f"{_ROOT}/skills/{name}": content for name, content in skills.items()},
        **{f"{_ROOT}/bin/{name}": _program(python) for name in PROGRAMS},
    }


def is_program(name: str) -> bool:
    """Whether a file of the marketplace is to be executable."""
    return name.startswith(f"{_ROOT}/bin/")


def _trio_relay(python: str, *arguments: str) -> list[str]:
    return [python, "-P", "-m", "trio_relay", *arguments]


def _program(python: str) -> bytes:
    return f'#!/bin/sh\nexec {shlex.join(_trio_relay(python))} "$@"\n'.encode()


def _hooks(python: str) -> dict[str, object]:
    client = [python, "-I", "-S", str(Path(hook_client.__file__))]

    def hook(event: str, timeout: int = _TIMEOUT) -> dict[str, object]:
        return {"type": "command", "command": shlex.join([*client, event]), "timeout": timeout}

    waiter = {
        "type": "command",
        "command": shlex.join([*client, "wait", *_trio_relay(python, "sidecar", "claude")]),
        "asyncRewake": True,
        "timeout": _LONG,
    }
    plain = {name: [{"hooks": [hook(name)]}] for name in ("Notification", "SessionEnd", "StopFailure")}
    waited = {
        name: [{"hooks": [hook(name), waiter]}] for name in ("SessionStart", "UserPromptSubmit", "Stop")
    }
    tools = {name: [{"matcher": _TOOLS, "hooks": [hook(name)]}] for name in ("PreToolUse", "PostToolUse")}
    asked = {"PermissionRequest": [{"hooks": [hook("PermissionRequest", _LONG)]}]}
    return {
        "description": "Tell the relay what this session does, and let it speak without being asked each time.",
        "hooks": {**waited, **tools, **asked, **plain},
    }


#: Runs the keeper as the monitor, and again where it was killed or has crashed (1): Claude Code starts a monitor once and
#: never again (2.1.329). Its other ends are meant: Claude Code is gone, or somebody has stopped the monitor.
_KEEP = b"""\
#!/bin/sh
# keep.sh COMMAND...: run it, again while it crashes.
pause=1
stopped=
trap 'stopped=1' TERM HUP INT
while :; do
    "$@" &
    keeper=$!
    wait "$keeper"
    code=$?
    if [ "$stopped" ]; then
        # Claude Code tells the whole process group: the keeper has heard it, and a second time would cut its last words.
        wait "$keeper"
        exit 0
    fi
    [ "$code" -eq 1 ] || [ "$code" -gt 128 ] || exit 0
    kill -0 "${CLAUDE_PID:-$PPID}" 2>/dev/null || exit 0
    sleep "$pause"
    [ "$stopped" ] && exit 0
    [ "$pause" -ge 32 ] || pause=$((pause * 2))
done
"""


def _monitors(python: str) -> list[dict[str, str]]:
    command = shlex.join(_trio_relay(python, "sidecar", "claude", "--monitor"))
    keep = 'exec /bin/sh "${CLAUDE_PLUGIN_ROOT}/monitors/keep.sh"'
    return [
        {"name": MONITOR, "command": f"{keep} {command}", "description": "relay messages", "when": "always"}
    ]


def _mcp(python: str) -> dict[str, object]:
    command, *arguments = _trio_relay(python, "mcp")
    return {"mcpServers": {MCP_SERVER: {"command": command, "args": arguments}}}


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
