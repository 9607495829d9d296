"""Find the thread the person at the TUI is in, and where they go.

No call of the app-server says who looks at which thread. What it tells every client (Codex 0.169; marks say where an
older one differs):

============================== ======================================= ====================================
the person                      told to every client                    taken as
============================== ======================================= ====================================
/new, /clear, /fork, first one  thread/started, threadSource "user"     they are there
/resume of one not in memory    thread/status/changed to idle           they are there
/resume of one in memory        thread/goal/cleared (0.130: nothing)    they are there
writes in another thread        thread/status/changed to active         they are there, if the turn's first
                                                                        text is not a relay's
============================== ======================================= ====================================

A ``thread/goal/…`` follows every ``thread/resume``, also our own, right after its answer: `Follower.resumed` says which
one to pass over. On a server that others' sidecars use too (``shared``) it says nothing, and only the other three count.

Never followed: helpers (titles are made in ephemeral threads), children of other threads (sub-agents), and threads
that a program began (``threadSource`` is null then).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import trio

from trio_relay.codex.app_server import AppServer
from trio_relay.codex.protocol import CallFailed, Notification, read_status
from trio_relay.core.batching import message_ids
from trio_relay.errors import ConnectionLost

#: Pauses between looks for the first text of a turn that has just begun (Codex 0.169: up to 50 ms).
_PAUSES = (0.05, 0.1, 0.2, 0.4)
_HELPERS = frozenset({"thread_title", "subagent"})
PERSON = "user"
RESUMED = "resumed it"


@dataclass(frozen=True, slots=True)
class Move:
    """The person is in another thread now; `how` finishes the sentence "the person ...". `new`: it began just now."""

    thread_id: str
    how: str
    forked_from: str | None = None
    new: bool = False


def is_persons_own(thread: Mapping[str, Any]) -> bool:
    """Say whether a thread, as the app-server describes it, is one a person talks in."""
    return (
        bool(thread)
        and not thread.get("ephemeral")
        and thread.get("parentThreadId") is None
        and thread.get("threadSource") not in _HELPERS
        and not isinstance(
            thread.get("source"), dict
        )  # 0.130 has no parentThreadId; {"subAgent": …} tells it
    )


class Follower:
    """Tells where the person goes. `current` is the thread they are known to be in; its owner keeps it up to date.

    `cwd`: only threads of that directory count. `shared`: other programs' sidecars use this server too.
    """

    def __init__(
        self,
        server: AppServer,
        *,
        current: str | None = None,
        cwd: str | None = None,
        shared: bool = False,
    ) -> None:
        self.current = current
        self._server = server
        self._cwd = cwd
        self._shared = shared
        self._loaded: set[str] = set()
        self._own_resumes: Counter[str] = Counter()

    async def present(self) -> Move | None:
        """Look around, when newly connected: where the person is instead of the current thread, which is not in memory.

        Of several threads it is the one that was used last. None where the current one is in memory, or none is.
        """
        found: list[tuple[int, str]] = []
        self._loaded = set(await self._server.loaded_threads())
        for thread_id in self._loaded:
            thread = await self._look_up(thread_id)
            if self._counts(thread):
                found.append((_last_used(thread), thread_id))
        if not found or self.current in self._loaded:
            return None
        return Move(max(found)[1], "was there")

    def resumed(self, thread_id: str) -> None:
        """Note that we have resumed a thread ourselves."""
        if self._server.can.tells_resumes:
            self._own_resumes[thread_id] += 1
        self._loaded.add(thread_id)

    async def take(self, notification: Notification) -> Move | None:
        """Take in what the server tells, in order; say where the person has gone, if they have."""
        params = notification.params
        match notification.method:
            case "thread/started":
                return self._started(params.get("thread"))
            case "thread/status/changed":
                return await self._changed(params.get("threadId"), params.get("status"))
            case "thread/closed":
                self._loaded.discard(str(params.get("threadId")))
            case "thread/goal/cleared" | "thread/goal/updated":
                return await self._goal(params.get("threadId"))
        return None

    def _started(self, thread: Any) -> Move | None:
        if not isinstance(thread, dict) or not isinstance(thread.get("id"), str):
            return None
        self._loaded.add(thread["id"])
        if thread.get("threadSource") != PERSON or not self._counts(thread) or thread["id"] == self.current:
            return None
        forked_from = thread.get("forkedFromId")
        if isinstance(forked_from, str):
            return Move(thread["id"], f"forked it from {forked_from}", forked_from, new=True)
        return Move(thread["id"], "began it", new=True)

    async def _changed(self, thread_id: Any, status: Any) -> Move | None:
        if not isinstance(thread_id, str):
            return None
        word, _ = read_status(status)
        if word == "notLoaded":
            self._loaded.discard(thread_id)
            return None
        new = thread_id not in self._loaded
        self._loaded.add(thread_id)
        if thread_id == self.current or not (new or word == "active"):
            return None
        if not self._counts(await self._look_up(thread_id)):
            return None
        if new:
            return Move(thread_id, RESUMED)
        return Move(thread_id, "wrote in it") if await self._person_wrote(thread_id) else None

    async def _goal(self, thread_id: Any) -> Move | None:
        if not isinstance(thread_id, str):
            return None
        if self._own_resumes[thread_id]:
            self._own_resumes[thread_id] -= 1
            return None
        if self._shared or thread_id == self.current or not self._counts(await self._look_up(thread_id)):
            return None
        return Move(thread_id, RESUMED)

    async def _person_wrote(self, thread_id: str) -> bool:
        """Say whether the first text of the newest turn is a person's, waiting a moment for that text."""
        for pause in (0.0, *_PAUSES):
            await trio.sleep(pause)
            try:
                client_id = await self._server.newest_turn_begun_by(thread_id)
            except CallFailed:
                continue
            if client_id is not None:
                return not message_ids(client_id)
        return False  # Codex goes on by itself, with a goal

    def _counts(self, thread: Mapping[str, Any]) -> bool:
        return is_persons_own(thread) and self._cwd in {None, thread.get("cwd")}

    async def _look_up(self, thread_id: str) -> Mapping[str, Any]:
        try:
            return await self._server.thread_read(thread_id)
        except CallFailed:
            return {}  # gone again, or not written yet: what is told next brings it back


async def first_thread(server: AppServer) -> str:
    """Wait for the person to open a thread: its id. Raises `ConnectionLost`."""
    follower = Follower(server)
    if (there := await follower.present()) is not None:
        return there.thread_id
    async for notification in server.notifications:
        if (move := await follower.take(notification)) is not None:
            return move.thread_id
    raise ConnectionLost(server.lost or "the app-server's connection ended")


def _last_used(thread: Mapping[str, Any]) -> int:
    """When something last happened in a thread, Unix seconds. Ids are UUIDv7: the later thread has the greater one."""
    times = (thread.get(name) for name in ("recencyAt", "updatedAt", "createdAt"))
    return max((time for time in times if isinstance(time, int)), default=0)
