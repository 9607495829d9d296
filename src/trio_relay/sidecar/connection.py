"""One connection to the app-server: attach to the thread, listen to it, deliver into it, until the connection is lost.

Which thread: the one that was given, or the one this sidecar had before, or a new one. A thread that cannot be had is
an outage with a reason, tried again with pauses; the sidecar never falls back on some other thread that happens to
be loaded. Where it follows a person, the thread is theirs, and it moves when they do (`codex/follow.py` says how that
is known).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
import trio

from trio_relay.codex.app_server import AppServer, Attached
from trio_relay.codex.capabilities import OLDEST
from trio_relay.codex.follow import Follower, Move
from trio_relay.codex.protocol import (
    CallFailed,
    Event,
    NotResumable,
    QueueChanged,
    ThreadClosed,
    ThreadView,
    TurnEnded,
    UserMessageSeen,
)
from trio_relay.errors import ConnectionLost
from trio_relay.sidecar.ledger import Ledger
from trio_relay.sidecar.permissions import SessionPermissions
from trio_relay.sidecar.state_file import StateFile
from trio_relay.sidecar.status import Situation
from trio_relay.sidecar.threads import Threads
from trio_relay.sidecar.trouble import Trouble

log = structlog.get_logger(__name__)

#: Pauses between attempts to resume a thread whose history is only just being written (Codex 0.169: up to 75 ms).
_RESUME_PAUSES = (0.05, 0.1, 0.2, 0.4)
#: Threads whose introduction is remembered, for when the person comes back to one.
_REMEMBERED_THREADS = 50
#: What a thread is told when the agent has followed the person into it.
ARRIVAL = (
    "The person has come to this thread, and the relay's messages for the agent you are come here from now on. "
    "What was delivered before stands in the thread they came from."
)


class NotAttached(ConnectionLost):
    """The app-server is there, the thread is not to be had."""

    default_code = "not_attached"


@dataclass(frozen=True, slots=True)
class Wishes:
    """The thread to attach to, and how a new one is made. `introduction` is the startup context.

    `move`: how the person came here, if the agent followed them.
    """

    thread_id: str | None
    must_be_that: bool
    cwd: str
    model: str | None
    approval_policy: str | None
    sandbox: str | None
    introduction: Callable[[], str]
    move: Move | None = None


async def attach(server: AppServer, wishes: Wishes, book: StateFile) -> Attached:
    """Subscribe to the thread, which has the startup context afterwards.

    Raises `NotAttached` when the thread that was asked for cannot be had, or no thread can be started.
    """
    _check_version(server)
    try:
        if wishes.thread_id is not None:
            try:
                return await _resume(server, wishes.thread_id, wishes, book)
            except CallFailed as error:
                if wishes.must_be_that or error.draining or error.has_another_writer:
                    raise
                log.warning("thread is gone, starting another", thread=wishes.thread_id, reason=error.message)
        thread_id = await server.thread_start(
            cwd=wishes.cwd, model=wishes.model, approval_policy=wishes.approval_policy, sandbox=wishes.sandbox
        )
        return await _resume(server, thread_id, wishes, book)
    except CallFailed as error:
        raise NotAttached(f"the app-server gives no thread: {error.message}") from error


def _check_version(server: AppServer) -> None:
    """Refuse a Codex older than any this was tried with: what it would do with a message is unknown."""
    version = server.can.version
    if version is not None and version < OLDEST:
        found, needed = (".".join(map(str, one)) for one in (version, OLDEST))
        raise NotAttached(f"Codex {found} is too old: {needed} or newer is needed")


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
    if not fresh and (wishes.move is not None or thread_id not in book.state.introduced_threads):
        await _introduce(server, thread_id, wishes, book)
    return attached


async def _introduce(server: AppServer, thread_id: str, wishes: Wishes, book: StateFile) -> None:
    """Tell the thread who it is now; one that knows, or was forked from one that knows, only that the agent came back."""
    known = book.state.introduced_threads
    move = wishes.move
    told = thread_id in known or (move is not None and move.forked_from in known)
    text = "" if told else wishes.introduction()
    if move is not None:
        text += ("\n\n" if text else "") + ARRIVAL
    await server.inject(thread_id, text)
    known = [*(one for one in known if one != thread_id), thread_id]
    book.update(introduced_threads=known[-_REMEMBERED_THREADS:])


async def introduce_again(server: AppServer, thread_id: str, wishes: Wishes, book: StateFile) -> None:
    """Tell a thread whose history was compacted who it is. One that cannot be told now is at the next connection."""
    book.update(introduced_threads=[one for one in book.state.introduced_threads if one != thread_id])
    try:
        await _introduce(server, thread_id, wishes, book)
    except CallFailed as error:
        log.warning("a compacted thread was not introduced again", thread=thread_id, reason=error.message)


async def listen(
    server: AppServer,
    threads: Threads,
    ledger: Ledger,
    situation: Situation,
    *,
    trouble: Trouble,
    permissions: SessionPermissions,
    follower: Follower | None,
    introduce_again: Callable[[], Awaitable[None]],
) -> Move:
    """Follow the threads until the person goes to another one: where to. Raises `ConnectionLost`.

    `introduce_again` gives the current thread its startup context back, once the turn is over that lost it.
    """
    async for notification in server.notifications:
        view = threads.watched(notification.params.get("threadId"))
        for event in () if view is None else view.apply(notification):
            assert view is not None
            _take_in(event, view, threads, ledger, trouble)
            if isinstance(event, TurnEnded) and event.compacted and view is threads.current:
                await introduce_again()
        if view is threads.current:
            permissions.told(notification)
        situation.turn(threads.current.turn_id, active=threads.current.active)
        ledger.bell.ring()
        if follower is not None and (move := await follower.take(notification)) is not None:
            return move
    raise ConnectionLost(server.lost or "the app-server's connection ended")


def _take_in(event: Event, view: ThreadView, threads: Threads, ledger: Ledger, trouble: Trouble) -> None:
    match event:
        case UserMessageSeen(client_id, turn_id, item_id, proof):
            ledger.saw(client_id, turn_id, item_id, view.thread_id, proof)
        case TurnEnded():
            trouble.turn_ended(event, trio.current_time())
            ledger.ended(event)
        case QueueChanged():
            threads.queue_changed = True
        case ThreadClosed() if view is threads.current:
            raise ConnectionLost("the app-server closed the thread")
        case ThreadClosed():
            threads.forget(view.thread_id)
        case _:
            pass
