"""What of all the app-server tells is worth hearing here. Pure."""

from trio_relay.codex.frames import Notification

#: Streams of small pieces nobody here reads; the whole comes with ``item/completed``. Exact names, unknown ones pass.
UNWANTED_STREAMS = (
    "item/agentMessage/delta",
    "item/plan/delta",
    "item/reasoning/summaryTextDelta",
    "item/reasoning/summaryPartAdded",
    "item/reasoning/textDelta",
    "item/commandExecution/outputDelta",
    "item/fileChange/outputDelta",
    "item/fileChange/patchUpdated",
    "item/mcpToolCall/progress",
    "command/exec/outputDelta",
    "process/outputDelta",
    "turn/diff/updated",
    "turn/plan/updated",
    "thread/tokenUsage/updated",
    "account/rateLimits/updated",
)
_WANTED = ("thread/", "turn/", "error")
_WANTED_ITEMS = ("userMessage", "agentMessage", "contextCompaction")


def wanted(notification: Notification) -> bool:
    """Say whether a notification is about a thread's state or its conversation, not about tools at work."""
    if notification.method in {"item/started", "item/completed"}:
        item = notification.params.get("item")
        return isinstance(item, dict) and item.get("type") in _WANTED_ITEMS
    return notification.method.startswith(_WANTED)
