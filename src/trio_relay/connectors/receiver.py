"""Takes deliveries over HTTP, and posts what they mean to the relay.

``POST /`` takes one: 202 once its events are on disk. A delivery that is unsigned, too large or not understood is told so
and leaves nothing. ``GET /healthz`` says how many events wait for the relay.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import trio

from trio_relay.client.http import RelayClient
from trio_relay.client.tasks import post_event
from trio_relay.connectors.delivery import Check, Delivery, Understand
from trio_relay.connectors.spool import Spool, owned
from trio_relay.errors import ConnectionLost, Invalid, RateLimited, RelayError, Unauthorized, Unavailable
from trio_relay.relay.serving import ServingConfig, serve_app
from trio_relay.supervise import stop_on_signal

#: Seconds a body may take to arrive.
PATIENCE = 30.0
log = structlog.get_logger("trio_relay.connector")


@dataclass(frozen=True, slots=True)
class Connector:
    """What is taken, and what is made of it. `check` None: anybody's word is taken."""

    understand: Understand
    check: Check | None
    largest: int = 1_048_576


@dataclass(frozen=True, slots=True)
class Refusal(Exception):  # noqa: N818  # an answer, not a failure
    """A delivery that is not taken."""

    status: int
    code: str
    detail: str


async def run(
    connector: Connector,
    config: ServingConfig,
    spool: Path,
    *,
    relay_url: str,
    token: str | None,
    delays: Callable[[], Iterator[float]],
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until SIGTERM or SIGINT; hand the URLs to ``task_status.started``.

    Raises:
        RelayError: the address cannot be bound, the relay's URL cannot be meant, or another connector has the spool.

    """
    stop = trio.Event()
    with owned(spool):
        kept = Spool(spool)
        async with RelayClient.open(relay_url, token) as relay, trio.open_nursery() as nursery:
            nursery.start_soon(stop_on_signal, stop.set)
            nursery.start_soon(post_all, kept, relay, delays)

            async def serve(task_status: trio.TaskStatus[list[str]]) -> None:
                await serve_app(
                    application(connector, kept),
                    config,
                    stop=stop,
                    on_stop=lambda: None,
                    task_status=task_status,
                )
                nursery.cancel_scope.cancel()

            urls = await nursery.start(serve)
            log.info("taking deliveries", urls=urls, waiting=kept.waiting)
            task_status.started(urls)


async def post_all(spool: Spool, relay: RelayClient, delays: Callable[[], Iterator[float]]) -> None:
    """Task: post what is kept, oldest first, for ever.

    An event whose answer was lost is posted again: its dedupe key makes the second one count on the same task.
    """
    pauses, away = delays(), False
    while True:
        found = await spool.first()
        if found is None:
            await spool.news.wait()
            continue
        name, event = found
        try:
            task = await post_event(relay, event)
        except RateLimited as busy:
            await trio.sleep(busy.retry_after)
            continue
        except (ConnectionLost, Unavailable, Unauthorized) as error:
            # A token the relay does not know is the operator's to mend; until then nothing is lost.
            if not away:
                log.warning("events wait", reason=error.detail, waiting=spool.waiting)
            away = True
            await trio.sleep(next(pauses))
            continue
        except RelayError as refusal:
            log.warning("event refused", file=name, code=refusal.code, reason=refusal.detail)
            await spool.refuse(name, refusal.detail)
        else:
            log.info("event posted", task=task.id, status=event.status)
            await spool.done(name)
        pauses, away = delays(), False


def application(connector: Connector, spool: Spool) -> Any:
    """Build the ASGI application."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "http":
            try:
                status, answer = await _answer(connector, spool, scope, receive)
            except Refusal as refusal:
                log.warning("refused", status=refusal.status, code=refusal.code, reason=refusal.detail)
                status = refusal.status
                answer = {"status": status, "code": refusal.code, "detail": refusal.detail}
            await _say(send, status, answer)
        else:
            await send({"type": "websocket.close"})

    return app


async def _answer(connector: Connector, spool: Spool, scope: Any, receive: Any) -> tuple[int, dict[str, Any]]:
    method, path = scope["method"], scope["path"]
    if path == "/healthz" and method in {"GET", "HEAD"}:
        return 200, {"status": "ok", "waiting": spool.waiting}
    if path != "/":
        raise Refusal(404, "not_found", "deliveries go to POST /")
    if method != "POST":
        raise Refusal(405, "method_not_allowed", "deliveries go to POST /")
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    body = await _body(headers, receive, connector.largest)
    try:
        if connector.check is not None:
            connector.check(headers, body)
        events = connector.understand(Delivery(headers, _payload(headers, body)))
        await spool.put(events)
    except Unauthorized as error:
        raise Refusal(401, error.code, error.detail) from None
    except Invalid as error:
        raise Refusal(422, error.code, error.detail) from None
    except Unavailable as error:
        raise Refusal(503, error.code, error.detail) from None
    return (202 if events else 200), {"events": len(events)}


async def _say(send: Any, status: int, answer: dict[str, Any]) -> None:
    kind = b"application/json" if status < 400 else b"application/problem+json"
    headers = [(b"content-type", kind)] + ([(b"retry-after", b"30")] if status == 503 else [])
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


async def _body(headers: dict[str, str], receive: Any, largest: int) -> bytes:
    too_large = Refusal(413, "too_large", f"the body has more than {largest} bytes")
    if int(headers.get("content-length", "0")) > largest:  # the server lets only numbers through
        raise too_large
    pieces: list[bytes] = []
    size = 0
    with trio.move_on_after(PATIENCE) as waiting:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refusal(400, "incomplete", "the body ended early")
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > largest:
                raise too_large
            if not message.get("more_body", False):
                break
    if waiting.cancelled_caught:
        raise Refusal(408, "slow", "the body took too long")
    return b"".join(pieces)


def _payload(headers: dict[str, str], body: bytes) -> Any:
    # A page of another site can post without asking only what is not called JSON.
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(415, "not_json", "expected Content-Type: application/json")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(400, "malformed_json", "the body is not JSON") from None
