"""A relay on a port of the loopback interface, in a thread: for tests on asyncio, without a loop, or of other processes."""

import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from trio_relay.client.relay import connect
from trio_relay.core.access import Scope
from trio_relay.relay.app import create_app
from trio_relay.relay.serve import open_room
from trio_relay.relay.serving import ServingConfig, serve_app
from trio_relay.settings import ServerSettings
from trio_relay.testing.inside import mint


class ServedRelay:
    """A relay at `url`; `token` is the shared one, if it has one."""

    def __init__(self, url: str, token: str | None) -> None:
        self.url = url
        self.token = token

    def mint(
        self, name: str, *scopes: Scope | str, agent_id: str | None = None, authority: str = "peer"
    ) -> str:
        """Mint a token; without scopes it may do everything but administer."""
        return trio.run(mint, connect(self.url, self.token), name, scopes, agent_id, authority)


@contextmanager
def serve_relay(*, token: str | None = None, port: int = 0, **settings: Any) -> Iterator[ServedRelay]:
    """Serve a relay while the block runs; `settings` are those of `trio_relay.settings.ServerSettings`."""
    with tempfile.TemporaryDirectory(prefix="trio-relay-") as directory:
        chosen = ServerSettings(token=token, port=port, db_path=str(Path(directory) / "relay.db"), **settings)
        started: Future[tuple[str, trio.lowlevel.TrioToken, trio.Event]] = Future()
        thread = threading.Thread(target=_run, args=(chosen, started), name="trio-relay", daemon=True)
        thread.start()
        url, loop, stop = started.result()
        try:
            yield ServedRelay(url, token)
        finally:
            loop.run_sync_soon(stop.set)
            thread.join()


def _run(
    settings: ServerSettings, started: "Future[tuple[str, trio.lowlevel.TrioToken, trio.Event]]"
) -> None:
    try:
        trio.run(_serve, settings, started)
    except BaseException as error:
        if started.done():
            raise
        started.set_exception(error)


async def _serve(
    settings: ServerSettings, started: "Future[tuple[str, trio.lowlevel.TrioToken, trio.Event]]"
) -> None:
    stop = trio.Event()
    async with open_room(settings, "testing") as service, trio.open_nursery() as server:
        serving = partial(
            serve_app,
            create_app(service, settings),
            ServingConfig(host=settings.host, port=settings.port),
            stop=stop,
            on_stop=service.hub.close,
        )
        urls = await server.start(serving)
        started.set_result((urls[0], trio.lowlevel.current_trio_token(), stop))
