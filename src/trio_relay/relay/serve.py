"""The relay process: the server beside our own tasks, in one nursery.

The background tasks live here and not in the application's own nursery: a bug in one of them ends the process with a
traceback instead of being logged while the relay goes on without it.
"""

import platform
import re
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import SystemRandom
from urllib.parse import quote

import platformdirs
import structlog
import trio

from trio_relay.core.integrations import Integration, by_token
from trio_relay.errors import Refused, RelayError
from trio_relay.relay import housekeeping
from trio_relay.relay.app import create_app
from trio_relay.relay.callbacks import call_back
from trio_relay.relay.hub import Hub
from trio_relay.relay.service import Alone, RelayService
from trio_relay.relay.serving import ServingConfig, serve_app, tune_gc
from trio_relay.relay.web.access import is_loopback
from trio_relay.settings import ServerSettings
from trio_relay.store import open_store
from trio_relay.store.interface import APPLICATION

#: On PostgreSQL, who follows the events looks for new ones so many seconds after the last ring.
LOOK_EVERY = 1.0
#: Seconds a node that starts waits for its link to the others, before it serves all the same.
LINK_PATIENCE = 5.0
#: Reads the integrations anew, in a thread.
Reread = Callable[[], tuple[Integration, ...]]
log = structlog.get_logger("trio_relay.serve")


def unix_ms() -> int:
    """Now, in Unix milliseconds."""
    return time.time_ns() // 1_000_000


def database_path(settings: ServerSettings) -> Path:
    """Where the SQLite file is: as set, else in the user's data directory."""
    if settings.db_path is not None:
        return Path(settings.db_path).expanduser()
    return Path(platformdirs.user_data_dir("trio-relay", appauthor=False)) / "relay.db"


def database(settings: ServerSettings, node: str) -> Path | str:
    """What to open as the store: a file, or the URL of a PostgreSQL, whose sessions are to bear the node's name."""
    if settings.database_url is None:
        return database_path(settings)
    more = "&" if "?" in settings.database_url else "?"
    return f"{settings.database_url}{more}application_name={quote(APPLICATION + node)}"  # the last one counts


def database_name(settings: ServerSettings) -> str:
    """Say which database that is, without a password.

    Raises:
        RelayError: the URL cannot be understood (code ``bad_database_url``).

    """
    if settings.database_url is None:
        return str(database_path(settings))
    from trio_relay.store.postgres import name_of  # noqa: PLC0415  # needs the extra

    return name_of(settings.database_url)


def node_name() -> str:
    """Name this process, unlike any other: its machine and a few random digits."""
    machine = re.sub("[^a-zA-Z0-9-]", "", platform.node().partition(".")[0])[:40]
    return f"{machine or 'node'}-{secrets.token_hex(4)}"


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
    settings: ServerSettings,
    *,
    integrations: Reread | None = None,
    task_status: trio.TaskStatus[Sequence[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until SIGTERM or SIGINT, or until cancelled; ``started`` answers the URLs.

    On a signal every open poll is answered, then the server drains and this returns. On SIGHUP `integrations`, if
    given, is asked for those that count from then on; what it raises is logged, and those that counted go on.

    Raises:
        Refused: an open bind to other machines.
        StoreInUse: another relay serves this database.
        RelayError: the database or the address cannot be used.

    """
    stop = trio.Event()
    node = node_name()
    if settings.database_url is not None:
        structlog.contextvars.bind_contextvars(node=node)  # several write into one log, perhaps
    async with trio.open_nursery() as nursery:
        # First of all, so that a signal during start-up is not lost.
        nursery.start_soon(_stop_on_signal, stop)
        await serve_until(settings, stop, node=node, integrations=integrations, task_status=task_status)
        nursery.cancel_scope.cancel()


async def serve_until(
    settings: ServerSettings,
    stop: trio.Event,
    *,
    node: str | None = None,
    integrations: Reread | None = None,
    task_status: trio.TaskStatus[Sequence[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `stop` is set: what `serve` does, for callers with signals of their own."""
    check_bind(settings)
    check_integrations(settings)
    async with open_room(settings, node or node_name()) as service:
        app = create_app(service, settings)
        tune_gc()
        async with trio.open_nursery() as signals:
            if integrations is not None:
                await signals.start(_reread_on_signal, service, integrations)
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
                log.info("serving", urls=list(urls), database=service.store.name)
                task_status.started(urls)
            signals.cancel_scope.cancel()
    log.info("stopped")


@asynccontextmanager
async def open_room(settings: ServerSettings, node: str) -> AsyncIterator[RelayService]:
    """Open the service on its store, with the tasks that keep it, until the block ends: then nobody is left to serve."""
    new_token = partial(secrets.token_urlsafe, 18)
    async with (
        open_store(database(settings, node), connections=settings.database_connections) as store,
        trio.open_nursery() as upkeep,
    ):
        if settings.database_url is None:
            service = RelayService(store, settings, now=unix_ms, new_token=new_token, peers=Alone(node))
            await service.keep_house()
            upkeep.start_soon(see_to, service)
        else:
            from trio_relay.relay.nodes import Node  # noqa: PLC0415  # needs the extra

            hub = Hub()
            peers = Node.on(settings.database_url, node, hub, now=unix_ms, chance=SystemRandom().random)
            service = RelayService(
                store, settings, now=unix_ms, new_token=new_token, peers=peers, hub=hub, look_every=LOOK_EVERY
            )
            upkeep.start_soon(peers.keep_linked)
            upkeep.start_soon(peers.lead, partial(take_over, service))
            with trio.move_on_after(LINK_PATIENCE):
                await peers.joined.wait()
        upkeep.start_soon(service.events.follow)
        yield service
        upkeep.cancel_scope.cancel()


async def see_to(service: RelayService) -> None:
    """Task: what exactly one process does for a store, for ever."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(housekeeping.keep_house, service)
        nursery.start_soon(housekeeping.expire, service)
        nursery.start_soon(call_back, service)


async def take_over(service: RelayService) -> None:
    """Task: what another node has done until now, or nobody, for ever."""
    service.begin_to_keep_house()
    await see_to(service)


async def _reread_on_signal(
    service: RelayService, integrations: Reread, *, task_status: trio.TaskStatus[None]
) -> None:
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            try:
                found = await trio.to_thread.run_sync(integrations)
                check_integrations(replace(service.settings, integrations=found))
            except RelayError as error:
                # It names the entry and the field, and no value.
                log.error("integrations not reread", reason=error.detail, code=error.code)  # noqa: TRY400  # no traceback
            else:
                service.reconfigure(found)
                log.info("integrations reread", names=[each.name for each in found])


async def _stop_on_signal(stop: trio.Event) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            log.info("signal", number=number)
            stop.set()
