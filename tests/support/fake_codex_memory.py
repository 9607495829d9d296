"""The memory of one process of the fake app-server: who is connected, which threads are loaded, and every call's deed."""

# ruff: noqa: ARG002  # one signature for the table of calls
import itertools
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import trio

from support.fake_codex_queue import QUEUE_CALLS, Params, page_of, said_in
from support.fake_codex_thread import FakeThread, Refusal, Rollout
from support.mock_model import MockModel

UNLOAD_AFTER = 60.0


@dataclass(eq=False)
class Client:
    """One connection."""

    send: Callable[[dict[str, Any]], None]
    initialized: bool = False
    unwanted: set[str] = field(default_factory=set)
    subscribed: set[str] = field(default_factory=set)

    def tell(self, method: str, params: Params) -> None:
        if self.initialized and method not in self.unwanted:
            self.send({"method": method, "params": params, "emittedAtMs": int(trio.current_time() * 1000)})


@dataclass(eq=False)
class _Question:
    """A server request that waits for a person."""

    number: int
    thread_id: str
    params: Params
    answered: trio.Event = field(default_factory=trio.Event)
    answer: dict[str, Any] = field(default_factory=dict)

    @property
    def frame(self) -> dict[str, Any]:
        return {"method": "item/commandExecution/requestApproval", "id": self.number, "params": self.params}


