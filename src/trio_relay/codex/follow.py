"""Find the thread the person at the TUI is in.

No call of the app-server says who looks at which thread. But every thread that begins is told to every client
(``thread/started``), and one that is loaded from disk by ``resume`` changes its status (Codex 0.169 sends no
``thread/started`` for it). Among those, the person's own are neither helpers (titles are made in ephemeral threads)
nor children of other threads (sub-agents).
"""

from collections.abc import Mapping
from typing import Any

import trio

from trio_relay.codex.app_server import AppServer
from trio_relay.codex.protocol import CallFailed, Notification

_HELPERS = frozenset({"thread_title", "subagent"})


def is_persons_own(thread: Mapping[str, Any]) -> bool:
    """Say whether a thread, as the app-server describes it, is one a person talks in."""
    return (
        bool(thread)
        and not thread.get("ephemeral")
        and thread.get("parentThreadId") is None
        and thread.get("threadSource") not in _HELPERS
    )


async def follow(server: AppServer, threads: trio.MemorySendChannel[str]) -> None:
    """Send the id of every thread of a person, as each begins or is loaded; ends with the connection."""
    known: set[str] = set()
    for thread_id in await server.loaded_threads():
        known.add(thread_id)
        if is_persons_own(await _look_up(server, thread_id)):
            await threads.send(thread_id)
    async for notification in server.notifications:
        named, told = _named(notification)
        if named is None or named in known:
            continue
        thread = told or await _look_up(server, named)
        if thread:
            known.add(named)
        if is_persons_own(thread):
            await threads.send(named)


def _named(notification: Notification) -> tuple[str | None, Mapping[str, Any]]:
    """Read which thread a notification is about, and the thread itself where it is told."""
    params = notification.params
    if notification.method == "thread/started":
        thread = params.get("thread")
        if isinstance(thread, dict) and isinstance(thread.get("id"), str):
            return thread["id"], thread
    elif notification.method == "thread/status/changed":
        thread_id = params.get("threadId")
        return (thread_id if isinstance(thread_id, str) else None), {}
    return None, {}


async def _look_up(server: AppServer, thread_id: str) -> Mapping[str, Any]:
    try:
        return await server.thread_read(thread_id)
    except CallFailed:
        return {}  # gone again, or not written yet: its next change of status brings it back
