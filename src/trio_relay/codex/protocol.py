"""The Codex app-server protocol with no I/O: what the frames mean, and where one thread stands.

Frames
    One JSON object a text frame, in the manner of JSON-RPC 2.0 without its ``jsonrpc`` field. Four kinds, told apart
    by two fields:

    ========== ======== ===========================================================================
    ``method``  ``id``   meaning
    ========== ======== ===========================================================================
    yes         no       notification
    yes         yes      request of the server (approval, question to the user): **never answered here**
    no          yes      answer to our call: ``result`` or ``error``
    no          no       nothing we know: the peer is at fault
    ========== ======== ===========================================================================

    A server request goes to every subscriber of a thread with the same id, and the first answer wins, an error
    answer included (Codex 0.169). It belongs to the person at the terminal, so `Peer` has no way to answer one.

A call
    ``issued → answered`` or ``issued → forgotten`` (its caller stopped waiting). The answer to a forgotten call is
    dropped. An answer to a call that was never issued is the peer's fault.

A thread, as one subscriber sees it
    The server is the truth; `ThreadView` keeps only what it was told last and decides nothing itself.

    ========================= ======================================= ==========================
    notification               turn_id                                 event
    ========================= ======================================= ==========================
    thread/status/changed      kept (None when notLoaded)              StatusChanged
    turn/started               that turn                               TurnStarted
    item/completed userMessage kept                                    UserMessageSeen
    item/completed agentMessage kept; its text is the turn's last word  -
    item/completed contextComp. kept                                    - (`TurnEnded.compacted`)
    turn/completed             None, if it was that turn, or none runs TurnEnded
    thread/queue/changed       kept                                    QueueChanged
    thread/closed              None                                    ThreadClosed
    ========================= ======================================= ==========================

    ``idle`` is announced *before* ``turn/completed``, so a status never ends a turn. A review is started under one id
    and completed under another (0.130 to 0.169), so the end of a turn while the thread is idle ends any. A failed turn leaves the status
    ``systemError``, which accepts the next turn like ``idle``. A streamed agent message that was cut off by a steer is
    started and never completed, so only completed ones count.

The proof of delivery
    A text that was accepted may still be lost: by an interrupt, by a kill. Only `UserMessageSeen` proves that it is
    in the model's context. It is told at ``item/completed``, not at ``item/started``: of 8 servers killed at
    ``item/started`` 7 came back without the message, of 8 killed at ``item/completed`` none did (Codex 0.169; the
    two are 2 to 4 ms apart). From then on the thread's history holds the client id.

    Codex 0.130 gives no client id back. There the id stands in the last line of the text, outside of everything
    anybody else wrote, and is read from there: `UserMessageSeen.proof` says ``text`` then.

Faults
    `RemoteProtocolError`: the peer sent what this protocol does not allow; the connection is of no more use. Nothing
    else is raised for any text. Unknown notifications, statuses, item types and fields are no fault: Codex adds some
    in every release.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from trio_relay.codex.frames import (
    CallFailed,
    Failure,
    NoActiveTurn,
    Notification,
    NotResumable,
    Peer,
    RemoteProtocolError,
    Response,
    ServerRequest,
    TurnMismatch,
    text_at,
)

__all__ = [
    "CallFailed",
    "Event",
    "Failure",
    "NoActiveTurn",
    "NotResumable",
    "Notification",
    "Peer",
    "QueueChanged",
    "RemoteProtocolError",
    "Response",
    "ServerRequest",
    "StatusChanged",
    "ThreadClosed",
    "ThreadView",
    "TurnEnded",
    "TurnMismatch",
    "TurnStarted",
    "UserMessageSeen",
    "agent_message",
    "read_status",
    "signed",
    "text_at",
    "turn_ended",
    "user_message",
]


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """A turn runs now, ours or the person's."""

    turn_id: str


