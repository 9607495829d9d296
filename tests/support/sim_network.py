"""A relay that dies and a network that loses, for simulations in virtual time.

A request that is lost has either never reached the relay, or been carried out there with nobody hearing of it. Its
sender is told at once, or left waiting until its own time is over. A request that is on its way arrives even when its
sender has died meanwhile.
"""

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx2
import msgspec
import trio
from quart_trio import QuartTrio

from support.relay import inline
from support.sidecar import Mortal
from trio_relay.relay.app import create_app
from trio_relay.relay.service import RelayService
from trio_relay.settings import ServerSettings
from trio_relay.store import open_store, sqlite


@dataclass
class Grant:
    """A lease as its holder was told of it; `ends_at` is the latest end it was promised (Unix ms)."""

    message_id: int
    epoch: int
    agent_id: str
    claimed_at: int
    ends_at: int
    given_back: bool = False


@dataclass
class SimRelay:
    """A relay on one database file, through as many processes as a test wants. `disk_delay`: seconds a commit takes."""

    path: Path
    settings: ServerSettings
    now: Callable[[], int]
    disk_delay: Callable[[], float] = lambda: 0.0
    expiry_every: float = 15.0
    #: Every lease that was ever granted, by token, as the answers told it.
    grants: dict[str, Grant] = field(default_factory=dict)
    processes: int = 0
    requests: int = 0
    _tokens: Any = field(default_factory=lambda: itertools.count(1))
    _process: trio.CancelScope | None = None
    _killed: bool = False
    _gone: trio.Event = field(default_factory=trio.Event)
    _app: QuartTrio | None = None
    _open: set[trio.CancelScope] = field(default_factory=set)

    async def live(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Task: be one process of the relay, until it is killed or stopped."""
        self._killed, self._gone = False, trio.Event()
        self.processes += 1
        try:
            with trio.CancelScope() as self._process:
                async with open_store(self.path, run_sync=self._run_sync) as store:
                    service = RelayService(
                        store, self.settings, now=self.now, new_token=lambda: f"token-{next(self._tokens)}"
                    )
                    app = create_app(service, self.settings)
                    await service.keep_house()
                    self._app = app
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(service.events.follow)
                        nursery.start_soon(_again_and_again, service.expire, self.expiry_every)
                        nursery.start_soon(_again_and_again, service.keep_house, self.settings.reap_interval)
                        task_status.started()
                        await trio.sleep_forever()
        finally:
            self._app = self._process = None
            self._gone.set()

    async def end(self, *, killed: bool) -> None:
        """End the process: as kill -9, when what has not been committed never will be, or as SIGTERM."""
        assert self._process is not None
        self._killed = killed
        for scope in self._open:
            scope.cancel()
        self._process.cancel()
        await self._gone.wait()

    @property
    def up(self) -> bool:
        return self._app is not None

    async def answer(self, request: httpx2.Request) -> httpx2.Response | None:
        """Carry out a request; None when the relay is not there, or dies over it."""
        if self._app is None:
            return None
        self.requests += 1
        self._note_release(request)
        response = None
        with trio.CancelScope() as scope:
            self._open.add(scope)
            try:
                response = await _ask(self._app, request)
            finally:
                self._open.discard(scope)
        if scope.cancelled_caught:
            return None
        assert response is not None
        self._note_grant(request, response)
        return response

    async def _run_sync(self, function: Callable[..., Any], *args: Any) -> Any:
        if function is sqlite._reading:
            return await inline(function, *args)
        await trio.sleep(self.disk_delay())  # whatever else leaves the event loop is a commit
        if not self._killed:
            function(*args)
        return None

    def _note_release(self, request: httpx2.Request) -> None:
        if request.url.path.endswith("/claim/release"):
            self.grants[msgspec.json.decode(request.content)["leaseToken"]].given_back = True

    def _note_grant(self, request: httpx2.Request, response: httpx2.Response) -> None:
        if not request.url.path.endswith(("/claim", "/claim/renew")) or response.status_code != 200:
            return
        told = msgspec.json.decode(response.content)
        grant = self.grants.setdefault(
            told["leaseToken"],
            Grant(
                told["id"], told["leaseEpoch"], told["claimedBy"], told["claimedAt"], told["claimExpiresAt"]
            ),
        )
        grant.ends_at = max(grant.ends_at, told["claimExpiresAt"])


async def _ask(app: QuartTrio, request: httpx2.Request) -> httpx2.Response:
    """Put a request to an application: as httpx2's ASGITransport does, in half the time."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.split(b"?")[0],
        "query_string": request.url.query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": ("127.0.0.1", 123),
        "server": (request.url.host, request.url.port),
    }
    asked = False
    status, headers, body = 0, [], b""

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked:
            await trio.sleep_forever()  # nobody hangs up: what is on its way is carried out
        asked = True
        return {"type": "http.request", "body": request.content, "more_body": False}

    async def send(event: Any) -> None:
        nonlocal status, headers, body
        if event["type"] == "http.response.start":
            status, headers = event["status"], event["headers"]
        else:
            body += event.get("body", b"")

    await app(cast("Any", scope), cast("Any", receive), cast("Any", send))
    return httpx2.Response(status, headers=headers, content=body, request=request)


async def _again_and_again(round_of: Callable[[], Any], every: float) -> None:
    while True:
        await trio.sleep(every)
        await round_of()


@dataclass
class Network:
    """What lies between the relay and everybody else. `loss`: the share of requests that are lost."""

    relay: SimRelay
    nursery: trio.Nursery
    rng: random.Random
    loss: float = 0.2
    lost: int = 0

    async def carry(self, request: httpx2.Request) -> httpx2.Response:
        """Bring a request to the relay and its answer back, or not."""
        journey = _Journey(request)
        self.nursery.start_soon(self._travel, journey)
        await journey.over.wait()
        if journey.response is None:
            raise httpx2.ReadError("lost on the way", request=request)
        return journey.response

    async def _travel(self, journey: "_Journey") -> None:
        """Take it there and back; `over` is never set for those whose sender is left waiting."""
        rng = self.rng
        is_lost = rng.random() < self.loss
        on_the_way_there = is_lost and rng.random() < 0.5
        in_silence = is_lost and rng.random() < 0.5
        self.lost += is_lost
        await trio.sleep(self._delay())
        if not on_the_way_there:
            response = await self.relay.answer(journey.request)
            await trio.sleep(self._delay())
            if not is_lost:
                journey.response = response
        if not in_silence:
            journey.over.set()

    def _delay(self) -> float:
        """Seconds: mostly some milliseconds, now and then longer than a caller's patience."""
        if self.loss and self.rng.random() < 0.01:
            return self.rng.uniform(1, 20)
        return self.rng.uniform(0.001, 0.03)


@dataclass(eq=False)
class _Journey:
    request: httpx2.Request
    response: httpx2.Response | None = None
    over: trio.Event = field(default_factory=trio.Event)


class NetworkTransport(httpx2.AsyncBaseTransport):
    """HTTP over the network, for somebody who may die."""

    def __init__(self, network: Network, mortal: Mortal | None = None) -> None:
        self._network = network
        self._mortal = mortal

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if self._mortal is not None:
            await self._mortal.step()
        await request.aread()
        response = await self._network.carry(request)
        if self._mortal is not None:
            await self._mortal.step()
        return response
