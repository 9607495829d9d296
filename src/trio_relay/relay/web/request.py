"""What a request brings, kept within the limit whichever Quart takes it in."""

from collections.abc import Generator
from typing import Any

import trio
from quart_trio.wrappers import TrioRequest
from werkzeug.exceptions import RequestEntityTooLarge


class RequestBody:
    """The body of a request: awaited, it is all there, or refused as soon as more than the limit has arrived.

    Quart 0.23 counts a body only when its end has come, so one in chunks takes memory for as long as it is allowed to
    arrive, and is then answered 408 in place of 413. Its queue also costs a switch of tasks for every piece. Quart
    0.22 hands pieces in with `append`, 0.23 with `put` (``quart/asgi.py``).
    """

    def __init__(self, announced: int | None, limit: int | None) -> None:
        self._data = bytearray()
        self._limit = limit
        self._too_large = announced is not None and limit is not None and announced > limit
        self._complete = trio.Event()
        if self._too_large:
            self._complete.set()

    def append(self, data: bytes) -> None:
        """Take the next piece. What is too large anyway is dropped."""
        if self._too_large:
            return
        self._data += data
        if self._limit is not None and len(self._data) > self._limit:
            self._too_large = True
            self._data.clear()
            self._complete.set()

    async def put(self, data: bytes) -> None:
        """Take the next piece. There is nothing to wait for: who hands it in has waited for it."""
        self.append(data)

    def set_complete(self) -> None:
        """There is no more."""
        self._complete.set()

    def disconnect(self) -> None:
        """The client is gone: quart-trio cancels whoever waits for the rest."""

    def clear(self) -> None:
        """Forget it: whoever needs it has it."""
        self._data.clear()

    def __await__(self) -> Generator[Any, None, bytes]:
        yield from self._complete.wait().__await__()
        if self._too_large:
            raise RequestEntityTooLarge
        return bytes(self._data)


class RelayRequest(TrioRequest):
    """A request whose body stays within `MAX_CONTENT_LENGTH` while it arrives."""

    body_class = RequestBody  # type: ignore[assignment]  # all that Quart asks of one
