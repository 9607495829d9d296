"""A Codex app-server in this process: same frames, same traps, and a model scripted by the test.

``async with fake_app_server() as fake:`` runs one. Connect with ``open_app_server(fake.url, dial=fake.dial)``, which goes
through memory and so runs in virtual time, or serve a real WebSocket with ``await fake.listen()`` and use ``fake.url``
alone. ``fake.model`` is the mock model the real Codex is tested with too: set ``fake.model.script``.

What a test can do to it:

- ``await fake.kill()`` / ``await fake.start()``: as kill -9 and a restart; only what is on disk comes back.
- ``fake.drain()``: as SIGTERM.
- ``fake.before_call``, ``fake.before_answer``: async functions of (method, params), run before a call is carried out and
  before its answer is sent; they may wait, or kill the server, so that an answer is lost after the deed.
- ``fake.stalled = True``: new connections get no answer at all.
- ``fake.tools[name]``: async function of a tool's arguments. ``exec_command`` knows ``sleep SECONDS`` and waiting for a file.
- ``fake.thread(id)``: a thread in memory, e.g. ``.client_ids``, the proof of what the model was shown.
- ``fake.calls``: every call made, ``(method, params)``.
"""

import errno
import itertools
import json
import os
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import trio
import trio.testing
import trio_websocket

from support.fake_codex_memory import Client, Memory
from support.fake_codex_thread import FakeThread, Rollout
from support.mock_model import MockModel, Text
from support.ports import own_port
from trio_relay.codex.connection import MAX_FRAME
from trio_relay.codex.protocol import signature

Hook = Callable[[str, dict[str, Any]], Awaitable[None]]


