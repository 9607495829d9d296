"""A whole relay in the test's own process: store in a temporary file, application, client. Runs in virtual time.

The store's thread hop is replaced by a direct call, because trio's autojump clock does not wait for threads, and the
relay's wall clock is trio's clock, so that an hour passes in an instant.
"""

import itertools
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import httpx2
import trio
from quart_trio import QuartTrio

from trio_relay.client import RelayClient
from trio_relay.relay.app import create_app
from trio_relay.relay.service import RelayService
from trio_relay.settings import ServerSettings
from trio_relay.store import open_store
from trio_relay.store.migrations import migrate

T = TypeVar("T")
#: Unix milliseconds at which every test's relay begins.
EPOCH = 1_800_000_000_000


async def inline(function: Callable[..., T], *args: Any) -> T:
    """Stand in for ``trio.to_thread.run_sync``: call straight through, at a checkpoint."""
    await trio.lowlevel.checkpoint()
    return function(*args)


class CuttableTransport(httpx2.AsyncBaseTransport):
    """Carry requests to an ASGI application; while `broken` is set, every one fails like a lost connection."""

    def __init__(self, app: QuartTrio) -> None:
        self.broken = False
        self._inner = httpx2.ASGITransport(cast("Any", app))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if self.broken:
            raise httpx2.ConnectError("the test has cut the network", request=request)
        return await self._inner.handle_async_request(request)


@dataclass
class Room:
    """A relay and what a test needs to reach into it."""

    relay: RelayClient
    service: RelayService
    app: QuartTrio
    transport: CuttableTransport
    settings: ServerSettings

    async def http(self, method: str, path: str, **kwargs: Any) -> httpx2.Response:
        """One raw request, with whatever body and headers the test wants."""
        async with httpx2.AsyncClient(transport=self.transport, base_url="http://127.0.0.1:4850") as http:
            return await http.request(method, path, **kwargs)


def virtual_now() -> Callable[[], int]:
    """Unix milliseconds that follow trio's clock."""
    start = trio.current_time()
    return lambda: EPOCH + round((trio.current_time() - start) * 1000)


@cache
def empty_database() -> bytes:
    """An SQLite database with the schema and nothing in it. Copying it costs a tenth of making it."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection)
        return connection.serialize()


@asynccontextmanager
async def open_room(
    directory: Path,
    settings: ServerSettings | None = None,
    *,
    run_sync: Callable[..., Awaitable[Any]] = inline,
    now: Callable[[], int] | None = None,
    database: str | None = None,
) -> AsyncIterator[Room]:
    """Open a relay on ``directory/relay.db``, or on the `database` of a URL; opened again it shows what was kept."""
    settings = settings or ServerSettings()
    tokens = itertools.count(1)
    file = directory / "relay.db"
    if database is None and not file.exists():
        directory.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_bytes(empty_database())
    async with open_store(database or file, run_sync=run_sync) as store:
        service = RelayService(
            store, settings, now=now or virtual_now(), new_token=lambda: f"token-{next(tokens)}"
        )
        app = create_app(service, settings)
        transport = CuttableTransport(app)
        async with (
            RelayClient.open("http://127.0.0.1:4850", settings.token, transport=transport) as relay,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(service.events.follow)
            try:
                yield Room(relay, service, app, transport, settings)
            finally:
                service.hub.close()
