"""A relay inside a trio program: no port, no thread, and its clock is trio's, so an hour may pass in an instant."""

import itertools
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import trio

from trio_relay.client.outbox import Outbox
from trio_relay.client.relay import Relay, connect
from trio_relay.core.access import Scope
from trio_relay.core.wire_access import TokenRequest
from trio_relay.relay import housekeeping
from trio_relay.relay.app import create_app
from trio_relay.relay.service import RelayService
from trio_relay.settings import ServerSettings
from trio_relay.store import open_store
from trio_relay.testing.transport import AppTransport

T = TypeVar("T")
URL = "http://127.0.0.1:4850"
MINTED = (Scope.SEND, Scope.RECEIVE, Scope.CLAIM, Scope.OBSERVE, Scope.INTEGRATE)


async def _inline(function: Callable[..., T], *args: Any) -> T:
    # No thread: a mock clock that jumps does not wait for one.
    await trio.lowlevel.checkpoint()
    return function(*args)


class InsideRelay:
    """A relay in this process. `token` is the shared one, if it has one."""

    def __init__(self, transport: AppTransport, token: str | None) -> None:
        self.url = URL
        self.token = token
        self._transport = transport

    @asynccontextmanager
    async def connect(
        self, token: str | None = None, *, outbox: Path | str | None = None
    ) -> AsyncIterator[Relay]:
        """Connect to it, with a token of its own or the shared one, as `trio_relay.client.connect` does."""
        async with AsyncExitStack() as stack:
            opened: Outbox | bool = False
            if outbox is not None:
                opened = await stack.enter_async_context(Outbox.open(outbox, run_sync=_inline))
            opening = connect(self.url, token or self.token, outbox=opened, transport=self._transport)
            yield await stack.enter_async_context(opening)

    async def mint(
        self, name: str, *scopes: Scope | str, agent_id: str | None = None, authority: str = "peer"
    ) -> str:
        """Mint a token; without scopes it may do everything but administer."""
        return await mint(self.connect(), name, scopes, agent_id, authority)

    def cut(self) -> None:
        """Cut the network: every open connection is lost, and no new one is made."""
        self._transport.cut()

    def mend(self) -> None:
        """Mend it."""
        self._transport.broken = False


@asynccontextmanager
async def open_relay(*, token: str | None = None, **settings: Any) -> AsyncIterator[InsideRelay]:
    """Run a relay beside the block, on trio; in virtual time if the clock is a `trio.testing.MockClock`.

    `settings` are those of `trio_relay.settings.ServerSettings`. Callbacks are not sent.
    """
    chosen = ServerSettings(token=token, **settings)
    start, started_at = time.time_ns() // 1_000_000, trio.current_time()
    numbers = itertools.count(1)
    with tempfile.TemporaryDirectory(prefix="trio-relay-") as directory:
        async with (
            open_store(Path(directory) / "relay.db", run_sync=_inline) as store,
            trio.open_nursery() as nursery,
        ):
            service = RelayService(
                store,
                chosen,
                now=lambda: start + round((trio.current_time() - started_at) * 1000),
                new_token=lambda: f"token-{next(numbers)}",
            )
            for task in (service.events.follow, lambda: housekeeping.expire(service)):
                nursery.start_soon(task)
            nursery.start_soon(housekeeping.keep_house, service)
            try:
                yield InsideRelay(AppTransport(create_app(service, chosen), nursery), token)
            finally:
                service.hub.close()
                nursery.cancel_scope.cancel()


async def mint(
    opening: AbstractAsyncContextManager[Relay],
    name: str,
    scopes: tuple[Scope | str, ...],
    agent_id: str | None,
    authority: str,
) -> str:
    """Mint a token over a connection that may."""
    from trio_relay.client import admin  # noqa: PLC0415  # beside the point of every other line here
    from trio_relay.core.model import Authority  # noqa: PLC0415

    request = TokenRequest(
        name=name,
        scopes=[Scope(scope) for scope in scopes or MINTED],
        agent_id=agent_id,
        authority=Authority(authority),
    )
    async with opening as relay:
        return (await admin.mint_token(relay.client, request)).token
