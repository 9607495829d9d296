"""Tools of the checks on an app-server: a server under test, what a connection hears, and a person at a terminal."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import trio
import trio_websocket

from support.mock_model import MockModel, Reply, Text, ToolCall, shell
from support.processes import until
from trio_relay.codex.app_server import AppServer, open_app_server
from trio_relay.codex.dial import Dial, dial_url
from trio_relay.codex.protocol import (
    Event,
    Notification,
    TurnEnded,
    UserMessageSeen,
)

OTHER_TURN = "01a1fc2e-9431-7462-8e97-c7231034486c"


class Server(Protocol):
    """What the fake and the real app-server both offer."""

    model: MockModel

    @property
    def url(self) -> str: ...
    @property
    def dial(self) -> Dial | None: ...
    async def start(self) -> None: ...
    async def kill(self) -> None: ...
    def drain(self) -> None: ...
    def find_items(self, path: str, wanted: Collection[str]) -> set[str] | None: ...


class Watch:
    """Everything one connection hears of one thread, as it comes."""

    def __init__(self, server: AppServer, thread_id: str) -> None:
        self.view = server.view(thread_id)
        self.heard: list[Notification] = []
        self.events: list[Event] = []
        self._server = server
        self._news = trio.Event()
        self._over = False

    async def run(self) -> None:
        async for notification in self._server.notifications:
            if notification.params.get("threadId") == self.view.thread_id:
                self.heard.append(notification)
                self.events += self.view.apply(notification)
                self._ring()
        self._over = True
        self._ring()

    def _ring(self) -> None:
        news, self._news = self._news, trio.Event()
        news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for the notification that makes `condition` true."""
        while not condition():
            assert not self._over, f"the connection was lost: {self._server.lost}"
            await self._news.wait()

    async def event(self, event: Event) -> None:
        await self.until(lambda: event in self.events)

    async def seen(self, client_id: str) -> None:
        await self.until(lambda: client_id in self.client_ids)

    async def ended(self, turn_id: str) -> TurnEnded:
        def found() -> list[TurnEnded]:
            return [e for e in self.events if isinstance(e, TurnEnded) and e.turn_id == turn_id]

        await self.until(lambda: bool(found()))
        return found()[0]

    async def speaking(self, count: int = 1) -> None:
        """Wait until the model has begun `count` replies."""
        await self.until(lambda: self.items("item/started").count("agentMessage") >= count)

    @property
    def client_ids(self) -> list[str]:
        return [e.client_id for e in self.events if isinstance(e, UserMessageSeen)]

    def items(self, method: str) -> list[str]:
        return [n.params["item"]["type"] for n in self.heard if n.method == method]


class Rig:
    """A server under test, with a place for files that hold its tools up."""

    def __init__(self, server: Server, cwd: Path, token: str | None = None) -> None:
        self.server = server
        self.token = token
        self.model = server.model
        self.cwd = cwd
        self._gates = 0

    @asynccontextmanager
    async def connect(self, token: str | None = None) -> AsyncGenerator[AppServer]:
        token = token or self.token
        async with open_app_server(self.server.url, dial=self.server.dial, token=token) as app_server:
            yield app_server

    @asynccontextmanager
    async def thread(self, **wishes: Any) -> AsyncGenerator[tuple[AppServer, str, Watch]]:
        """Connect, start a thread and watch it."""
        async with self.connect() as app_server, trio.open_nursery() as nursery:
            wishes = {"approval_policy": "never", "sandbox": "workspace-write", **wishes}
            thread_id = await app_server.thread_start(cwd=str(self.cwd), **wishes)
            watch = Watch(app_server, thread_id)
            nursery.start_soon(watch.run)
            yield app_server, thread_id, watch
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def watching(self, app_server: AppServer, thread_id: str) -> AsyncGenerator[Watch]:
        async with trio.open_nursery() as nursery:
            watch = Watch(app_server, thread_id)
            nursery.start_soon(watch.run)
            yield watch
            nursery.cancel_scope.cancel()

    def gate(self) -> "Gate":
        self._gates += 1
        return Gate(self.cwd / f"gate{self._gates}")


class Gate:
    """A tool call that lasts until `open`; `reached` waits until it runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begun = path.with_suffix(".begun")
        self.call: ToolCall = shell(f"touch {self._begun}; until [ -e {path} ]; do sleep 0.05; done")

    async def reached(self) -> None:
        await until(self._begun.exists)

    def open(self) -> None:
        self._path.touch()


def held() -> tuple[Text, trio.Event]:
    """Make a reply that is being streamed until the event is set."""
    hold = trio.Event()
    return Text("held back", hold=hold), hold


def tool_then(call: ToolCall, after: Reply) -> Callable[[Any], Reply]:
    return lambda request: after if request.tool_outputs else call


class Person:
    """A client that sees the questions of the server, and may answer."""

    def __init__(self, websocket: trio_websocket.WebSocketConnection) -> None:
        self._websocket = websocket

    async def call(self, number: int, method: str, params: dict[str, Any]) -> None:
        await self._websocket.send_message(json.dumps({"id": number, "method": method, "params": params}))
        while json.loads(await self._websocket.get_message()).get("id") != number:
            pass

    async def question(self) -> dict[str, Any]:
        while "id" not in (frame := await self._told()):
            pass
        return frame

    async def hears(self, method: str) -> None:
        while (await self._told())["method"] != method:
            pass

    async def _told(self) -> dict[str, Any]:
        while "method" not in (frame := json.loads(await self._websocket.get_message())):
            pass
        return dict(frame)

    async def answer(self, number: int, answer: dict[str, Any]) -> None:
        await self._websocket.send_message(json.dumps({"id": number, **answer}))


@asynccontextmanager
async def person(rig: Rig, thread_id: str) -> AsyncGenerator[Person]:
    """Connect as a terminal does, subscribed to the thread."""
    stream = await (rig.server.dial or dial_url(rig.server.url))()
    async with trio.open_nursery() as nursery:
        websocket = await trio_websocket.wrap_client_stream(
            nursery,
            stream,  # type: ignore[arg-type]  # any stream will do
            "localhost",
            "/",
            message_queue_size=1000,
        )
        someone = Person(websocket)
        client = {"name": "person", "version": "0"}
        await someone.call(
            1001, "initialize", {"clientInfo": client, "capabilities": {"experimentalApi": True}}
        )
        await someone.call(1002, "thread/resume", {"threadId": thread_id, "excludeTurns": True})
        try:
            yield someone
        finally:
            await trio.aclose_forcefully(stream)
            nursery.cancel_scope.cancel()


Check = Callable[[Rig], Awaitable[None]]
