"""A mock of Anthropic's Messages API that the real Claude Code talks to, scripted by the test.

``async with mock_messages(script) as model:`` serves ``POST /v1/messages`` (as a stream) and ``HEAD /`` on loopback.
A script decides every answer (`support.mock_api`). Claude Code also asks things on its own, such as session titles:
requests without ``tools``. Those are answered by the mock itself, recorded in `helpers` and never shown to the script,
so that a script counts turns and nothing else.

What Claude Code 2.1.329 sends: the conversation as ``messages``, where ``role: "system"`` messages (hook texts,
notifications in the middle of a turn) stand among the others, so the last message need not be the user's.
"""

import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
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

__all__ = ["Failure", "MessagesRequest", "MockMessages", "Reply", "Text", "ToolCall", "bash", "mock_messages"]

MODEL_NAME = "claude-mock"


def bash(command: str, **arguments: Any) -> ToolCall:
    """Have the model run a shell command."""
    return ToolCall("Bash", {"command": command, "description": "as the test says", **arguments})


@dataclass(frozen=True)
class MessagesRequest:
    """One decoded request of Claude Code: `number` counts all of them from 0, in order of arrival."""

    number: int
    headers: Mapping[str, str]
    body: Mapping[str, Any]

    @property
    def session_id(self) -> str:
        return self.headers.get("x-claude-code-session-id", "")

    @property
    def is_helper(self) -> bool:
        """Whether Claude Code asks for itself (a title, a summary) rather than for a turn of the conversation."""
        return not self.body.get("tools")

    @property
    def tools(self) -> list[str]:
        """Names of the tools the model may call at once."""
        return [one["name"] for one in self.body.get("tools", ())]

    def texts(self, role: str | None = None) -> list[str]:
        """Every text of the conversation so far, oldest first; of one role if given (user, assistant, system)."""
        return [
            block["text"]
            for said, block in self._blocks()
            if block["type"] == "text" and role in {None, said}
        ]

    def contains(self, text: str) -> bool:
        return any(text in one for one in self.texts())

    @property
    def last_user_text(self) -> str:
        """What began the turn: the user's words or a notification, a tool's result apart."""
        return next(reversed(self.texts("user")), "")

    @property
    def tool_outputs(self) -> list[str]:
        """Outputs of the tools the model called, oldest first."""
        return [
            _plain(block.get("content", "")) for _, block in self._blocks() if block["type"] == "tool_result"
        ]

    @property
    def news(self) -> str:
        """What the model has not seen before: every text and tool's output since it last said something."""
        fresh: list[str] = []
        for role, block in self._blocks():
            if role == "assistant":
                fresh.clear()
            elif block["type"] == "tool_result":
                fresh.append(_plain(block.get("content", "")))
            elif block["type"] == "text":
                fresh.append(block["text"])
        return "\n".join(fresh)

    def _blocks(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for message in self.body.get("messages", ()):
            content = message["content"]
            if isinstance(content, str):
                yield message["role"], {"type": "text", "text": content}
            else:
                for block in content:
                    yield message["role"], block


def _plain(content: str | list[dict[str, Any]]) -> str:
    """The text of a tool's result."""
    if isinstance(content, str):
        return content
    return "".join(block.get("text", "") for block in content)


Script = ScriptOf[MessagesRequest]


@dataclass
class MockMessages(ScriptedModel[MessagesRequest]):
    """The running mock. What Claude Code asked for itself is in `helpers`."""

    helpers: list[MessagesRequest] = field(default_factory=list)
    _count: int = 0

    async def respond(self, exchange: Exchange) -> None:
        """Answer one HTTP request."""
        method, path = exchange.request.method, exchange.request.target.split(b"?")[0]
        if method == b"HEAD":
            await exchange.answer(200)
            return
        if (method, path) != (b"POST", b"/v1/messages"):
            await _fail(exchange, Failure(404, "the mock serves POST /v1/messages only", "not_found_error"))
            return
        request = MessagesRequest(self._count, exchange.headers, json.loads(exchange.body))
        self._count += 1
        if request.is_helper:
            self.helpers.append(request)
            reply: Reply = Text(json.dumps({"title": "A title from the mock model"}))
        else:
            reply = await self.scripted(request)
        if isinstance(reply, Failure):
            await _fail(exchange, reply)
        else:
            await exchange.stream(_events(reply, request.number), reply, "content_block_delta")


@asynccontextmanager
async def mock_messages(script: Script = UNDERSTOOD) -> AsyncGenerator[MockMessages]:
    """Serve a mock model on a free loopback port for the time of the block."""
    model = MockMessages(script)
    async with served_on_loopback(model.respond) as url:
        model.base_url = url
        yield model


async def _fail(exchange: Exchange, failure: Failure) -> None:
    error = {"type": failure.kind, "message": failure.message}
    await exchange.answer(failure.status, {"type": "error", "error": error})


def _events(reply: Text | ToolCall, number: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """The server-sent events of one reply, in the order of the Messages API."""
    usage = {"input_tokens": 10, "output_tokens": 5}
    message: dict[str, Any] = {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": MODEL_NAME,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    yield "message_start", {"message": message}
    if isinstance(reply, Text):
        stop = "end_turn"
        yield "content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}
        for start in range(0, len(reply.text), reply.chunk):
            piece = reply.text[start : start + reply.chunk]
            yield "content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": piece}}
    else:
        stop = "tool_use"
        call = {"type": "tool_use", "id": reply.call_id or f"toolu_{number}", "name": reply.name, "input": {}}
        yield "content_block_start", {"index": 0, "content_block": call}
        given = {"type": "input_json_delta", "partial_json": json.dumps(reply.arguments)}
        yield "content_block_delta", {"index": 0, "delta": given}
    yield "content_block_stop", {"index": 0}
    yield "message_delta", {"delta": {"stop_reason": stop, "stop_sequence": None}, "usage": usage}
    yield "message_stop", {}
