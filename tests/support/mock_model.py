"""A mock of OpenAI's Responses API that the real Codex talks to, scripted by the test.

``async with mock_model(script) as model:`` serves on loopback; ``codex_home(path, model)`` writes a Codex home whose
only model provider is this mock, so that Codex needs no account and reaches nothing but loopback.

A script decides every answer (`support.mock_api`). Codex also asks for thread titles on its own
(helper threads whose ``thread_source`` is ``thread_title``); those are answered by the mock itself, recorded in
`titles` and never shown to the script, so that a script counts turns and nothing else.

What Codex 0.169 needs of a stream: ``response.created``, the output item, ``response.completed`` with a usage.
"""

import json
import os
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from support.mock_api import (
    UNDERSTOOD,
    Exchange,
    Failure,
    Reply,
    ScriptedModel,
    ScriptOf,
    Text,
    ToolCall,
    served_on_loopback,
)

__all__ = ["Failure", "MockModel", "ModelRequest", "Reply", "Script", "Text", "ToolCall"]

MODEL_NAME = "mock-model"
_TITLE = "A title from the mock model"


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


Script = ScriptOf[ModelRequest]


@dataclass
class MockModel(ScriptedModel[ModelRequest]):
    """The running mock. What Codex asked for titles is in `titles`."""

    titles: list[ModelRequest] = field(default_factory=list)
    _count: int = 0

    async def answer(self, headers: Mapping[str, str], raw: bytes) -> tuple[int, Reply]:
        """Record a request; its number and its reply."""
        request = ModelRequest(self._count, headers, json.loads(raw))
        self._count += 1
        if request.is_title:
            self.titles.append(request)
            return request.number, Text(json.dumps({"title": _TITLE}) if "text" in request.body else _TITLE)
        return request.number, await self.scripted(request)

    async def respond(self, exchange: Exchange) -> None:
        """Answer one HTTP request."""
        request = exchange.request
        if request.method != b"POST" or not request.target.endswith(b"/responses"):
            await _fail(exchange, Failure(404, "the mock serves POST /responses only"))
            return
        number, reply = await self.answer(exchange.headers, exchange.body)
        if isinstance(reply, Failure):
            await _fail(exchange, reply)
            return
        await exchange.stream(_events(reply, number), reply, "response.output_text.delta")


@asynccontextmanager
async def mock_model(script: Script = UNDERSTOOD) -> AsyncGenerator[MockModel]:
    """Serve a mock model on a free loopback port for the time of the block."""
    model = MockModel(script)
    async with served_on_loopback(model.respond) as url:
        model.base_url = url + "/v1"
        yield model


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


async def _fail(exchange: Exchange, failure: Failure) -> None:
    await exchange.answer(failure.status, {"error": {"message": failure.message, "type": failure.kind}})


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
