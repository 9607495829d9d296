"""A Codex app-server, driven: one method a call we use, each saying what the server really promises.

``async with open_app_server(url) as server:`` connects and introduces itself. Facts are of Codex 0.169 unless a version
is named. Frames and turn state are in `protocol`, the wire is in `connection`.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from trio_relay import __version__
from trio_relay.codex.capabilities import capabilities_of
from trio_relay.codex.connection import Connection
from trio_relay.codex.dial import Dial, dial_url
from trio_relay.codex.hearing import UNWANTED_STREAMS, wanted
from trio_relay.codex.protocol import (
    CallFailed,
    Notification,
    NotResumable,
    RemoteProtocolError,
    ThreadView,
    TurnEnded,
    UserMessageSeen,
    read_status,
    signed,
    text_at,
    turn_ended,
    user_message,
)
from trio_relay.errors import ConnectionLost, Invalid, RelayError

#: What a sandbox is called on the command line, and in the protocol.
SANDBOXES = {
    "read-only": "readOnly",
    "workspace-write": "workspaceWrite",
    "danger-full-access": "dangerFullAccess",
}
#: Entries a page: whole pages must fit into a frame, and one user message may be a megabyte.
_PAGE = 25


@dataclass(frozen=True, slots=True)
class Queued:
    """A text that waits in a thread's queue: its id there, and the client id it will carry."""

    submission_id: str
    client_id: str


@dataclass(frozen=True, slots=True)
class Attached:
    """A thread this connection hears of now: its status, and the turn that runs, if one does.

    `permissions`: its ``approvalPolicy`` and ``sandbox``, as the server writes them.
    """

    thread_id: str
    status: str
    turn_id: str | None
    permissions: Mapping[str, Any] = field(default_factory=dict, compare=False)


def _bearer(token: str | None) -> list[tuple[bytes, bytes]]:
    if token is None:
        return []
    if not token.isascii() or not token.isprintable() or " " in token or not token:
        raise Invalid("the app-server's token must be printable ASCII without spaces", code="bad_token")
    return [(b"Authorization", b"Bearer " + token.encode())]


@asynccontextmanager
async def open_app_server(
    url: str,
    *,
    token: str | None = None,
    name: str = "trio-relay",
    version: str = __version__,
    handshake_timeout: float = 10.0,
    call_timeout: float = 30.0,
    dial: Dial | None = None,
) -> AsyncGenerator["AppServer"]:
    """Connect to the app-server at `url` and introduce ourselves as `name`, within `handshake_timeout` seconds.

    Raises `ConnectionLost` when that fails, `Refused` when the token is not the right one, `Invalid` for a `url`
    that cannot be one. Errors of the block itself come out in an exception group, as from any nursery. `dial`
    opens the byte stream in place of `url`.

    The first client that introduces itself names the whole process towards the model's provider; where a person's
    terminal belongs to the same server, connect after it.
    """
    dial = dial or dial_url(url)
    headers = _bearer(token)
    connection = Connection(call_timeout=call_timeout, wanted=wanted)
    failure: RelayError | None = None
    async with trio.open_nursery() as nursery:
        try:
            with trio.fail_after(handshake_timeout):
                await nursery.start(connection.run, dial, headers)
                server = AppServer(connection, await _introduce(connection, name, version))
        except trio.TooSlowError:
            failure = ConnectionLost(
                f"the app-server did not complete the handshake in {handshake_timeout:g} s"
            )
        except RelayError as error:
            failure = error
        else:
            try:
                yield server
            finally:
                await connection.close()
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _introduce(connection: Connection, name: str, version: str) -> str:
    """Initialize the connection: what the server calls itself."""
    client = {"name": name, "title": None, "version": version}
    capabilities = {"experimentalApi": True, "optOutNotificationMethods": list(UNWANTED_STREAMS)}
    answer = await connection.call("initialize", {"clientInfo": client, "capabilities": capabilities})
    connection.notify("initialized")
    return text_at(answer, "userAgent")


