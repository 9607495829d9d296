"""One thread of the fake app-server: its turns, and what of them survives a kill.

Behaves like Codex 0.169 where it matters to delivery; each rule was seen on the real one and is held to it by
`check_app_server`. `before_0150` gives the older ways: no client ids, phantom turn ids, steers that wait for the reply.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import trio

from support.mock_model import Failure, MockModel, Text, ToolCall

Tell = Callable[[str, dict[str, Any]], None]


class Refusal(Exception):  # noqa: N818  # an answer, not a failure
    """A JSON-RPC error answer."""

    def __init__(self, message: str, code: int = -32600, data: Any = None) -> None:
        super().__init__(message)
        self.message, self.code, self.data = message, code, data


@dataclass
class Rollout:
    """What is on disk of a thread: survives a kill."""

    thread_id: str
    cwd: str
    approval_policy: str
    items: list[dict[str, Any]] = field(default_factory=list)  # entries of thread/items/list
    turns: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)  # what the model is shown
    sandbox: dict[str, Any] = field(default_factory=lambda: {"type": "workspaceWrite"})
    name: str | None = None
    source: str | None = None  # threadSource: "user" for one a person began at a TUI
    ephemeral: bool = False
    forked_from: str | None = None
    updated_at: int = 0  # the last turn's end, seconds of the test's clock
    written_elsewhere: bool = False  # another app-server has it in memory
    legacy: bool = False  # the older kind of history: no thread/items/list
    queue: list[dict[str, Any]] = field(default_factory=list)  # entries of thread/queue/list
    paused: bool = False  # the queue stands still: since an interrupt, until a turn completes
    on_disk: bool = False  # a fresh thread is in memory only


@dataclass
class Said:
    """A user text on its way into a turn."""

    text: str
    client_id: str | None


@dataclass
class Turn:
    """A running turn."""

    record: dict[str, Any]
    pending: list[Said]
    injected: list[dict[str, Any]] = field(default_factory=list)  # in memory until the next model request
    started_as: str | None = None  # of a review: what only turn/started calls it
    begun: bool = False  # told; until then a steer finds it and an interrupt does not
    entering: dict[str, Any] | None = (
        None  # a user message told at item/started, and not yet at item/completed
    )
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    request: trio.CancelScope | None = None  # the model request a steer may cut off

    @property
    def id(self) -> str:
        return str(self.record["id"])


@dataclass
class FakeThread:
    """A thread in the memory of the fake app-server."""

    rollout: Rollout
    process: trio.Nursery
    model: MockModel
    tools: dict[str, Callable[[dict[str, Any]], Any]]
    ids: Iterator[str]
    broadcast: Tell
    tell: Tell  # to subscribers only
    ask: Callable[["FakeThread", dict[str, Any]], Any]  # a server request: the first answer
    leaving: Callable[[], bool] = lambda: False  # whether the process is about to end
    before_0150: bool = False
    lag: float = 0.01  # from a text's acceptance to its place in the context, and to the disk, seconds
    status: str = "idle"
    flags: list[str] = field(default_factory=list)
    turn: Turn | None = None

    @property
    def id(self) -> str:
        return self.rollout.thread_id

    @property
    def user_texts(self) -> list[str]:
        """Every user text that entered the model's context, oldest first."""
        content = [e["item"]["content"] for e in self.rollout.items if e["item"]["type"] == "userMessage"]
        return [part["text"] for parts in content for part in parts]

    @property
    def client_ids(self) -> list[str]:
        """The client ids of the user messages in the model's context, oldest first."""
        items = [e["item"] for e in self.rollout.items]
        return [i["clientId"] for i in items if i["type"] == "userMessage" and i.get("clientId") is not None]

    def describe(self) -> dict[str, Any]:
        status: dict[str, Any] = {"type": self.status}
        if self.status == "active":
            status["activeFlags"] = list(self.flags)
        return {
            "id": self.id,
            "sessionId": self.id,
            "path": f"/fake/{self.id}.jsonl",
            "status": status,
            "cwd": self.rollout.cwd,
            "name": self.rollout.name,
            "ephemeral": self.rollout.ephemeral,
            "historyMode": "legacy" if self.rollout.legacy else "paginated",
            "source": "vscode",
            "threadSource": self.rollout.source,
            "parentThreadId": None,
            "forkedFromId": self.rollout.forked_from,
            "updatedAt": self.rollout.updated_at,
            "turns": [],
        }

    def accept(self, nursery: trio.Nursery, said: Said) -> dict[str, Any]:
        """turn/start: a new turn, or into the running one. Answers the turn as the real server names it."""
        if self.turn is not None:
            if self.turn.started_as is not None:
                wrong = "failed to submit turn input: ActiveTurnNotSteerable { turn_kind: Review }"
                raise Refusal(wrong, -32603)
            self._add(said)
            answer = {**self.turn.record, "items": []}
            return {**answer, "id": next(self.ids)} if self.before_0150 else answer  # 0.130: a phantom
        record: dict[str, Any] = {"id": next(self.ids), "status": "inProgress", "error": None, "items": []}
        self.rollout.turns.append(record)
        self.turn = Turn(record, [said])
        nursery.start_soon(self._run, self.turn)
        if not self.rollout.on_disk:
            nursery.start_soon(self._reach_disk)
        return {**record, "items": []}

    def enqueue(self, said: Said) -> dict[str, Any]:
        """thread/queue/add: behind what waits already; an idle thread takes it at once."""
        entry = {
            "id": next(self.ids),
            "clientUserMessageId": said.client_id,
            "input": [{"type": "text", "text": said.text}],
        }
        self.rollout.queue.append(entry)
        self.queue_changed()
        self.take_next()
        return entry

    def take_next(self) -> None:
        """Begin a turn with the next queued text, if nothing is in its way. It leaves the queue before that."""
        if self.rollout.queue and self.turn is None and not (self.rollout.paused or self.leaving()):
            self.start_queued(self.rollout.queue[0])

    def start_queued(self, entry: dict[str, Any]) -> dict[str, Any]:
        self.rollout.queue.remove(entry)
        self.queue_changed()
        return self.accept(self.process, Said(entry["input"][0]["text"], entry["clientUserMessageId"]))

    def queue_changed(self) -> None:
        self.tell("thread/queue/changed", {"threadId": self.id})

    def inject(self, items: list[dict[str, Any]]) -> None:
        """thread/inject_items: into the history at once, or with the running turn's next model request."""
        if self.before_0150:
            items = [{name: value for name, value in item.items() if name != "id"} for item in items]
        if self.turn is None:
            self.rollout.history.extend(items)
        else:
            self.turn.injected.extend(items)
        self.rollout.on_disk = True

    def review(self, nursery: trio.Nursery, instructions: str) -> dict[str, Any]:
        """review/start: a turn that takes no texts, and is told to begin under an id it does not have."""
        answer = self.accept(nursery, Said(instructions, None))
        assert self.turn is not None
        self.turn.started_as = next(self.ids)
        return answer

    async def compact(self) -> None:
        """thread/compact/start, to its end: a summary takes the place of the history and of what was injected."""
        self.accept(self.process, Said("Summarize.", None))
        turn = self.turn
        assert turn is not None
        while self.turn is turn:
            await trio.sleep(self.lag)
            if turn.begun and self.rollout.history:
                self.rollout.history.clear()
                self._item("item/completed", turn, {"type": "contextCompaction", "id": next(self.ids)})
                return

    def steer(self, expected: str, said: Said) -> str:
        """turn/steer: into the running turn if it is the expected one."""
        if self.turn is None:
            raise Refusal("no active turn to steer")
        if self.turn.id != expected:
            raise Refusal(f"expected active turn id `{expected}` but found `{self.turn.id}`")
        if self.turn.started_as is not None:
            message = "cannot steer a review turn"
            info = {"activeTurnNotSteerable": {"turnKind": "review"}}
            raise Refusal(message, data={"message": message, "codexErrorInfo": info})
        self._add(said)
        return self.turn.id

    def interrupt(self, expected: str) -> None:
        """turn/interrupt: the turn ends where it is, and what it has not consumed is lost."""
        if self.turn is None or not self.turn.begun:
            raise Refusal("no active turn to interrupt")
        if self.turn.id != expected:
            raise Refusal(f"expected active turn id {expected} but found {self.turn.id}")
        turn, self.turn = self.turn, None
        turn.scope.cancel()
        self._entered(turn)
        aborted = "<turn_aborted>\nThe user interrupted the previous turn on purpose.\n</turn_aborted>"
        self.rollout.history.append(_message("user", aborted))
        self.rollout.paused = True
        self._end(turn, "idle", "interrupted", None)

    def _add(self, said: Said) -> None:
        assert self.turn is not None
        self.turn.pending.append(said)
        if self.turn.request is not None and not self.before_0150:
            self.turn.request.cancel()  # 0.169: a steer preempts the model's reply, not a tool

    async def _reach_disk(self) -> None:
        await trio.sleep(self.lag)
        self.rollout.on_disk = True

    async def _run(self, turn: Turn) -> None:
        with turn.scope:
            await trio.sleep(self.lag)
            turn.begun = True
            self._say_status("active")
            begun = {**turn.record, "id": turn.started_as or turn.id}
            started = {**begun, "items": [], "itemsView": "notLoaded"}
            self.tell("turn/started", {"threadId": self.id, "turn": started})
            failure = await self._converse(turn)
            self.turn = None
            self.rollout.paused = False
            if failure is None:
                self._end(turn, "idle", "completed", None)
            else:
                error = {"message": failure.message, "codexErrorInfo": _error_info(failure)}
                told = {"error": error, "willRetry": False, "threadId": self.id, "turnId": turn.id}
                self._end(turn, "systemError", "failed", error, lambda: self.tell("error", told))
        self.take_next()

    async def _converse(self, turn: Turn) -> Failure | None:
        """Ask the model until it has nothing more to do; the failure that ended the turn, if one did."""
        while True:
            while turn.pending:
                await self._consume(turn, turn.pending.pop(0))
            self.rollout.history += turn.injected
            turn.injected.clear()
            with trio.CancelScope() as turn.request:
                # a steer that has come before the request preempts it as well
                reply = await self._ask_model(turn)
            preempted, turn.request = turn.request.cancelled_caught, None
            if preempted:
                await trio.sleep(self.lag)
                continue
            match reply:
                case Failure():
                    return reply
                case ToolCall():
                    await self._use_tool(turn, reply)
                    await trio.sleep(self.lag)
                case Text():
                    if not (turn.pending or turn.injected):
                        return None

    async def _consume(self, turn: Turn, said: Said) -> None:
        item: dict[str, Any] = {
            "type": "userMessage",
            "id": next(self.ids),
            "content": [{"type": "text", "text": said.text}],
        }
        if not self.before_0150:
            item["clientId"] = said.client_id
        turn.entering = item
        self._item("item/started", turn, item)
        await trio.sleep(self.lag / 4)  # safe from an interrupt, not yet from a kill
        self._entered(turn)

    def _entered(self, turn: Turn) -> None:
        item, turn.entering = turn.entering, None
        if item is not None:
            self.rollout.history.append(_message("user", item["content"][0]["text"]))
            self._item("item/completed", turn, item)

    async def _ask_model(self, turn: Turn) -> Text | ToolCall | Failure:
        metadata = {"thread_id": self.id, "turn_id": turn.id, "session_id": self.id}
        body = json.dumps({"input": self.rollout.history}).encode()
        number, reply = await self.model.answer({"x-codex-turn-metadata": json.dumps(metadata)}, body)
        if isinstance(reply, Text):
            item = {"type": "agentMessage", "id": f"msg_{number}", "text": "", "phase": None}
            self._item("item/started", turn, item)
            delta = {"threadId": self.id, "turnId": turn.id, "itemId": item["id"], "delta": reply.text}
            self.tell("item/agentMessage/delta", delta)
            if reply.hold is not None:
                await reply.hold.wait()
            self._item("item/completed", turn, {**item, "text": reply.text})
            self.rollout.history.append(_message("assistant", reply.text))
        return reply

    async def _use_tool(self, turn: Turn, call: ToolCall) -> None:
        call_id = call.call_id or next(self.ids)
        command = str(call.arguments.get("cmd", call.name))
        item = {"type": "commandExecution", "id": call_id, "command": command, "status": "inProgress"}
        self._item("item/started", turn, item)
        output = "rejected by user"
        if await self._allowed(turn, call, call_id):
            tool = self.tools.get(call.name)
            output = f"unsupported call: {call.name}" if tool is None else await tool(dict(call.arguments))
        self._item("item/completed", turn, {**item, "status": "completed", "aggregatedOutput": output})
        wire = {"call_id": call_id, "name": call.name, "arguments": json.dumps(dict(call.arguments))}
        self.rollout.history += [
            {"type": "function_call", **wire},
            {"type": "function_call_output", "call_id": call_id, "output": output},
        ]

    async def _allowed(self, turn: Turn, call: ToolCall, call_id: str) -> bool:
        if call.arguments.get("sandbox_permissions") != "require_escalated":
            return True
        if self.rollout.approval_policy == "never":
            return False
        self._say_status("active", ["waitingOnApproval"])
        command = call.arguments.get("cmd")
        wish = {"threadId": self.id, "turnId": turn.id, "itemId": call_id, "command": command}
        answer = await self.ask(self, wish)
        self._say_status("active")
        decision = answer.get("result", {}).get("decision")  # an error answer rejects as well
        if decision == "cancel":
            self.interrupt(turn.id)
            await trio.lowlevel.checkpoint()
        return bool(decision == "accept")

    def _item(self, method: str, turn: Turn, item: dict[str, Any]) -> None:
        now = int(trio.current_time() * 1000)
        done = method == "item/completed"
        if done or item["type"] != "agentMessage":
            entry = {
                "turnId": turn.id,
                "item": item,
                "startedAtMs": now,
                "completedAtMs": now if done else None,
            }
            self.rollout.items = [e for e in self.rollout.items if e["item"]["id"] != item["id"]] + [entry]
        stamp = {"completedAtMs": now} if done else {"startedAtMs": now}
        self.tell(method, {"item": item, "threadId": self.id, "turnId": turn.id, **stamp})

    def _end(
        self, turn: Turn, status: str, how: str, error: Any, also: Callable[[], None] | None = None
    ) -> None:
        turn.record.update(status=how, error=error)
        self.rollout.updated_at = int(trio.current_time())
        self._say_status(status)  # before turn/completed, as the real one does
        if also is not None:
            also()
        said = [
            e["item"]
            for e in self.rollout.items
            if e["turnId"] == turn.id and e["item"]["type"] == "agentMessage"
        ]
        self.tell("turn/completed", {"threadId": self.id, "turn": {**turn.record, "items": said[-1:]}})

    def _say_status(self, status: str, flags: list[str] | None = None) -> None:
        self.status, self.flags = status, flags or []
        self.broadcast("thread/status/changed", {"threadId": self.id, "status": self.describe()["status"]})


def _error_info(failure: Failure) -> Any:
    if failure.kind in {"usage_limit_reached", "insufficient_quota"}:
        return "usageLimitExceeded"
    if failure.status == 429:
        return {"responseTooManyFailedAttempts": {"httpStatusCode": 429}}
    if failure.status in {401, 403}:
        return {"httpConnectionFailed": {"httpStatusCode": failure.status}}
    return "other"


def _message(role: str, text: str) -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}
