"""Codex's own daemon: one app-server that all plain terminals of a user share (Codex 0.169 and newer).

A plain ``codex`` starts it by itself and speaks to it over a socket file; with a ``-c`` override a terminal keeps its
app-server to itself, and nothing can be attached to.
"""

from dataclasses import dataclass

from trio_relay.codex.app_server import AppServer, open_app_server
from trio_relay.codex.dial import Dial
from trio_relay.codex.follow import Follower, is_persons_own
from trio_relay.codex.protocol import CallFailed
from trio_relay.errors import ConnectionLost
from trio_relay.supervise import first_of


@dataclass(frozen=True, slots=True)
class Found:
    """What there is to attach to: the thread, or why there is none.

    `away`: why the daemon cannot be reached. `elsewhere`: the directories of the threads of other places.
    """

    thread_id: str | None = None
    away: str | None = None
    elsewhere: tuple[str, ...] = ()


async def find_thread(url: str, cwd: str, thread_id: str | None = None, *, dial: Dial | None = None) -> Found:
    """Look for the thread to attach to: `thread_id`, else the one a person used last in `cwd`."""
    found = Found()
    try:
        async with open_app_server(url, dial=dial) as server:
            found = await _look(server, cwd, thread_id)
    except* ConnectionLost as lost:
        found = Found(away=str(first_of(lost, ConnectionLost)))
    return found


async def _look(server: AppServer, cwd: str, thread_id: str | None) -> Found:
    if thread_id is not None:
        try:
            await server.thread_read(thread_id)
        except CallFailed:
            return Found()
        return Found(thread_id)
    there = await Follower(server, cwd=cwd, shared=True).present()
    if there is not None:
        return Found(there.thread_id)
    return Found(elsewhere=tuple(sorted(await _directories(server))))


async def _directories(server: AppServer) -> set[str]:
    found: set[str] = set()
    for thread_id in await server.loaded_threads():
        try:
            thread = await server.thread_read(thread_id)
        except CallFailed:
            continue
        if is_persons_own(thread):
            found.add(str(thread.get("cwd")))
    return found
