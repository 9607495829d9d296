"""One connection to the app-server: attach to the thread, listen to it, deliver into it, until the connection is lost.

Which thread: the one that was given, or the one this sidecar had before, or a new one. A thread that cannot be had is
an outage with a reason, tried again with pauses; the sidecar never falls back on some other thread that happens to
be loaded.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import structlog
import trio

from trio_relay.codex.app_server import AppServer, Attached
from trio_relay.codex.protocol import (
    CallFailed,
    NotResumable,
    ThreadClosed,
    ThreadView,
    TurnEnded,
    UserMessageSeen,
)
from trio_relay.errors import ConnectionLost
from trio_relay.sidecar.ledger import Ledger
from trio_relay.sidecar.state_file import StateFile
from trio_relay.sidecar.status import Situation

log = structlog.get_logger(__name__)

#: The oldest Codex that says which user messages are ours.
OLDEST = (0, 150)
#: Pauses between attempts to resume a thread whose history is only just being written (Codex 0.169: up to 75 ms).
_RESUME_PAUSES = (0.05, 0.1, 0.2, 0.4)


class NotAttached(ConnectionLost):
    """The app-server is there, the thread is not to be had."""

    default_code = "not_attached"


@dataclass(frozen=True, slots=True)
class Wishes:
    """The thread to attach to, and how a new one is made. `introduction` is the startup context."""

    thread_id: str | None
    must_be_that: bool
    cwd: str
    model: str | None
    approval_policy: str | None
    sandbox: str | None
    introduction: Callable[[], str]


async def attach(server: AppServer, wishes: Wishes, book: StateFile) -> Attached:
    """Subscribe to the thread, which has the startup context afterwards.

    Raises `NotAttached` when the thread that was asked for cannot be had, or no thread can be started.
    """
    _check_version(server.user_agent)
    try:
        if wishes.thread_id is not None:
            try:
                return await _resume(server, wishes.thread_id, wishes, book)
            except CallFailed as error:
                if wishes.must_be_that or error.draining:
                    raise
                log.warning("thread is gone, starting another", thread=wishes.thread_id, reason=error.message)
        thread_id = await server.thread_start(
            cwd=wishes.cwd, model=wishes.model, approval_policy=wishes.approval_policy, sandbox=wishes.sandbox
        )
        return await _resume(server, thread_id, wishes, book)
    except CallFailed as error:
        raise NotAttached(f"the app-server gives no thread: {error.message}") from error


def _check_version(user_agent: str) -> None:
    """Refuse a Codex whose deliveries cannot be proven: 0.130 does not echo client ids."""
    found = re.search(r"/(\d+)\.(\d+)\.", user_agent)
    if found is not None and (int(found[1]), int(found[2])) < OLDEST:
        raise NotAttached(f"Codex {found[1]}.{found[2]} is too old: 0.150 or newer is needed")


async def _resume(server: AppServer, thread_id: str, wishes: Wishes, book: StateFile) -> Attached:
    """Subscribe to a thread. One without a turn has no history to resume: the startup context gives it one."""
    policies = {"approval_policy": wishes.approval_policy, "sandbox": wishes.sandbox}
    fresh = False
    for pause in (0.0, *_RESUME_PAUSES, None):
        try:
            attached = await server.thread_resume(thread_id, **policies)
            break
        except NotResumable:
            if pause is None:
                raise
            if not fresh:
                fresh = True
                await _introduce(server, thread_id, wishes, book)
            await trio.sleep(pause)
    else:
        raise AssertionError("the last attempt raises")
    if book.state.introduced_thread != thread_id:
        await _introduce(server, thread_id, wishes, book)
    return attached


async def _introduce(server: AppServer, thread_id: str, wishes: Wishes, book: StateFile) -> None:
    await server.inject(thread_id, wishes.introduction())
    book.update(introduced_thread=thread_id)


async def listen(server: AppServer, view: ThreadView, ledger: Ledger, situation: Situation) -> None:
    """Task: follow the thread. Ends with `ConnectionLost`."""
    async for notification in server.notifications:
        for event in view.apply(notification):
            match event:
                case UserMessageSeen(client_id, turn_id, item_id):
                    ledger.saw(client_id, turn_id, item_id, view.thread_id)
                case TurnEnded():
                    ledger.ended(event)
                case ThreadClosed():
                    raise ConnectionLost("the app-server closed the thread")
        situation.turn(view.turn_id, active=view.active)
        ledger.bell.ring()
    raise ConnectionLost(server.lost or "the app-server's connection ended")
