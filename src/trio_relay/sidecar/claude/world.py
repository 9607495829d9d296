"""What a keeper is given of the world: clock, chance, its Claude Code process, and how to reach the relay."""

import os
import random
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import platformdirs
import trio

from trio_relay.claude.hook_client import claude_pid, socket_path
from trio_relay.claude.status_file import status_path
from trio_relay.client import RelayClient
from trio_relay.errors import Invalid
from trio_relay.settings import AgentSettings

#: Seconds between two looks at whether Claude Code is there, where the system cannot tell at once.
_LOOKS = 2.0


@dataclass(frozen=True, slots=True)
class World:
    """`now` answers Unix seconds; `claude_ends` returns when the Claude Code process has ended."""

    host: str
    cwd: str
    claude_pid: int
    session_id: str | None
    status_path: Path
    state_path: Path
    socket_path: Path
    rng: random.Random
    now: Callable[[], float]
    open_relay: Callable[[], AbstractAsyncContextManager[RelayClient]]
    claude_ends: Callable[[], Awaitable[None]]
    signals: bool = True


def real_world(agent: AgentSettings, environ: Mapping[str, str]) -> World:
    """The world as it is. Raises `Invalid` where this was not started by Claude Code."""
    pid = claude_pid(dict(environ), os.getppid())
    if pid is None:
        raise Invalid(
            "this is no process of a Claude Code session: its plugin starts it", code="no_claude_code"
        )
    config = Path(environ.get("CLAUDE_CONFIG_DIR") or Path.home() / ".claude")
    return World(
        host=socket.gethostname(),
        cwd=str(Path.cwd()),
        claude_pid=pid,
        session_id=environ.get("CLAUDE_CODE_SESSION_ID") or None,
        status_path=status_path(config, pid),
        state_path=state_directory() / f"{pid}.json",
        socket_path=Path(socket_path(pid)),
        rng=random.SystemRandom(),
        now=time.time,
        open_relay=partial(RelayClient.open, agent.relay_url, agent.token),
        claude_ends=partial(process_ends, pid),
    )


def state_directory() -> Path:
    """Where every keeper writes whom it keeps."""
    return platformdirs.user_state_path("trio-relay") / "claude"


async def process_ends(pid: int) -> None:
    """Wait until a process that is not our child has ended."""
    if hasattr(os, "pidfd_open"):
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        except OSError:  # a kernel or a sandbox without it
            descriptor = -1
        if descriptor >= 0:
            try:
                await trio.lowlevel.wait_readable(descriptor)
            finally:
                os.close(descriptor)
            return
    while _lives(pid):  # noqa: ASYNC110  # nothing tells
        await trio.sleep(_LOOKS)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
