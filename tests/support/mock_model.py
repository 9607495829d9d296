"""A mock of OpenAI's Responses API that the real Codex talks to, scripted by the test.

``async with mock_model(script) as model:`` serves on loopback; ``codex_home(path, model)`` writes a Codex home whose
only model provider is this mock, so that Codex needs no account and reaches nothing but loopback.

A script decides every answer: one reply for all requests, a list of replies used in order, or a function of the
request (plain or async). A reply is `Text`, `ToolCall` or `Failure`. Codex also asks for thread titles on its own
(helper threads whose ``thread_source`` is ``thread_title``); those are answered by the mock itself, recorded in
`titles` and never shown to the script, so that a script counts turns and nothing else.

What Codex 0.169 needs of a stream: ``response.created``, the output item, ``response.completed`` with a usage.
"""

import inspect
import json
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import h11
import trio

MODEL_NAME = "mock-model"
_TITLE = "A title from the mock model"


@dataclass(frozen=True)
class Text:
    """The model says `text`, in pieces of `chunk` characters.

    With `hold`, the first piece is streamed, then the stream stays open until the event is set: a running turn
    for as long as the test wants one.
    """

    text: str
    hold: trio.Event | None = None
    chunk: int = 4096


@dataclass(frozen=True)
class ToolCall:
    """The model calls a function tool. `shell` makes the usual one."""

    name: str
    arguments: Mapping[str, Any]
    namespace: str | None = None
    call_id: str | None = None


@dataclass(frozen=True)
class Failure:
    """The API answers with an HTTP error; Codex then fails the turn (the mock's config allows no retries)."""

    status: int = 500
    message: str = "the mock model was told to fail"
    kind: str = "mock"  # the error's type, e.g. "usage_limit_reached"


Reply = Text | ToolCall | Failure


def shell(command: str, **arguments: Any) -> ToolCall:
    """Have the model run a shell command (Codex 0.169's tool is called ``exec_command``)."""
    return ToolCall("exec_command", {"cmd": command, **arguments})


@dataclass(frozen=True)
class ModelRequest:
    """One decoded request of Codex: `number` counts all of them from 0, in order of arrival."""

    number: int
    headers: Mapping[str, str]
    body: Mapping[str, Any]

    @cached_property
    def metadata(self) -> Mapping[str, Any]:
        """Codex's own description of the request: thread_id, turn_id, thread_source, request_kind…"""
        found: Mapping[str, Any] = json.loads(self.headers.get("x-codex-turn-metadata", "{}"))
        return found

    @property
    def thread_id(self) -> str:
        return str(self.metadata.get("thread_id", ""))

    @property
    def is_title(self) -> bool:
        """Whether Codex asks for a thread title rather than for a turn of a conversation."""
        return self.metadata.get("thread_source") == "thread_title"

    def texts(self, role: str | None = None) -> list[str]:
        """Every text of the conversation so far, oldest first; of one role if given (user, developer, assistant)."""
        return [
            part["text"]
            for item in self.body.get("input", ())
            if item.get("type") == "message" and role in {None, item.get("role")}
            for part in item.get("content", ())
            if "text" in part
        ]

    def contains(self, text: str) -> bool:
        return any(text in one for one in self.texts())

    @property
    def last_user_text(self) -> str:
        return next(reversed(self.texts("user")), "")

    @property
    def tool_outputs(self) -> list[Any]:
        """Outputs of the tools the model called, oldest first."""
        return [i["output"] for i in self.body.get("input", ()) if i.get("type") == "function_call_output"]


_Send = Callable[[h11.Event], Awaitable[None]]
Script = Reply | Sequence[Reply] | Callable[[ModelRequest], Reply | Awaitable[Reply]]


@dataclass
class MockModel:
    """The running mock: where it is, and what it was asked. Answers of `script` may be changed at any time."""

    script: Script
    base_url: str = ""
    requests: list[ModelRequest] = field(default_factory=list)
    titles: list[ModelRequest] = field(default_factory=list)
    _count: int = 0
    _used: int = 0
    _arrived: trio.Event = field(default_factory=trio.Event)

    async def seen(self, accept: Callable[[ModelRequest], bool] = lambda _: True) -> ModelRequest:
        """Wait for a request (already there or still to come) that `accept` accepts. Bound it with fail_after."""
        looked_at = 0
        while True:
            arrived = self._arrived
            for request in self.requests[looked_at:]:
                if accept(request):
                    return request
            looked_at = len(self.requests)
            await arrived.wait()

    async def answer(self, headers: Mapping[str, str], raw: bytes) -> tuple[int, Reply]:
        """Record a request; its number and its reply."""
        request = ModelRequest(self._count, headers, json.loads(raw))
        self._count += 1
        if request.is_title:
            self.titles.append(request)
            return request.number, Text(json.dumps({"title": _TITLE}) if "text" in request.body else _TITLE)
        self.requests.append(request)
        arrived, self._arrived = self._arrived, trio.Event()
        arrived.set()
        return request.number, await self._scripted(request)

    async def _scripted(self, request: ModelRequest) -> Reply:
        script = self.script
        if isinstance(script, Text | ToolCall | Failure):
            return script
        if callable(script):
            reply = script(request)
            return await reply if inspect.isawaitable(reply) else reply
        self._used += 1
        if self._used > len(script):
            return Failure(400, f"the script has {len(script)} replies and this is request {self._used}")
        return script[self._used - 1]