class AppServer:
    """An app-server we are connected to. Every method may raise `CallFailed` and `ConnectionLost`."""

    def __init__(self, connection: Connection, user_agent: str) -> None:
        self._connection = connection
        self.user_agent = user_agent
        self.can = capabilities_of(user_agent)
        #: What the server tells of threads, in order; ends when the connection is lost.
        self.notifications: trio.MemoryReceiveChannel[Notification] = connection.notifications
        self.call = connection.call

    @property
    def lost(self) -> str | None:
        """Why the connection is gone, or None while it holds."""
        return self._connection.lost

    def view(self, thread_id: str) -> ThreadView:
        """Make the view of one of this server's threads, of which nothing is known yet."""
        return ThreadView(thread_id, echoes=self.can.echoes_client_ids)

    # Threads

    async def thread_start(
        self,
        *,
        cwd: str | None = None,
        model: str | None = None,
        approval_policy: str | None = None,
        sandbox: str | None = None,
        developer_instructions: str | None = None,
    ) -> str:
        """Start a thread and subscribe to it: its id. Until its first turn (or `inject`) it is in memory only."""
        wishes = {
            "cwd": cwd,
            "model": model,
            "approvalPolicy": approval_policy,
            "sandbox": sandbox,
            "developerInstructions": developer_instructions,
        }
        answer = await self.call("thread/start", {k: v for k, v in wishes.items() if v is not None})
        return text_at(answer, "thread", "id")

    async def thread_resume(
        self, thread_id: str, *, approval_policy: str | None = None, sandbox: str | None = None
    ) -> Attached:
        """Subscribe to a thread, loading it if need be, and say where it stands.

        Raises `NotResumable` for a thread without a turn, for the first milliseconds of its first turn, and for one
        that never was. The policy wishes apply to a thread that has to be loaded; a running one keeps its own.
        """
        wishes: dict[str, Any] = {
            "threadId": thread_id,
            "excludeTurns": True,
            "initialTurnsPage": {"limit": 1},
        }
        if approval_policy is not None:
            wishes["approvalPolicy"] = approval_policy
        if sandbox is not None:
            wishes["sandbox"] = sandbox
        answer = await self.call("thread/resume", wishes)
        status, _ = read_status(_part(answer, "thread").get("status"))
        page = answer.get("initialTurnsPage")
        turns = page.get("data") if isinstance(page, dict) else None
        newest = turns[0] if isinstance(turns, list) and turns else None
        running = newest is not None and text_at(newest, "status") == "inProgress"
        permissions = {name: answer.get(name) for name in ("approvalPolicy", "sandbox")}
        return Attached(thread_id, status, text_at(newest, "id") if running else None, permissions)

    async def set_permissions(self, thread_id: str, permissions: Mapping[str, Any]) -> None:
        """Give a thread the permissions of another (`Attached.permissions`). Not in 0.130."""
        wishes = {
            "approvalPolicy": permissions.get("approvalPolicy"),
            "sandboxPolicy": permissions.get("sandbox"),
        }
        await self.call("thread/settings/update", {"threadId": thread_id, **wishes})

    async def config(self, cwd: str) -> Mapping[str, Any]:
        """Read the configuration as it is for a directory: the user's, the project's and the server's own together."""
        return _part(await self.call("config/read", {"cwd": cwd}), "config")

    async def thread_read(self, thread_id: str) -> dict[str, Any]:
        """Describe a loaded or stored thread, without its turns."""
        return _part(await self.call("thread/read", {"threadId": thread_id, "includeTurns": False}), "thread")

    async def loaded_threads(self) -> list[str]:
        """List the ids of the threads in the server's memory."""
        return [one for one in await self._all("thread/loaded/list", {}) if isinstance(one, str)]

    async def unsubscribe(self, thread_id: str) -> None:
        """Stop hearing of a thread. The server unloads it 60 s after its last subscriber has left."""
        await self.call("thread/unsubscribe", {"threadId": thread_id})

    async def inject(
        self, thread_id: str, text: str, *, role: str = "developer", item_id: str | None = None
    ) -> None:
        """Put a text into the thread's history, without starting a turn. Makes a fresh thread resumable.

        While no turn runs it stands in the rollout file when this returns. During a turn it waits in memory for the
        turn's next model request, and an interrupt or a kill loses it. No listing shows it: only the rollout does,
        under its `item_id`, which the model's provider sees only if it begins with ``msg_``. The same `item_id` twice
        is two items. Codex 0.130 keeps no id: there it stands in the text, as that of a user message does.
        """
        if item_id is not None and not self.can.echoes_client_ids:
            text = signed(text, item_id)
        item = {"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}
        if item_id is not None:
            item["id"] = item_id
        await self.call("thread/inject_items", {"threadId": thread_id, "items": [item]})

    # Turns

    async def turn_start(self, thread_id: str, text: str, client_id: str) -> str:
        """Start a turn with `text`: its id. While a turn runs the text joins that turn instead and its id is returned.

        Accepted is not delivered: an interrupt can lose the text. The same `client_id` twice is two messages. Codex
        0.130 answers a joining start with the id of a turn that never runs (`Capabilities.names_joined_turns`).
        """
        answer = await self.call("turn/start", {"threadId": thread_id, **self._said(text, client_id)})
        return text_at(answer, "turn", "id")

    async def turn_steer(self, thread_id: str, turn_id: str, text: str, client_id: str) -> str:
        """Add `text` to the running turn: its id. It cuts off a model's reply, and waits for the end of a tool call.

        Raises `NoActiveTurn` or `TurnMismatch` when the thread has moved on. An interrupt can lose an accepted text.
        """
        params = {"threadId": thread_id, "expectedTurnId": turn_id, **self._said(text, client_id)}
        return text_at(await self.call("turn/steer", params), "turnId")

    async def turn_interrupt(self, thread_id: str, turn_id: str) -> None:
        """Stop the running turn, also within a tool call. Raises `NoActiveTurn` or `TurnMismatch`.

        A turn just started cannot be interrupted until it is told (`TurnStarted`, about 20 ms after the answer of
        `turn_start`), though it can be steered: it raises `NoActiveTurn` and goes on.
        """
        await self.call("turn/interrupt", {"threadId": thread_id, "turnId": turn_id})

    # The queue: Codex 0.150 and newer; an older one knows none of these calls (`CallFailed.unsupported`)

    async def queue_add(self, thread_id: str, text: str, client_id: str) -> Queued:
        """Have the thread take `text` as a turn of its own when it is idle, at once if it is.

        First in, first out; it is on disk when this returns. It leaves the queue before its turn begins: a kill between
        the two loses it, and never doubles it. After an interrupt the queue stands still until a turn completes or
        `queue_start`, also through a restart.
        """
        answer = await self.call("thread/queue/add", {"threadId": thread_id, **self._said(text, client_id)})
        return _queued(_part(answer, "queuedSubmission"))

    async def queue_list(self, thread_id: str) -> list[Queued]:
        """List what waits in the thread's queue, the next first; the thread need not be loaded."""
        return [_queued(entry) for entry in await self._all("thread/queue/list", {"threadId": thread_id})]

    async def queue_delete(self, thread_id: str, submission_id: str) -> bool:
        """Take a text out of the queue; False when it is not there any more. The thread need not be loaded."""
        params = {"threadId": thread_id, "queuedSubmissionId": submission_id}
        return (await self.call("thread/queue/delete", params)).get("deleted") is True

    async def queue_start(self, thread_id: str, submission_id: str) -> str:
        """Begin a turn with a queued text now: its id. What waits behind it follows when the turn completes.

        Refused (`CallFailed`) while a turn runs or is about to, and when the text is not there any more.
        """
        params = {"threadId": thread_id, "queuedSubmissionId": submission_id}
        return text_at(await self.call("thread/queue/start", params), "turn", "id")

    # What the thread remembers

    async def user_messages(self, thread_id: str) -> list[UserMessageSeen]:
        """List every user message in the thread's history that carries a client id, oldest first.

        A message is here once `UserMessageSeen` is told, also after the server is killed, and the thread need not be
        loaded; in a thread of the older history kind (``legacy``) it may come a moment later (seen with Codex 0.169.0).
        One that is not here may still come for as long as a turn runs: a text waits outside the history until
        the turn takes it (at once, or after a tool call), even when its sender has gone.
        """
        thread = {"threadId": thread_id}
        try:
            entries = await self._all("thread/items/list", {**thread, "limit": _PAGE})
            items = [(_part(entry, "item"), text_at(entry, "turnId")) for entry in entries]
        except CallFailed as refusal:
            if not refusal.unsupported:
                raise
            try:  # a thread of the older history kind
                page = {**thread, "limit": _PAGE, "itemsView": "full", "sortDirection": "asc"}
                turns = await self._all("thread/turns/list", page)
            except NotResumable:
                return []
            items = [(item, text_at(turn, "id")) for turn in turns for item in _items(turn)]
        return [seen for item, turn_id in items if (seen := self._user_message(item, turn_id)) is not None]

    async def newest_turn_begun_by(self, thread_id: str) -> str | None:
        """Say which client id the text that began the thread's newest turn carries: empty for none, None for no text."""
        turns, _ = await self._page("thread/turns/list", {"threadId": thread_id, "limit": 1}, None)
        for item in _items(turns[0]) if turns else ():
            if item.get("type") == "userMessage":
                seen = self._user_message(item, text_at(turns[0], "id"))
                return "" if seen is None else seen.client_id
        return None

    async def turn_result(self, thread_id: str, turn_id: str) -> TurnEnded | None:
        """Say how a turn of the thread ended. None: it still runs, or the thread does not know it.

        A turn that ran when the server died is ``interrupted``.
        """
        params, cursor = {"threadId": thread_id, "limit": _PAGE, "sortDirection": "desc"}, None
        while True:
            try:
                turns, cursor = await self._page("thread/turns/list", params, cursor)
            except NotResumable:
                return None
            for turn in turns:
                if text_at(turn, "id") == turn_id:
                    return None if text_at(turn, "status") == "inProgress" else turn_ended(turn)
            if cursor is None:
                return None

    def _said(self, text: str, client_id: str) -> dict[str, Any]:
        if not self.can.echoes_client_ids:
            text = signed(text, client_id)
        return {"input": [{"type": "text", "text": text}], "clientUserMessageId": client_id}

    def _user_message(self, item: dict[str, Any], turn_id: str) -> UserMessageSeen | None:
        return user_message(item, turn_id, echoes=self.can.echoes_client_ids)

    async def diagnostics_pid(self) -> int | None:
        """Return the process id of the native server; Codex from npm is a wrapper around it."""
        process = (await self.call("server/diagnostics", {})).get("process")
        pid = process.get("id") if isinstance(process, dict) else None
        return pid if isinstance(pid, int) else None

    async def _page(self, method: str, params: dict[str, Any], cursor: Any) -> tuple[list[Any], Any]:
        """Read one page of a listing: its entries, and the cursor of the next page or None."""
        answer = await self.call(method, params if cursor is None else {**params, "cursor": cursor})
        data = answer.get("data")
        if not isinstance(data, list):
            raise RemoteProtocolError(f"the app-server answered {method} without data")
        return data, answer.get("nextCursor")

    async def _all(self, method: str, params: dict[str, Any]) -> list[Any]:
        """Read a listing to its end."""
        entries, cursor = await self._page(method, params, None)
        while cursor is not None:
            more, cursor = await self._page(method, params, cursor)
            entries += more
        return entries


def _part(content: Any, name: str) -> dict[str, Any]:
    part = content.get(name) if isinstance(content, dict) else None
    if not isinstance(part, dict):
        raise RemoteProtocolError(f"the app-server left out {name}")
    return part


def _queued(entry: Any) -> Queued:
    return Queued(text_at(entry, "id"), text_at(entry, "clientUserMessageId"))


def _items(turn: Any) -> list[dict[str, Any]]:
    items = turn.get("items") if isinstance(turn, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise RemoteProtocolError("the app-server left out a turn's items")
    return items