@dataclass(eq=False)
class Memory:
    """The state of one process. `disk` and `ids` outlive it."""

    process: trio.Nursery
    version: str
    model: MockModel
    tools: dict[str, Callable[[dict[str, Any]], Awaitable[str]]]
    disk: dict[str, Rollout]
    ids: Iterator[str]
    calls: list[tuple[str, Params]]
    lag: float
    threads: dict[str, FakeThread] = field(default_factory=dict)
    clients: list[Client] = field(default_factory=list)
    draining: bool = False
    _originator: str | None = None
    _questions: dict[int, _Question] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def _is_0_130(self) -> bool:
        return self.version.startswith("0.130.")

    # Clients

    def join(self, send: Callable[[dict[str, Any]], None]) -> Client:
        client = Client(send)
        self.clients.append(client)
        return client

    def leave(self, client: Client) -> None:
        self.clients.remove(client)
        for thread_id in client.subscribed:
            self._left(thread_id)

    def broadcast(self, method: str, params: Params) -> None:
        for client in self.clients:
            client.tell(method, params)

    def _subscribers(self, thread_id: str) -> list[Client]:
        return [client for client in self.clients if thread_id in client.subscribed]

    def _left(self, thread_id: str) -> None:
        if not self._subscribers(thread_id):
            self.process.start_soon(self._unload_later, thread_id)

    async def _unload_later(self, thread_id: str) -> None:
        await trio.sleep(UNLOAD_AFTER)
        thread = self.threads.get(thread_id)
        if thread is not None and thread.turn is None and not self._subscribers(thread_id):
            del self.threads[thread_id]
            self.broadcast("thread/status/changed", {"threadId": thread_id, "status": {"type": "notLoaded"}})
            self.broadcast("thread/closed", {"threadId": thread_id})

    async def leave_when_idle(self) -> None:
        """End the process once no turn runs."""
        while any(thread.turn is not None for thread in self.threads.values()):
            await trio.sleep(0.05)
        self.process.cancel_scope.cancel()

    # Questions to a person

    async def ask(self, thread: FakeThread, params: Params) -> dict[str, Any]:
        """Ask every subscriber; the first answer, an error answer included."""
        question = _Question(next(self._numbers), thread.id, params)
        self._questions[question.number] = question
        for client in self._subscribers(thread.id):
            client.send(question.frame)
        try:
            await question.answered.wait()
        finally:
            self._questions.pop(question.number, None)
            resolved = {"threadId": thread.id, "requestId": question.number}
            for client in self._subscribers(thread.id):
                client.tell("serverRequest/resolved", resolved)
        return question.answer

    def person_answers(self, frame: dict[str, Any]) -> None:
        question = self._questions.pop(frame.get("id", -1), None)
        if question is not None:  # late and second answers are ignored
            question.answer.update(frame)
            question.answered.set()

    # Calls

    def answer(self, client: Client, frame: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"id": frame["id"], "result": self._perform(client, frame["method"], frame.get("params"))}
        except Refusal as refusal:
            error = {"code": refusal.code, "message": refusal.message}
            return {
                "id": frame["id"],
                "error": error if refusal.data is None else {**error, "data": refusal.data},
            }

    def _perform(self, client: Client, method: str, params: Params | None) -> dict[str, Any]:
        if params is None:
            raise Refusal("Invalid request: missing field `params`")
        self.calls.append((method, params))
        if method == "initialize":
            return self._initialize(client, params)
        if not client.initialized:
            raise Refusal("Not initialized")
        perform = _CALLS.get(method)
        if perform is None or (self._is_0_130 and method.startswith(_NOT_IN_0_130)):
            raise Refusal(f"Invalid request: unknown variant `{method}`, expected one of `initialize`")
        if self.draining and method in _REFUSED_WHILE_DRAINING:
            retry = "Server is draining; retry after reconnecting"
            raise Refusal(retry, data={"reason": "serverShuttingDown"})
        return perform(self, client, params)

    def _initialize(self, client: Client, params: Params) -> dict[str, Any]:
        if client.initialized:
            raise Refusal("Already initialized")
        client.initialized = True
        client.unwanted = set(params.get("capabilities", {}).get("optOutNotificationMethods") or ())
        self._originator = (
            self._originator or params["clientInfo"]["name"]
        )  # the first client names the process
        return {"userAgent": f"{self._originator}/{self.version} (fake)", "platformOs": "linux"}

    def _thread_start(self, client: Client, params: Params) -> dict[str, Any]:
        policy = params.get("approvalPolicy") or "on-request"
        legacy = params.get("historyMode") == "legacy"
        rollout = Rollout(
            next(self.ids),
            params.get("cwd") or "/",
            policy,
            source=params.get("threadSource"),
            ephemeral=bool(params.get("ephemeral")),
            legacy=legacy,
        )
        if context := params.get("developerInstructions"):
            rollout.history.append(_developer(context))
        thread = self._load(rollout)
        client.subscribed.add(thread.id)
        self.broadcast("thread/started", {"thread": thread.describe()})
        return {"thread": thread.describe(), "model": "mock-model", "approvalPolicy": policy}

    def _thread_fork(self, client: Client, params: Params) -> dict[str, Any]:
        origin = self.disk.get(params["threadId"])
        if origin is None or not (origin.on_disk or origin.turns):
            raise Refusal(f"no rollout found for thread id {params['threadId']}")
        rollout = replace(
            origin,
            thread_id=next(self.ids),
            items=list(origin.items),
            turns=[dict(turn) for turn in origin.turns],
            history=list(origin.history),
            queue=[],
            paused=False,
            source=params.get("threadSource"),
            forked_from=origin.thread_id,
        )
        thread = self._load(rollout)
        client.subscribed.add(thread.id)
        self.broadcast("thread/started", {"thread": thread.describe()})
        return {"thread": thread.describe()}

    def _load(self, rollout: Rollout) -> FakeThread:
        def tell(method: str, params: Params) -> None:
            if self.draining and method == "turn/completed":
                return  # the real one often closes before it tells
            for client in self._subscribers(rollout.thread_id):
                client.tell(method, params)

        self.disk[rollout.thread_id] = rollout
        thread = self.threads[rollout.thread_id] = FakeThread(
            rollout=rollout,
            process=self.process,
            model=self.model,
            tools=self.tools,
            ids=self.ids,
            broadcast=self.broadcast,
            tell=tell,
            ask=self.ask,
            leaving=lambda: self.draining,
            before_0150=self._is_0_130,
            lag=self.lag,
        )
        return thread

    def _thread_resume(self, client: Client, params: Params) -> dict[str, Any]:
        thread_id = params["threadId"]
        rollout = self.disk.get(thread_id)
        if rollout is None or not rollout.on_disk:
            if rollout is not None and rollout.turns and thread_id in self.threads:
                raise Refusal(f"failed to read thread: rollout at {thread_id}.jsonl is empty", -32603)
            raise Refusal(f"no rollout found for thread id {thread_id}")
        thread = self.threads.get(thread_id)
        loaded = thread is not None
        if thread is None:
            if rollout.written_elsewhere:
                raise Refusal(f"thread {thread_id} already has an active writer")
            for turn in rollout.turns:
                if turn["status"] == "inProgress":  # the process that ran it died
                    turn["status"] = "interrupted"
            thread = self._load(rollout)
            self.broadcast("thread/status/changed", {"threadId": thread_id, "status": {"type": "idle"}})
        client.subscribed.add(thread_id)
        if not self._is_0_130:
            self.process.start_soon(self._goal_told, thread_id)
        for question in self._questions.values():
            if question.thread_id == thread_id:
                client.send(question.frame)
        answer: dict[str, Any] = {
            "thread": thread.describe(),
            "approvalPolicy": rollout.approval_policy,
            "sandbox": rollout.sandbox,
        }
        if "initialTurnsPage" in params:
            answer["initialTurnsPage"] = page_of(rollout.turns[::-1], params["initialTurnsPage"])
        if not loaded:
            thread.take_next()
        return answer

    def _settings_update(self, client: Client, params: Params) -> dict[str, Any]:
        thread = self._loaded(params)
        rollout = thread.rollout
        before = (rollout.approval_policy, rollout.sandbox)
        rollout.approval_policy = params.get("approvalPolicy") or rollout.approval_policy
        rollout.sandbox = params.get("sandboxPolicy") or rollout.sandbox
        if (rollout.approval_policy, rollout.sandbox) != before:
            settings = {"approvalPolicy": rollout.approval_policy, "sandboxPolicy": rollout.sandbox}
            thread.tell("thread/settings/updated", {"threadId": thread.id, "threadSettings": settings})
        return {}

    async def _goal_told(self, thread_id: str) -> None:
        """Tell everybody of the goal, right after the answer of a resume: there is none."""
        self.broadcast("thread/goal/cleared", {"threadId": thread_id})

    def _loaded(self, params: Params) -> FakeThread:
        thread = self.threads.get(params["threadId"])
        if thread is None:
            raise Refusal(f"thread not found: {params['threadId']}")
        return thread

    def _thread_read(self, client: Client, params: Params) -> dict[str, Any]:
        thread = self.threads.get(params["threadId"])
        if thread is None:
            rollout = self.disk.get(params["threadId"])
            if rollout is None or not rollout.on_disk:
                raise Refusal(f"thread not loaded: {params['threadId']}")
            about = {"id": rollout.thread_id, "cwd": rollout.cwd, "threadSource": rollout.source}
            return {"thread": {**about, "status": {"type": "notLoaded"}}}
        return {"thread": thread.describe()}

    def _loaded_list(self, client: Client, params: Params) -> dict[str, Any]:
        return page_of(list(self.threads), params)

    def _unsubscribe(self, client: Client, params: Params) -> dict[str, Any]:
        thread_id = params["threadId"]
        if thread_id not in self.threads:
            return {"status": "notLoaded"}
        if thread_id not in client.subscribed:
            return {"status": "notSubscribed"}
        client.subscribed.discard(thread_id)
        self._left(thread_id)
        return {"status": "unsubscribed"}

    def _inject(self, client: Client, params: Params) -> dict[str, Any]:
        thread = self._loaded(params)
        thread.inject(params["items"])
        return {}

    def _set_name(self, client: Client, params: Params) -> dict[str, Any]:
        thread = self._loaded(params)
        thread.rollout.name = params["name"]
        thread.rollout.on_disk = True
        self.broadcast("thread/name/updated", {"threadId": thread.id, "threadName": params["name"]})
        return {}

    def _turn_start(self, client: Client, params: Params) -> dict[str, Any]:
        thread, said = self._loaded(params), said_in(params)
        return {"turn": thread.accept(self.process, said)}

    def _review_start(self, client: Client, params: Params) -> dict[str, Any]:
        thread = self._loaded(params)
        turn = thread.review(self.process, params["target"]["instructions"])
        return {"turn": turn, "reviewThreadId": thread.id}

    def _turn_steer(self, client: Client, params: Params) -> dict[str, Any]:
        thread, said = self._loaded(params), said_in(params)
        return {"turnId": thread.steer(params["expectedTurnId"], said)}

    def _turn_interrupt(self, client: Client, params: Params) -> dict[str, Any]:
        self._loaded(params).interrupt(params["turnId"])
        return {}

    def _items_list(self, client: Client, params: Params) -> dict[str, Any]:
        rollout = self.disk.get(params["threadId"])
        if rollout is None or rollout.legacy or not (rollout.on_disk or rollout.turns):
            raise Refusal("thread/items/list is not supported yet", -32601)
        turn_id = params.get("turnId")
        chosen = [e for e in rollout.items if turn_id in {None, e["turnId"]}]
        return page_of(chosen[::-1] if params.get("sortDirection") == "desc" else chosen, params)

    def _turns_list(self, client: Client, params: Params) -> dict[str, Any]:
        thread_id = params["threadId"]
        rollout = self.disk.get(thread_id)
        if rollout is None:
            raise Refusal(f"thread not loaded: {thread_id}")
        if not (rollout.on_disk or rollout.turns):
            when = "thread/turns/list is unavailable before first user message"
            raise Refusal(f"thread {thread_id} is not materialized yet; {when}")
        full = params.get("itemsView") == "full"
        turns = [self._turn(rollout, turn, full=full) for turn in rollout.turns]
        return page_of(turns if params.get("sortDirection") == "asc" else turns[::-1], params)

    def _turn(self, rollout: Rollout, turn: dict[str, Any], *, full: bool) -> dict[str, Any]:
        """Give a turn its items: all of them, or the first user message and the last agent message."""
        items = [e["item"] for e in rollout.items if e["turnId"] == turn["id"]]
        users = [item for item in items if item["type"] == "userMessage"]
        words = [item for item in items if item["type"] == "agentMessage"]
        status = "completed" if self._is_0_130 and turn["status"] == "failed" else turn["status"]
        return {**turn, "status": status, "items": items if full else users[:1] + words[-1:]}

    def _diagnostics(self, client: Client, params: Params) -> dict[str, Any]:
        return {"process": {"id": 4242}, "gauges": []}


def _developer(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": text}]}


_NOT_IN_0_130 = ("thread/items/list", "thread/queue/")
_REFUSED_WHILE_DRAINING = {"thread/start", "thread/resume", "turn/start", "turn/steer"}
_CALLS: dict[str, Callable[[Memory, Client, Params], dict[str, Any]]] = {
    "thread/start": Memory._thread_start,
    "thread/resume": Memory._thread_resume,
    "thread/fork": Memory._thread_fork,
    "thread/settings/update": Memory._settings_update,
    "thread/read": Memory._thread_read,
    "thread/loaded/list": Memory._loaded_list,
    "thread/unsubscribe": Memory._unsubscribe,
    "thread/inject_items": Memory._inject,
    "thread/name/set": Memory._set_name,
    "thread/items/list": Memory._items_list,
    "thread/turns/list": Memory._turns_list,
    "turn/start": Memory._turn_start,
    "review/start": Memory._review_start,
    "turn/steer": Memory._turn_steer,
    "turn/interrupt": Memory._turn_interrupt,
    "server/diagnostics": Memory._diagnostics,
    **QUEUE_CALLS,
}