@dataclass(frozen=True, slots=True)
class UserMessageSeen:
    """A user message of ours entered the model's context: the proof of delivery.

    `proof`: whether Codex gave the id back (``clientId``) or it was read out of the ``text``.
    """

    client_id: str
    turn_id: str
    item_id: str
    proof: str = "clientId"


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """A turn is over. `status`: completed, failed or interrupted. `final_text`: its last completed agent message.

    `failure`: what Codex calls the error (``usageLimitExceeded``), with the HTTP status if it tells one
    (``httpConnectionFailed 401``). `compacted`: a summary took the place of the history, so what was injected is not
    in the context any more (Codex 0.130 to 0.169).
    """

    turn_id: str
    status: str
    error: str | None
    final_text: str | None
    failure: str | None = None
    compacted: bool = False


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """The thread's status: notLoaded, idle, active or systemError; `flags` say what an active one waits for."""

    status: str
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class QueueChanged:
    """Something was put into the thread's queue or left it; what, only a listing tells."""


@dataclass(frozen=True, slots=True)
class ThreadClosed:
    """The server unloaded the thread; resume it to hear of it again."""


Event = TurnStarted | UserMessageSeen | TurnEnded | StatusChanged | QueueChanged | ThreadClosed


@dataclass(slots=True)
class ThreadView:
    """Where one thread stands, as the server last told. The table in this module's opening text is its program.

    `echoes`: whether the server gives client ids back.
    """

    thread_id: str
    echoes: bool = True
    status: str = "notLoaded"
    flags: tuple[str, ...] = ()
    turn_id: str | None = None
    _last_words: dict[str, str] = field(default_factory=dict, repr=False)
    _compacted: bool = field(default=False, repr=False)

    @property
    def active(self) -> bool:
        """Whether a turn runs: then a text is steered in; else it starts a turn."""
        return self.status == "active" or self.turn_id is not None

    def attach(self, status: str, turn_id: str | None) -> None:
        """Begin from the answer of a resume, before the notifications that came with it are applied."""
        self.status, self.flags, self.turn_id = status, (), turn_id

    def apply(self, notification: Notification) -> list[Event]:
        """Take one notification in. Those of other threads and unknown ones change nothing and give no events."""
        params = notification.params
        take = _TAKE.get(notification.method)
        if take is None or params.get("threadId") != self.thread_id:
            return []
        return take(self, params)

    def _status_changed(self, params: dict[str, Any]) -> list[Event]:
        self.status, self.flags = read_status(params.get("status"))
        if self.status == "notLoaded":
            self._forget_turn()
        return [StatusChanged(self.status, self.flags)]

    def _turn_started(self, params: dict[str, Any]) -> list[Event]:
        self._forget_turn()
        self.turn_id = text_at(params, "turn", "id")
        return [TurnStarted(self.turn_id)]

    def _item_completed(self, params: dict[str, Any]) -> list[Event]:
        item, turn_id = params.get("item"), params.get("turnId")
        if not isinstance(item, dict) or not isinstance(turn_id, str):
            raise RemoteProtocolError("the app-server sent an item without its turn")
        if item.get("type") == "contextCompaction":
            self._compacted = True
            return []
        words = agent_message(item)
        if words is not None:
            self._last_words[turn_id] = words
        seen = user_message(item, turn_id, echoes=self.echoes)
        return [] if seen is None else [seen]

    def _turn_completed(self, params: dict[str, Any]) -> list[Event]:
        ended = turn_ended(params.get("turn"))
        words = ended.final_text or self._last_words.get(ended.turn_id)
        if ended.turn_id == self.turn_id or self.status != "active":
            self._forget_turn()
        compacted, self._compacted = self._compacted, False
        return [replace(ended, final_text=words, compacted=compacted)]

    def _queue_changed(self, params: dict[str, Any]) -> list[Event]:  # noqa: ARG002  # one signature for the table
        return [QueueChanged()]

    def _closed(self, params: dict[str, Any]) -> list[Event]:  # noqa: ARG002  # one signature for the table
        self._forget_turn()
        self.status, self.flags = "notLoaded", ()
        return [ThreadClosed()]

    def _forget_turn(self) -> None:
        self.turn_id = None
        self._last_words.clear()


