"""Running the app for the requests of one connection: what hypercorn calls a task group.

Stock hypercorn hands events to the app through a memory channel that nobody closes: once the app has stopped
reading, a full channel blocks whoever wants to put the next event, even the task that wants to tell of the end.
And putting ``http.disconnect`` yields, which is how the keep-alive timer gets lost (see the package docstring, 2).
"""

import traceback
from collections.abc import Awaitable, Callable
from pathlib import PurePath
from typing import Any

import structlog
import trio
from hypercorn.config import Config
from hypercorn.typing import ASGIReceiveEvent, ASGISendEvent, Scope

log = structlog.get_logger("trio_relay.http")

ASGISend = Callable[[ASGISendEvent | None], Awaitable[None]]


class AppInbox:
    """The events an app has yet to receive: bounded, and ended by the disconnect event.

    That one comes last and is never waited for: `put` takes it without a checkpoint and lets go whoever waits to put
    more; `receive` hands out what was queued before it and then the disconnect, as often as it is asked.
    """

    def __init__(self, size: int) -> None:
        self._sender, self._receiver = trio.open_memory_channel[ASGIReceiveEvent](size)
        self._farewell: ASGIReceiveEvent | None = None

    async def put(self, event: ASGIReceiveEvent) -> None:
        """Queue `event`; wait while the queue is full. After the disconnect nothing is taken."""
        if event["type"] in {"http.disconnect", "websocket.disconnect"}:
            self._farewell = self._farewell or event
            self._sender.close()
            return
        try:
            await self._sender.send(event)
        except trio.ClosedResourceError:
            return

    async def receive(self) -> ASGIReceiveEvent:
        """Wait for the next event: the ``receive`` of ASGI."""
        try:
            return await self._receiver.receive()
        except trio.EndOfChannel:
            # An app that ignores the disconnect and asks again must not keep every other task from running.
            await trio.lowlevel.checkpoint()
            assert self._farewell is not None
            return self._farewell


class AppTasks:
    """Starts the app for each request of a connection, in that connection's nursery."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    async def spawn_app(
        self,
        app: Any,
        config: Config,
        scope: Scope,
        send: ASGISend,
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        """Start `app` for the request `scope`; return the function that hands it events."""
        inbox = AppInbox(config.max_app_queue_size)
        self._nursery.start_soon(_run_app, app, scope, inbox, send)
        return inbox.put

    def spawn(self, func: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Start a task that lives no longer than the connection."""
        self._nursery.start_soon(func, *args)


async def _run_app(app: Any, scope: Scope, inbox: AppInbox, send: ASGISend) -> None:
    """Run the app for one request; its failure is logged and answered 500 if nothing was answered yet."""
    try:
        await app(scope, inbox.receive, send)
    except Exception as error:  # noqa: BLE001  # one request's failure must spare its siblings
        log.error("app failed", request=scope["type"], error=describe(error))  # noqa: TRY400  # no message text
    finally:
        await send(None)


def describe(error: BaseException) -> str:
    """Name an error by its type and the line it came from; its text may quote the request, so it is left out."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(describe(inner) for inner in error.exceptions)
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return type(error).__name__
    return f"{type(error).__name__} at {PurePath(frames[-1].filename).name}:{frames[-1].lineno}"
