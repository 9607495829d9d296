"""The threads one connection hears of: the one the agent is in, and earlier ones that still hold something of ours.

An agent moves on when its person does. What was handed off before stays where it is, and is judged there: the earlier
thread is listened to until each of those hand-offs has come to its end, and only then let go, so that Codex can unload
it (60 s after its last subscriber has left).
"""

import structlog

from trio_relay.codex.app_server import AppServer
from trio_relay.codex.protocol import CallFailed, ThreadView, read_status

log = structlog.get_logger(__name__)


class Threads:
    """The views of one connection. `current` is the thread that new messages go to, once one was entered."""

    current: ThreadView

    def __init__(self, server: AppServer) -> None:
        self._server = server
        self._views: dict[str, ThreadView] = {}
        #: Whether this Codex has a queue, as far as is known; and whether one was announced to have changed.
        self.has_queue = True
        self.queue_changed = False

    def view(self, thread_id: str | None) -> ThreadView:
        """Where a thread stands; the current one for None. One that is not listened to is not loaded: nothing runs."""
        if thread_id is None:
            return self.current
        return self._views.get(thread_id) or ThreadView(thread_id)

    def watched(self, thread_id: object) -> ThreadView | None:
        """The view of a thread that is listened to."""
        return self._views.get(thread_id) if isinstance(thread_id, str) else None

    @property
    def running(self) -> frozenset[str]:
        """The turns that run in these threads."""
        return frozenset(view.turn_id for view in self._views.values() if view.turn_id is not None)

    def active(self, thread_id: str | None) -> bool:
        """Say whether a turn runs in a thread."""
        return self.view(thread_id).active

    def enter(self, view: ThreadView) -> None:
        """Make another thread the current one."""
        self._views[view.thread_id] = self.current = view

    async def watch(self, thread_id: str) -> bool:
        """Listen to an earlier thread again, if it is loaded: something of ours may still run in it."""
        if thread_id in self._views:
            return False
        try:
            status, _ = read_status((await self._server.thread_read(thread_id)).get("status"))
            if status != "notLoaded":
                attached = await self._server.thread_resume(thread_id)
                view = self._views[thread_id] = self._server.view(thread_id)
                view.attach(attached.status, attached.turn_id)
                return True
        except CallFailed as error:
            log.info("an earlier thread cannot be listened to", thread=thread_id, reason=error.message)
        return False

    def forget(self, thread_id: str) -> None:
        """Stop listening to an earlier thread that the server has unloaded."""
        if thread_id != self.current.thread_id:
            self._views.pop(thread_id, None)

    async def let_go(self, needed: set[str]) -> None:
        """Unsubscribe from every earlier thread that is not `needed` any more."""
        for thread_id in set(self._views) - needed - {self.current.thread_id}:
            del self._views[thread_id]
            try:
                await self._server.unsubscribe(thread_id)
            except CallFailed as error:
                log.info("an earlier thread was not let go", thread=thread_id, reason=error.message)
            else:
                log.info("left", thread=thread_id)
