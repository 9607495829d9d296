"""The relay process: the server beside our own tasks, in one nursery.

The background tasks live here and not in the application's own nursery: a bug in one of them ends the process with a
traceback instead of being logged while the relay goes on without it.
"""

import secrets
import signal
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import platformdirs
import structlog
import trio

from trio_relay.core.integrations import by_token
from trio_relay.errors import Refused
from trio_relay.relay import housekeeping
from trio_relay.relay.app import create_app
from trio_relay.relay.callbacks import call_back
from trio_relay.relay.service import RelayService
from trio_relay.relay.serving import ServingConfig, serve_app, tune_gc
from trio_relay.relay.web.access import is_loopback
from trio_relay.settings import ServerSettings
from trio_relay.store import open_store

log = structlog.get_logger("trio_relay.serve")


def unix_ms() -> int:
    """Now, in Unix milliseconds."""
    return time.time_ns() // 1_000_000


def database_path(settings: ServerSettings) -> Path:
    """Where the SQLite file is: as set, else in the user's data directory."""
    if settings.db_path is not None:
        return Path(settings.db_path).expanduser()
    return Path(platformdirs.user_data_dir("trio-relay", appauthor=False)) / "relay.db"


def check_bind(settings: ServerSettings) -> None:
    """Refuse to open an unprotected relay to other machines.

    Raises:
        Refused: a non-loopback address without a token (code ``open_bind``).

    """
    if settings.token is None and not settings.allow_unauth and not is_loopback(settings.host):
        raise Refused(
            f"binding {settings.host} lets other machines in: set AGENT_RELAY_TOKEN "
            "(or AGENT_RELAY_ALLOW_UNAUTH=1 if that is what you want)",
            code="open_bind",
        )


def check_integrations(settings: ServerSettings) -> None:
    """Refuse an integration that could do everything.

    Raises:
        Refused: one has the shared token as its own (code ``integration_token_shared``).

    """
    if settings.token is not None and by_token(settings.integrations, settings.token) is not None:
        raise Refused(
            "an integration in AGENT_RELAY_INTEGRATIONS has AGENT_RELAY_TOKEN as its token: give it its own",
            code="integration_token_shared",
        )


async def serve(
    settings: ServerSettings, *, task_status: trio.TaskStatus[Sequence[str]] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve until SIGTERM or SIGINT, or until cancelled; ``started`` answers the URLs.

    On a signal every open poll is answered, then the server drains and this returns.

    Raises:
        Refused: an open bind to other machines.
        StoreInUse: another relay serves this database.
        RelayError: the database or the address cannot be used.

    """
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        # First of all, so that a signal during start-up is not lost.
        nursery.start_soon(_stop_on_signal, stop)
        await serve_until(settings, stop, task_status=task_status)
        nursery.cancel_scope.cancel()


async def serve_until(
    settings: ServerSettings,
    stop: trio.Event,
    *,
    task_status: trio.TaskStatus[Sequence[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `stop` is set: what `serve` does, for callers with signals of their own."""
    check_bind(settings)
    check_integrations(settings)
    async with open_store(database_path(settings)) as store:
        service = RelayService(store, settings, now=unix_ms, new_token=partial(secrets.token_urlsafe, 18))
        app = create_app(service, settings)
        await service.keep_house()
        tune_gc()
        async with trio.open_nursery() as upkeep:
            upkeep.start_soon(housekeeping.keep_house, service)
            upkeep.start_soon(housekeeping.expire, service)
            upkeep.start_soon(service.events.follow)
            upkeep.start_soon(call_back, service)
            async with trio.open_nursery() as server:
                urls: Sequence[str] = await server.start(
                    partial(
                        serve_app,
                        app,
                        ServingConfig(host=settings.host, port=settings.port),
                        stop=stop,
                        on_stop=service.hub.close,
                    )
                )
                log.info("serving", urls=list(urls), database=str(store.path))
                task_status.started(urls)
            # The server has drained: nobody is left to keep house for.
            upkeep.cancel_scope.cancel()
    log.info("stopped")


async def _stop_on_signal(stop: trio.Event) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            log.info("signal", number=number)
            stop.set()
