"""The frames of the app-server connection and the errors its calls answer with. Pure; the theory is in `protocol`."""

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from trio_relay.errors import ConnectionLost, RelayError


class RemoteProtocolError(ConnectionLost):
    """The app-server sent something this protocol does not allow: drop the connection and start afresh."""

    default_code = "remote_protocol_error"


class CallFailed(RelayError):  # noqa: N818  # an answer, not a failure
    """The app-server answered a call with an error. `number` is its JSON-RPC code, `data` what it added, or None."""

    default_code = "codex_call_failed"

    def __init__(self, number: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.number = number
        self.message = message
        self.data = data

    @property
    def draining(self) -> bool:
        """Whether the server is shutting down and takes no new turns or threads: reconnect later."""
        return isinstance(self.data, dict) and self.data.get("reason") == "serverShuttingDown"

    @property
    def too_large(self) -> bool:
        """Whether the input was over the server's limit of 1,048,576 characters."""
        return isinstance(self.data, dict) and self.data.get("input_error_code") == "input_too_large"

    @property
    def closed_turn(self) -> str | None:
        """The kind of the running turn, if it is one that takes no text: ``review``, ``compact``.

        Codex 0.169 says it of a steer in the error's data, and of a start only in its text.
        """
        found = _CLOSED_TURN.search(self.message)
        if found is not None:
            return found[1].lower()
        told = _at(self.data, "codexErrorInfo", "activeTurnNotSteerable", "turnKind")
        return told if isinstance(told, str) else None

    @property
    def has_another_writer(self) -> bool:
        """Whether the thread is in the memory of another app-server, which alone may write to it (0.150 and newer)."""
        return self.message.endswith("already has an active writer")

    @property
    def unsupported(self) -> bool:
        """Whether the server does not offer this call: for this thread (an older kind of history), or at all."""
        return "is not supported yet" in self.message or "unknown variant" in self.message


_CLOSED_TURN = re.compile(r"ActiveTurnNotSteerable \{ turn_kind: (\w+)")


def _at(content: Any, *path: str) -> Any:
    for name in path:
        content = content.get(name) if isinstance(content, dict) else None
    return content


class NoActiveTurn(CallFailed):
    """A steer or an interrupt came when no turn was running: it ended a moment ago."""


class TurnMismatch(CallFailed):
    """A steer or an interrupt named another turn than the one that runs; `actual` is the running one."""

    def __init__(self, number: int, message: str, data: Any = None, *, actual: str) -> None:
        super().__init__(number, message, data)
        self.actual = actual


class NotResumable(CallFailed):
    """The thread has no history on disk to read or resume: not *yet*, or not at all.

    A thread without a turn has none; `inject` or a first turn creates it. In the first milliseconds of the first turn
    it exists but is empty: try again. A thread that never had a turn is gone with its server.
    """


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to call `id`."""

    id: int
    result: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """The error answer to call `id`."""

    id: int
    error: CallFailed


@dataclass(frozen=True, slots=True)
class Notification:
    """Something the server tells."""

    method: str
    params: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ServerRequest:
    """Something the server asks of a person. Seen, never answered."""

    id: int | str
    method: str
    params: dict[str, Any]


class Peer:
    """Our end of one connection: numbers our calls and reads the other end's frames."""

    def __init__(self) -> None:
        self._issued = 0
        self._open: set[int] = set()

    def request(self, method: str, params: dict[str, Any]) -> tuple[int, str]:
        """Issue a call: its id, and the frame to send."""
        self._issued += 1
        self._open.add(self._issued)
        return self._issued, _frame({"id": self._issued, "method": method, "params": params})

    def notification(self, method: str, params: dict[str, Any] | None = None) -> str:
        """Return the frame of a notification of ours."""
        return _frame({"method": method} if params is None else {"method": method, "params": params})

    def forget(self, call: int) -> None:
        """Stop expecting an answer to `call`; one that still comes is dropped."""
        self._open.discard(call)

    def receive(self, text: str) -> Response | Failure | Notification | ServerRequest | None:
        """Read one frame. None: an answer nobody waits for any more. Raises `RemoteProtocolError`, nothing else."""
        frame = _object(text)
        if "method" in frame:
            return _told(frame)
        if "id" not in frame:
            raise RemoteProtocolError("the app-server sent a frame with neither method nor id")
        call = frame["id"]
        if call is None:
            return None  # it could not read which call it refuses; that call runs into its time limit
        if type(call) is not int or not 0 < call <= self._issued:
            raise RemoteProtocolError("the app-server answered a call that was never made")
        if "error" in frame:
            answer: Response | Failure = Failure(call, _call_failed(frame["error"]))
        elif isinstance(frame.get("result"), dict):
            answer = Response(call, frame["result"])
        else:
            raise RemoteProtocolError("the app-server sent an answer with neither result nor error")
        if call not in self._open:
            return None
        self._open.discard(call)
        return answer


def _frame(content: dict[str, Any]) -> str:
    return msgspec.json.encode(content).decode()


def _object(text: str) -> dict[str, Any]:
    try:
        frame = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise RemoteProtocolError("the app-server sent a frame that is not JSON") from None
    if not isinstance(frame, dict):
        raise RemoteProtocolError("the app-server sent a frame that is not a JSON object")
    return frame


def _told(frame: dict[str, Any]) -> Notification | ServerRequest:
    method, params = frame["method"], frame.get("params")
    if params is None:
        params = {}
    if not isinstance(method, str) or not isinstance(params, dict):
        raise RemoteProtocolError("the app-server sent a method or params of the wrong type")
    if "id" not in frame:
        return Notification(method, params)
    if type(frame["id"]) not in {int, str}:
        raise RemoteProtocolError("the app-server sent a request whose id is neither number nor text")
    return ServerRequest(frame["id"], method, params)


_NO_ACTIVE_TURN = ("no active turn to steer", "no active turn to interrupt")
_NOT_RESUMABLE = (
    "no rollout found for thread id",
    "list_turns is not supported yet",
    "failed to read thread",
    "invalid paginated history lineage",
)


def _call_failed(error: Any) -> CallFailed:
    """Read an error answer. The kinds are told apart by their texts: Codex 0.130 to 0.169 give no structured reason."""
    if not isinstance(error, dict):
        raise RemoteProtocolError("the app-server sent an error that is not an object")
    number, message, data = error.get("code"), error.get("message"), error.get("data")
    if type(number) is not int or not isinstance(message, str):
        raise RemoteProtocolError("the app-server sent an error without code or message")
    if message.startswith(_NO_ACTIVE_TURN):
        return NoActiveTurn(number, message, data)
    if message.startswith("expected active turn id") and " but found " in message:
        # steer quotes the ids in backticks, interrupt does not
        actual = message.rsplit(" but found ", 1)[1].strip("` .")
        return TurnMismatch(number, message, data, actual=actual)
    if message.startswith(_NOT_RESUMABLE) or "is not materialized yet" in message:
        return NotResumable(number, message, data)
    return CallFailed(number, message, data)


def text_at(content: Any, *path: str) -> str:
    """Return the text at `path`, which the protocol promises to be there."""
    for name in path:
        content = content.get(name) if isinstance(content, dict) else None
    if not isinstance(content, str):
        raise RemoteProtocolError(f"the app-server left out {'.'.join(path)}")
    return content