@asynccontextmanager
async def mock_model(script: Script = Text("Understood.")) -> AsyncGenerator[MockModel]:
    """Serve a mock model on a free loopback port for the time of the block."""
    model = MockModel(script)
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        model.base_url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/v1"

        async def serve(stream: trio.SocketStream) -> None:
            # Codex hangs up when a turn is interrupted or steered.
            with suppress(trio.BrokenResourceError, h11.RemoteProtocolError):
                await _serve_connection(model, stream)

        nursery.start_soon(trio.serve_listeners, serve, [listener])
        try:
            yield model
        finally:
            nursery.cancel_scope.cancel()


def codex_home(
    path: Path, model: MockModel, *, config: str = "", trusted: Sequence[Path] = ()
) -> dict[str, str]:
    """Make `path` the home directory of a user whose Codex knows only `model`; the environment to run Codex in.

    `trusted` are project directories Codex shall not ask about; `config` is more TOML, put at the end of the file.
    What would look for updates, plugins, apps or tips on the network is switched off, and so is taking fast typing
    for pasting.
    """
    home = path / ".codex"
    home.mkdir(parents=True, exist_ok=True)
    projects = "".join(f'[projects."{where}"]\ntrust_level = "trusted"\n' for where in trusted)
    (home / "config.toml").write_text(
        f"""\
model = "{MODEL_NAME}"
model_provider = "mock"
check_for_update_on_startup = false
disable_paste_burst = true
[analytics]
enabled = false
[feedback]
enabled = false
[tui]
show_tooltips = false
[features]
plugins = false
apps = false
[model_providers.mock]
name = "mock"
base_url = "{model.base_url}"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
{projects}{config}"""
    )
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "HOME": str(path), "CODEX_HOME": str(home), "TERM": "xterm-256color", "NO_PROXY": "*"}


async def _serve_connection(model: MockModel, stream: trio.SocketStream) -> None:
    """HTTP/1.1 with keep-alive: one request after another."""
    connection = h11.Connection(h11.SERVER)

    async def send(event: h11.Event) -> None:
        await stream.send_all(connection.send(event) or b"")

    async with stream:
        while True:
            request: h11.Request | None = None
            body = b""
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await stream.receive_some())
                elif isinstance(event, h11.Request):
                    request = event
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    break
                else:
                    return
            assert request is not None
            await _respond(model, request, body, send)
            if connection.our_state is not h11.DONE:
                return
            connection.start_next_cycle()


async def _respond(model: MockModel, request: h11.Request, body: bytes, send: _Send) -> None:
    if request.method != b"POST" or not request.target.endswith(b"/responses"):
        await _send_error(send, Failure(404, "the mock serves POST /responses only"))
        return
    headers = {name.decode(): value.decode() for name, value in request.headers}
    number, reply = await model.answer(headers, body)
    if isinstance(reply, Failure):
        await _send_error(send, reply)
        return
    head = [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")]
    await send(h11.Response(status_code=200, headers=head))
    for kind, fields in _events(reply, number):
        await send(h11.Data(data=f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()))
        if isinstance(reply, Text) and reply.hold is not None and kind == "response.output_text.delta":
            await reply.hold.wait()
    await send(h11.EndOfMessage())


async def _send_error(send: _Send, failure: Failure) -> None:
    raw = json.dumps({"error": {"message": failure.message, "type": failure.kind}}).encode()
    head = [("content-type", "application/json"), ("content-length", str(len(raw)))]
    await send(h11.Response(status_code=failure.status, headers=head))
    await send(h11.Data(data=raw))
    await send(h11.EndOfMessage())


def _events(reply: Text | ToolCall, number: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """The server-sent events of one reply, in the order of the Responses API."""
    response = {"id": f"resp_{number}"}
    yield "response.created", {"response": response}
    if isinstance(reply, Text):
        item: dict[str, Any] = {"type": "message", "role": "assistant", "id": f"msg_{number}"}
        yield "response.output_item.added", {"output_index": 0, "item": {**item, "content": []}}
        for start in range(0, len(reply.text), reply.chunk):
            delta = reply.text[start : start + reply.chunk]
            at = {"item_id": item["id"], "output_index": 0, "content_index": 0}
            yield "response.output_text.delta", {**at, "delta": delta}
        item["content"] = [{"type": "output_text", "text": reply.text}]
    else:
        item = {
            "type": "function_call",
            "id": f"fc_{number}",
            "call_id": reply.call_id or f"call_{number}",
            "name": reply.name,
            "arguments": json.dumps(reply.arguments),
            **({} if reply.namespace is None else {"namespace": reply.namespace}),
        }
        yield "response.output_item.added", {"output_index": 0, "item": {**item, "arguments": ""}}
    yield "response.output_item.done", {"output_index": 0, "item": item}
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    details = {"input_tokens_details": None, "output_tokens_details": None}
    yield "response.completed", {"response": {**response, "usage": {**usage, **details}}}
