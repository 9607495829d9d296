"""What a sidecar is given of the world: clock, chance, names, and how to reach the relay and the app-server.

Handed in as one value, so that a test can hand in another: virtual time, a relay in the same process, an app-server
in memory.
"""

import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import platformdirs
import trio

from trio_relay.client import RelayClient
from trio_relay.codex.app_server import AppServer, open_app_server
from trio_relay.codex.dial import dial_url
from trio_relay.core.identity import short_hash, slug
from trio_relay.errors import ConnectionLost
from trio_relay.settings import AgentSettings, SidecarSettings
from trio_relay.sidecar.doubts import FindItems
from trio_relay.sidecar.rollout import find_items


@dataclass(frozen=True, slots=True)
class World:
    """`now` answers Unix seconds. `signals`: whether SIGTERM and SIGINT stop the sidecar."""

    host: str
    cwd: str
    state_path: Path
    rng: random.Random
    now: Callable[[], float]
    open_relay: Callable[[], AbstractAsyncContextManager[RelayClient]]
    open_server: Callable[[], AbstractAsyncContextManager[AppServer]]
    find_items: FindItems
    signals: bool = True


def real_world(agent: AgentSettings, sidecar: SidecarSettings) -> World:
    """The world as it is, with what the settings leave open filled in. Raises `Invalid` for an impossible address."""
    dial_url(sidecar.app_server_url)
    cwd = str(Path(sidecar.cwd or ".").absolute())
    return World(
        host=socket.gethostname(),
        cwd=cwd,
        state_path=Path(sidecar.state_path) if sidecar.state_path else _default_state_path(sidecar, cwd),
        rng=random.SystemRandom(),
        now=time.time,
        open_relay=partial(RelayClient.open, agent.relay_url, agent.token),
        open_server=partial(_open_server, sidecar),
        find_items=_find_items,
    )


def _default_state_path(sidecar: SidecarSettings, cwd: str) -> Path:
    """One file for each app-server and directory, or thread that was asked for; the same after a restart."""
    thread = sidecar.thread_id if sidecar.thread_mode == "resume" and sidecar.follow == "off" else None
    where = " ".join(filter(None, (sidecar.rig, cwd, sidecar.app_server_url, thread)))
    name = f"{slug(Path(cwd).name, 'project')}-{short_hash(where)}.json"
    return platformdirs.user_state_path("trio-relay") / "codex" / name


async def _find_items(path: str, wanted: Collection[str]) -> set[str] | None:
    """Look in a thread: a rollout file can hold a hundred megabytes."""
    return await trio.to_thread.run_sync(find_items, path, wanted)


@asynccontextmanager
async def _open_server(sidecar: SidecarSettings) -> AsyncIterator[AppServer]:
    token = None
    if sidecar.app_server_token_file is not None:
        token = _read_token(Path(sidecar.app_server_token_file))
    async with open_app_server(sidecar.app_server_url, token=token) as server:
        yield server


def _read_token(path: Path) -> str:
    """Read afresh for each connection: whoever restarts the app-server may write a new one."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConnectionLost(
            f"the app-server's token file cannot be read ({type(error).__name__})"
        ) from error
