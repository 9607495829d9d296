"""The queue of a thread of the fake app-server, and what its calls share with the others: texts that come in, pages."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from support.fake_codex_thread import Refusal, Rollout, Said

if TYPE_CHECKING:
    from support.fake_codex_memory import Memory

MAX_INPUT = 1_048_576
Params = dict[str, Any]


def said_in(params: Params) -> Said:
    text = "\n".join(part["text"] for part in params["input"] if part["type"] == "text")
    if not params["input"]:
        raise Refusal("input must not be empty")
    if len(text) > MAX_INPUT:
        data = {"input_error_code": "input_too_large", "max_chars": MAX_INPUT, "actual_chars": len(text)}
        raise Refusal(f"Input exceeds the maximum length of {MAX_INPUT} characters.", -32602, data)
    return Said(text, params.get("clientUserMessageId"))


def page_of(entries: list[Any], params: Params) -> dict[str, Any]:
    start = int(params.get("cursor") or 0)
    end = start + (params.get("limit") or 25)
    return {"data": entries[start:end], "nextCursor": str(end) if end < len(entries) else None}


def _add(memory: "Memory", _: Any, params: Params) -> dict[str, Any]:
    said = said_in(params)
    thread = memory.threads.get(params["threadId"])
    if thread is not None:
        return {"queuedSubmission": thread.enqueue(said)}
    entry = {"id": next(memory.ids), "clientUserMessageId": said.client_id, "input": params["input"]}
    _stored(memory, params).queue.append(entry)
    return {"queuedSubmission": entry}


def _list(memory: "Memory", _: Any, params: Params) -> dict[str, Any]:
    return page_of(_stored(memory, params).queue, params)


def _delete(memory: "Memory", _: Any, params: Params) -> dict[str, Any]:
    rollout = _stored(memory, params)
    kept = [entry for entry in rollout.queue if entry["id"] != params["queuedSubmissionId"]]
    deleted = len(kept) < len(rollout.queue)
    rollout.queue = kept
    if deleted and rollout.thread_id in memory.threads:
        memory.threads[rollout.thread_id].queue_changed()
    return {"deleted": deleted}


def _start(memory: "Memory", _: Any, params: Params) -> dict[str, Any]:
    thread = memory.threads.get(params["threadId"])
    if thread is None:
        raise Refusal("resume the thread before starting a queued message")
    if thread.turn is not None:
        raise Refusal("thread already has an active or pending turn")
    wanted = params.get("queuedSubmissionId")
    found = [entry for entry in thread.rollout.queue if wanted in {None, entry["id"]}]
    if not found:
        raise Refusal(f"queued submission not found: {wanted}" if wanted else "queue is empty")
    return {"turn": thread.start_queued(found[0])}


def _stored(memory: "Memory", params: Params) -> Rollout:
    rollout = memory.disk.get(params["threadId"])
    if rollout is None:
        what = f"no rollout found for thread id {params['threadId']}"
        raise Refusal(f"failed to read thread: invalid thread-store request: {what}")
    return rollout


QUEUE_CALLS: dict[str, Callable[["Memory", Any, Params], dict[str, Any]]] = {
    "thread/queue/add": _add,
    "thread/queue/list": _list,
    "thread/queue/delete": _delete,
    "thread/queue/start": _start,
}
