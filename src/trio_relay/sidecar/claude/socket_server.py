"""The socket on which hooks of the session tell what happens. See `claude/hook_client.py`, the other end."""

import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import trio

from trio_relay.claude.events import Answer
from trio_relay.claude.hook_client import is_private
from trio_relay.errors import Refused

#: A hook's input holds what a tool has answered; longer input is not ours to hear.
_LONGEST = 32 * 1024 * 1024


class Told(msgspec.Struct, frozen=True):
    """One hook: which, and what Claude Code said to it."""

    event: str
    input: str = ""


Heard = Callable[[Told], Awaitable[Answer]]


def make_private(directory: Path) -> None:
    """Make the directory of the sockets. Raises `Refused` where it is not ours alone."""
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    if not is_private(str(directory / "socket")):
        raise Refused(f"{directory} is not a directory of this user alone (mode 0700)", code="not_private")


@asynccontextmanager
async def listening(path: Path) -> AsyncGenerator[trio.SocketListener]:
    """Listen at `path` for the time of the block, in the place of whatever a dead predecessor left there."""
    listener = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    _remove(path)
    await listener.bind(str(path))
    listener.listen(64)
    try:
        yield trio.SocketListener(listener)
    finally:
        listener.close()
        _remove(path)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


async def converse(stream: trio.SocketStream, heard: Heard) -> None:
    """Serve one hook. When it is gone before it has its answer, whatever was asked in its name is cancelled."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        async with stream:
            told = await _read(stream)
            if told is None:
                return
            async with trio.open_nursery() as nursery:

                async def until_gone() -> None:
                    with suppress(trio.BrokenResourceError):
                        while await stream.receive_some(1024):
                            pass
                    nursery.cancel_scope.cancel()

                nursery.start_soon(until_gone)
                answer = await heard(told)
                nursery.cancel_scope.cancel()
                # Suppressed here as well: before Python 3.12 `suppress` does not look into the nursery's group.
                gone = suppress(trio.BrokenResourceError)
                with trio.CancelScope(shield=True), trio.move_on_after(1.0), gone:
                    await stream.send_all(msgspec.json.encode(answer))


async def _read(stream: trio.SocketStream) -> Told | None:
    said = bytearray()
    while not said.endswith(b"\n"):
        piece = await stream.receive_some(65536)
        if not piece or len(said) > _LONGEST:
            return None
        said += piece
    try:
        return msgspec.json.decode(said, type=Told)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