class FakeAppServer:
    """See the module's opening text. Made by `fake_app_server`."""

    def __init__(self, nursery: trio.Nursery, version: str, token: str | None, lag: float) -> None:
        self.version = version
        self.token = token
        self.model = MockModel(Text("Understood."))
        self.tools: dict[str, Callable[[dict[str, Any]], Awaitable[str]]] = {"exec_command": _shell}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.before_call: Hook | None = None
        self.before_answer: Hook | None = None
        self.stalled = False
        self.lag = lag
        self.disk: dict[str, Rollout] = {}
        self._nursery = nursery
        self._ids = (f"019a0000-0000-7000-8000-{n:012x}" for n in itertools.count(1))
        self._port: int | None = None
        self._memory: Memory | None = None
        self._gone = trio.Event()

    def find_items(self, path: str, wanted: Collection[str]) -> set[str] | None:
        """As `trio_relay.sidecar.rollout.find_items`: which items stand in a thread's rollout file."""
        rollout = self.disk.get(Path(path).stem)
        if rollout is None or not rollout.on_disk:
            return None
        ids: set[str] = {item.get("id") or signature(_last_text(item)) or "" for item in rollout.history}
        return ids & set(wanted)

    async def find_items_later(self, path: str, wanted: Collection[str]) -> set[str] | None:
        """As from a thread: what is found may be old when it is answered."""
        found = self.find_items(path, wanted)
        await trio.lowlevel.checkpoint()
        return found

    # Life and death

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._port or 1}"

    @property
    def running(self) -> bool:
        return self._memory is not None

    @property
    def memory(self) -> Memory:
        assert self._memory is not None, "the fake app-server does not run"
        return self._memory

    def thread(self, thread_id: str) -> FakeThread:
        """Return a thread that is loaded."""
        return self.memory.threads[thread_id]

    async def start(self) -> None:
        """Start, or start again once the last process has gone; on the same port if it listened."""
        if self._memory is not None:
            await self._gone.wait()
        self._gone = trio.Event()
        await self._nursery.start(self._live)
        if self._port is not None:
            await self.listen()

    async def _live(self, *, task_status: trio.TaskStatus[None]) -> None:
        try:
            async with trio.open_nursery() as process:
                self._memory = Memory(
                    process, self.version, self.model, self.tools, self.disk, self._ids, self.calls, self.lag
                )
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._memory = None
            self._gone.set()

    async def kill(self) -> None:
        """Die as with kill -9: connections break with 1006, memory is gone, running turns come back interrupted."""
        if self._memory is not None:
            self._memory.process.cancel_scope.cancel()
            await self._gone.wait()

    def drain(self) -> None:
        """As SIGTERM: refuse new turns and threads, let the running turns end, then go.

        The end of the last turn is not told: with the real one that is a matter of luck.
        """
        self.memory.draining = True
        self.memory.process.start_soon(self.memory.leave_when_idle)

    # Connections

    async def dial(self) -> trio.abc.Stream:
        """Connect through memory: the client's end of the byte stream."""
        if self._memory is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        ours, theirs = trio.testing.memory_stream_pair()
        self.memory.process.start_soon(self._connection, ours)
        return theirs

    async def listen(self) -> None:
        """Serve a real WebSocket on loopback as well, see `url`."""
        self._port = self._port or own_port()
        (listener,) = await trio.open_tcp_listeners(self._port, host="127.0.0.1")
        self.memory.process.start_soon(trio.serve_listeners, self._connection, [listener])

    async def _connection(self, stream: trio.abc.Stream) -> None:
        try:
            if self.stalled:
                await trio.sleep_forever()
            async with trio.open_nursery() as nursery:
                request = await trio_websocket.wrap_server_stream(nursery, stream, max_message_size=MAX_FRAME)
                with suppress(trio_websocket.ConnectionClosed):
                    if await self._admit(request):
                        await self._talk(nursery, await request.accept())
                nursery.cancel_scope.cancel()
        finally:
            await trio.aclose_forcefully(stream)

    async def _admit(self, request: trio_websocket.WebSocketRequest) -> bool:
        header = dict(request.headers).get(b"authorization")
        if self.token is None or header == f"Bearer {self.token}".encode():
            return True
        what = b"missing" if header is None else b"invalid"
        await request.reject(401, body=what + b" websocket bearer token")
        return False

    async def _talk(self, nursery: trio.Nursery, websocket: trio_websocket.WebSocketConnection) -> None:
        outgoing, to_send = trio.open_memory_channel[dict[str, Any]](float("inf"))

        async def send() -> None:
            with suppress(trio_websocket.ConnectionClosed):
                async for frame in to_send:
                    await websocket.send_message(json.dumps(frame))

        nursery.start_soon(send)
        memory = self.memory
        client = memory.join(outgoing.send_nowait)
        try:
            while True:
                text = await websocket.get_message()
                if isinstance(text, bytes):
                    continue
                with suppress(ValueError):
                    await self._frame(nursery, memory, client, json.loads(text))
        finally:
            memory.leave(client)

    async def _frame(
        self, nursery: trio.Nursery, memory: Memory, client: Client, frame: dict[str, Any]
    ) -> None:
        if "method" not in frame:
            memory.person_answers(frame)
        elif "id" in frame and self.before_call is None and self.before_answer is None:
            client.send(memory.answer(client, frame))
        elif "id" in frame:
            nursery.start_soon(self._answer_with_hooks, memory, client, frame)

    async def _answer_with_hooks(self, memory: Memory, client: Client, frame: dict[str, Any]) -> None:
        if self.before_call is not None:
            await self.before_call(frame["method"], frame["params"])
        answer = memory.answer(client, frame)
        if self.before_answer is not None:
            await self.before_answer(frame["method"], frame["params"])
        client.send(answer)


def _last_text(item: dict[str, Any]) -> str:
    content = item.get("content") or [{}]
    return str(content[-1].get("text", ""))


_WAIT_FOR_FILE = re.compile(r"touch (\S+); until \[ -e (\S+) \]; do sleep ([0-9.]+); done")


async def _shell(arguments: dict[str, Any]) -> str:
    """Play the two commands tests need: ``sleep SECONDS``, and waiting for a file."""
    command = str(arguments["cmd"])
    if waiting := _WAIT_FOR_FILE.fullmatch(command):
        Path(waiting[1]).touch()
        while not Path(waiting[2]).exists():
            await trio.sleep(float(waiting[3]))
    elif command.startswith("sleep "):
        await trio.sleep(float(command.removeprefix("sleep ")))
    return "Process exited with code 0\n"


@asynccontextmanager
async def fake_app_server(
    *, version: str = "0.169.0", token: str | None = None, lag: float = 0.01
) -> AsyncGenerator[FakeAppServer]:
    """Run a fake app-server for the time of the block.

    `version` 0.130.0 behaves as that old one did. `lag`: seconds from a text's acceptance to its place in the context.
    """
    async with trio.open_nursery() as nursery:
        fake = FakeAppServer(nursery, version, token, lag)
        await fake.start()
        try:
            yield fake
        finally:
            nursery.cancel_scope.cancel()
