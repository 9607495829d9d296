"""Which session of an agent's program something was started in, after Claude Code's /clear and /resume as well.

What Claude Code starts keeps the session id of its own start in the environment: an MCP server for as long as the process
lives. The state file of the session's keeper has the one it is in now (`sidecar.claude`).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import platformdirs

from trio_relay.claude.hook_client import claude_pid

#: Where an agent's program says, to the servers it starts, which session it is.
SESSION_VARIABLES = ("CODEX_THREAD_ID", "CODEX_SESSION_ID", "CLAUDE_CODE_SESSION_ID")
_STARTED_IN = "CLAUDE_CODE_SESSION_ID"
#: Set by the SessionStart hook in the shell of the session (`sidecar.claude.hooks`).
TOLD = "AGENT_RELAY_CLAUDE_AGENT"


@dataclass(frozen=True, slots=True)
class Kept:
    """The agent of a Claude Code process, and the session it is in now."""

    agent_id: str
    session_id: str | None


class _State(msgspec.Struct, rename="camel"):
    agent_id: str | None = None
    thread_id: str | None = None
    pid: int | None = None


def sessions_of(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Read which session this was started in; before it the one that it has become."""
    started_in = tuple(environ[name] for name in SESSION_VARIABLES if environ.get(name))
    now = kept(environ) if started_in else None
    return started_in if now is None or now.session_id is None else (now.session_id, *started_in)


def kept(environ: Mapping[str, str]) -> Kept | None:
    """Look up what the keeper of our Claude Code process has written; None where we are in none, or it has no keeper."""
    if not environ.get(_STARTED_IN):
        return None
    pid = claude_pid(dict(environ), os.getppid())
    if pid is None:
        return None
    file = platformdirs.user_state_path("trio-relay") / "claude" / f"{pid}.json"
    try:
        state = msgspec.json.decode(file.read_bytes(), type=_State)
    except PermissionError:  # a sandbox; its shell was told at the session's start
        told = environ.get(TOLD)
        return Kept(told, None) if told else None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    alive = state.pid is not None and _lives(state.pid)
    return Kept(state.agent_id, state.thread_id) if alive and state.agent_id else None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