_TAKE: dict[str, Callable[[ThreadView, dict[str, Any]], list[Event]]] = {
    "thread/status/changed": ThreadView._status_changed,  # noqa: SLF001
    "turn/started": ThreadView._turn_started,  # noqa: SLF001
    "item/completed": ThreadView._item_completed,  # noqa: SLF001
    "turn/completed": ThreadView._turn_completed,  # noqa: SLF001
    "thread/queue/changed": ThreadView._queue_changed,  # noqa: SLF001
    "thread/closed": ThreadView._closed,  # noqa: SLF001
}


def read_status(status: Any) -> tuple[str, tuple[str, ...]]:
    """Read a thread status: its word, and what an active thread waits for."""
    flags = status.get("activeFlags") if isinstance(status, dict) else None
    words = tuple(flag for flag in flags if isinstance(flag, str)) if isinstance(flags, list) else ()
    return text_at(status, "type"), words


def user_message(item: dict[str, Any], turn_id: str, *, echoes: bool = True) -> UserMessageSeen | None:
    """Read a thread item: a user message that carries a client id, or None.

    `echoes` false: a server that gives no client ids back; the id is the last line of the text then (`signed`).
    """
    if item.get("type") != "userMessage":
        return None
    if isinstance(item.get("clientId"), str):
        return UserMessageSeen(item["clientId"], turn_id, text_at(item, "id"))
    found = None if echoes else signature(_text_of(item))
    return None if found is None else UserMessageSeen(found, turn_id, text_at(item, "id"), "text")


_SIGNATURE = re.compile(r"\n\[([^\[\]\s]+)\]\s*\Z")


def signed(text: str, client_id: str) -> str:
    """Write the client id into the text, for a server that does not give it back."""
    return f"{text}\n[{client_id}]"


def signature(text: str) -> str | None:
    """Read what `signed` has written."""
    found = _SIGNATURE.search(text)
    return None if found is None else found[1]


def _text_of(item: dict[str, Any]) -> str:
    content = item.get("content")
    last = content[-1] if isinstance(content, list) and content else None
    text = last.get("text") if isinstance(last, dict) else None
    return text if isinstance(text, str) else ""


def agent_message(item: Any) -> str | None:
    """Read a thread item: the text of an agent message that says something, or None."""
    if not isinstance(item, dict) or item.get("type") != "agentMessage":
        return None
    return text_at(item, "text").strip() or None


def turn_ended(turn: Any) -> TurnEnded:
    """Read a turn of the server that is over, with the last agent message among the items it carries."""
    error = turn.get("error") if isinstance(turn, dict) else None
    items = turn.get("items") if isinstance(turn, dict) else None
    spoken = (
        [words for item in items or () if (words := agent_message(item))] if isinstance(items, list) else []
    )
    return TurnEnded(
        text_at(turn, "id"),
        text_at(turn, "status"),
        text_at(error, "message") if error is not None else None,
        spoken[-1] if spoken else None,
        _failure(error) if isinstance(error, dict) else None,
    )


_STATUS = re.compile(r"unexpected status (\d{3}) ")


def _failure(error: dict[str, Any]) -> str | None:
    """Read ``codexErrorInfo``: a word, or an object of one word and what is known of it.

    Codex 0.130 and 0.150 have no word for a refusal of the provider's: its HTTP status stands in their message.
    """
    info = error.get("codexErrorInfo")
    if info == "other":
        status = _STATUS.match(str(error.get("message")))
        return info if status is None else f"{info} {status[1]}"
    if isinstance(info, dict) and len(info) == 1:
        ((word, details),) = info.items()
        status = details.get("httpStatusCode") if isinstance(details, dict) else None
        return f"{word} {status}" if isinstance(status, int) else str(word)
    return info if isinstance(info, str) else None
