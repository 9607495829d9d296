"""A small app and the hardened server around it, in this process or in one of its own.

Run as a program (``python -m support.serving ours|stock``) it serves until its standard input closes and prints its
URL first. ``stock`` is hypercorn's own trio server with the same app, to show what the hardening is for.
"""

import os
import select
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import Response, make_response, request, websocket
from quart_trio import QuartTrio
from trio.testing import MockClock

from trio_relay.relay.serving import ServingConfig, serve_app
from trio_relay.relay.web.request import RelayRequest

#: More than the kernel buffers of a connection hold, so that a client that does not read blocks the writer.
FLOOD = bytes(1_000_000)


def make_app(stopping: trio.Event) -> QuartTrio:
    """An app with one route for each way a connection can be busy."""
    app = QuartTrio(__name__, static_folder=None)
    app.request_class = RelayRequest
    app.config["MAX_CONTENT_LENGTH"] = 100_000

    @app.route("/", methods=["GET", "OPTIONS"])
    async def index() -> dict[str, str]:
        return {"hello": "world"}

    @app.post("/echo")
    async def echo() -> Response:
        return Response(await request.get_data(), content_type="application/octet-stream")

    @app.get("/poll")
    async def poll() -> Response:
        await stopping.wait()
        return Response(b"[]", content_type="application/json")

    @app.get("/events")
    async def events() -> Any:
        async def stream() -> AsyncIterator[bytes]:
            yield b"data: first\n\n"
            await stopping.wait()
            yield b"data: bye\n\n"

        response: Any = await make_response(stream(), {"Content-Type": "text/event-stream"})
        response.timeout = None
        return response

    @app.get("/flood")
    async def flood() -> Any:
        async def stream() -> AsyncIterator[bytes]:
            while True:
                yield FLOOD

        response: Any = await make_response(stream(), {"Content-Type": "application/octet-stream"})
        response.timeout = None
        return response

    @app.websocket("/ws")
    async def ws() -> None:
        while True:
            await websocket.send(await websocket.receive())

    @app.websocket("/ws-chatter")
    async def chatter() -> None:
        while True:
            await websocket.send("x")

    @app.websocket("/ws-deaf")
    async def deaf() -> None:
        await websocket.accept()
        await stopping.wait()

    @app.websocket("/ws-closed")
    async def closed() -> tuple[str, int]:
        return "not here", 403

    return app


@dataclass
class Served:
    """A running server. `ended` is set once it has stopped entirely, at the clock's `ended_at`."""

    url: str
    stop: trio.Event
    ended: trio.Event = field(default_factory=trio.Event)
    ended_at: float = 0.0
    #: Requests and WebSockets the app is busy with.
    open_requests: int = 0


@asynccontextmanager
async def serving(
    app: Any = None,
    *,
    stopping: trio.Event | None = None,
    on_stop: Callable[[], None] | None = None,
    **limits: Any,
) -> AsyncIterator[Served]:
    """Serve `app` (default: `make_app`) on a free port; `limits` are fields of `ServingConfig`."""
    stopping = trio.Event() if stopping is None else stopping
    config = ServingConfig(**{"port": 0, **limits})
    served = Served("", trio.Event())

    inner = app or make_app(stopping)

    async def counted(scope: Any, receive: Any, send: Any) -> None:
        counts = scope["type"] != "lifespan"
        served.open_requests += counts
        try:
            await inner(scope, receive, send)
        finally:
            served.open_requests -= counts

    async def run(task_status: trio.TaskStatus[list[str]]) -> None:
        await serve_app(
            counted,
            config,
            stop=served.stop,
            on_stop=on_stop or stopping.set,
            task_status=task_status,
        )
        served.ended_at = trio.current_time()
        served.ended.set()

    # For a test that would wait for ever. In virtual time nothing passes by itself until everything is stuck.
    patience = 100_000 if isinstance(trio.lowlevel.current_clock(), MockClock) else 60
    with trio.fail_after(patience):
        async with trio.open_nursery() as nursery:
            served.url = (await nursery.start(run))[0]
            yield served
            served.stop.set()


class ServerProcess:
    """A server in a process of its own, for what could take the test run down with it."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._process = process
        self.url = url

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def resident(self) -> int:
        """Its resident memory, bytes."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    @property
    def cpu_seconds(self) -> float:
        """The processor time it has used, user and system."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wait(self, timeout: float) -> int | None:
        """Its exit code, or None when it has not ended within `timeout` seconds."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None


@contextmanager
def server_process(kind: str) -> Iterator[ServerProcess]:
    """Run this module as ``ours`` or ``stock`` (add ``-raw`` for an app without Quart)."""
    tests = Path(__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "support.serving", kind],
        cwd=tests,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        ready, _, _ = select.select([process.stdout], [], [], 60)
        assert ready, "the server did not start within a minute"
        url = process.stdout.readline().strip()
        assert url.startswith("http://"), "the server ended before it served"
        yield ServerProcess(process, url)
    finally:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


async def raw_app(scope: Any, receive: Any, send: Any) -> None:
    """The smallest ASGI app: answers every request the same, and takes no message of a WebSocket.

    Under Quart 0.23 the latter cannot be had: it takes all there are before a view asks for one.
    """
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    await receive()
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
        await trio.sleep_forever()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


async def _main(kind: str) -> None:
    stopping, stop = trio.Event(), trio.Event()
    flavour, _, raw = kind.partition("-")
    app: Any = raw_app if raw else make_app(stopping)
    async with trio.open_nursery() as nursery:
        if flavour == "ours":
            config = ServingConfig(port=0)
            start = partial(serve_app, app, config, stop=stop, on_stop=stopping.set)
        else:
            stock = Config()
            stock.bind = ["127.0.0.1:0"]
            stock.errorlog = None
            start = partial(serve, app, stock, shutdown_trigger=stop.wait)
        urls: list[str] = await nursery.start(start)
        print(urls[0], flush=True)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        stopping.set()
        stop.set()


if __name__ == "__main__":
    trio.run(_main, sys.argv[1])
