"""The relay without an event loop and without the HTTP library: one blocking call after another, on one connection.

For programs that make a few calls and end: a command starts in less than half the time. Coroutines over `PlainRelay`
never wait for anything but its calls, so `finished` runs them to their end in one go.
"""

import socket
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Self, TypeVar
from urllib.parse import urlencode, urlsplit

import h11
import msgspec

from trio_relay.client.connection import decoded, encoded, headers_with, query_of
from trio_relay.client.http import RelayClient
from trio_relay.client.problems import error_of
from trio_relay.errors import Invalid

T = TypeVar("T")
_PIECE = 65_536


class PlainRelay(RelayClient):
    """A relay that is called without an event loop. Use `PlainRelay.at`; streams need a loop."""

    def __init__(self, url: str, token: str | None, timeout: float) -> None:
        self.url = url
        self._address = _Address(url)
        self._headers = headers_with(token) | {"Host": self._address.name}
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self._state = h11.Connection(h11.CLIENT)

    @classmethod
    @contextmanager
    def at(cls, url: str, token: str | None = None, timeout: float = 10.0) -> Iterator[Self]:
        """Talk to the relay at `url`; each call is given `timeout` seconds, beside what it is asked to wait.

        Raises:
            Invalid: `url` or `token` cannot be meant (codes ``bad_url``, ``bad_token``).

        """
        relay = cls(url, token, timeout)
        try:
            yield relay
        finally:
            relay._close()

    async def call(
        self,
        method: str,
        path: str,
        answer: type[T],
        *,
        body: msgspec.Struct | None = None,
        query: dict[str, Any] | None = None,
        patience: float = 0.0,
    ) -> T:
        """Make one call, as `Connection.call` does; blocks."""
        words = urlencode(query_of(query or {}))
        content = encoded(body) if body is not None else b""
        headers = self._headers | {"Content-Length": str(len(content))}
        if body is not None:
            headers["Content-Type"] = "application/json"
        target = f"{self._address.base}{path}{'?' if words else ''}{words}"
        request = h11.Request(method=method, target=target, headers=list(headers.items()))
        try:
            response, found = self._exchange(request, content, time.monotonic() + self._timeout + patience)
        except TimeoutError:
            raise self._silent() from None
        except (OSError, h11.RemoteProtocolError) as error:
            raise self._unreachable(error) from error
        if 200 <= response.status_code < 300:
            return decoded(found, answer, self.url)
        wait = dict(response.headers).get(b"retry-after", b"").decode("latin-1")
        raise error_of(response.status_code, found, self.url, wait)

    def _exchange(self, request: h11.Request, content: bytes, deadline: float) -> tuple[h11.Response, bytes]:
        """Send a request and read its answer, until `deadline` (monotonic seconds). A failure ends the connection."""
        try:
            sock = self._open(deadline)
            pieces = [self._state.send(each) for each in (request, h11.Data(content), h11.EndOfMessage())]
            sock.settimeout(_left(deadline))
            sock.sendall(b"".join(piece for piece in pieces if piece))
            response: h11.Response | None = None
            found = b""
            while True:
                event = self._state.next_event()
                if event is h11.NEED_DATA:
                    sock.settimeout(_left(deadline))
                    self._state.receive_data(sock.recv(_PIECE))
                elif isinstance(event, h11.Response):
                    response = event
                elif isinstance(event, h11.Data):
                    found += event.data
                elif isinstance(event, h11.EndOfMessage) and response is not None:
                    break
        except BaseException:
            self._close()
            raise
        if self._state.our_state is h11.DONE and self._state.their_state is h11.DONE:
            self._state.start_next_cycle()
        else:
            self._close()
        return response, found

    def _open(self, deadline: float) -> socket.socket:
        if self._socket is None:
            self._socket = self._address.connect(_left(deadline))
            self._state = h11.Connection(h11.CLIENT)
        return self._socket

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class _Address:
    """Where a relay is: by TLS or not, host, port, and the path its API stands below."""

    def __init__(self, url: str) -> None:
        problem = "expected http://HOST:PORT"
        try:
            parts = urlsplit(url)
            self._port = parts.port or (443 if parts.scheme == "https" else 80)
            host = parts.hostname or ""
            # As bytes, Python looks it up as it stands; as text it would load its tables of international names.
            self._host = host.encode("ascii" if host.isascii() else "idna")
        except (ValueError, UnicodeError) as error:
            parts, host, problem = urlsplit(""), "", str(error)
        if not url.isprintable() or " " in url or parts.scheme not in {"http", "https"} or not host:
            raise Invalid(f"{url!r} is not a relay URL: {problem}", code="bad_url")
        self._secure = parts.scheme == "https"
        self.base = parts.path.rstrip("/")
        name = self._host.decode("ascii")
        self.name = (f"[{name}]" if ":" in name else name) + (f":{parts.port}" if parts.port else "")

    def connect(self, timeout: float) -> socket.socket:
        # getaddrinfo() takes a host as bytes as well, which the stubs leave out.
        address: Any = (self._host, self._port)
        connected = socket.create_connection(address, timeout)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self._secure:
            return connected
        import ssl  # noqa: PLC0415  # only where it is used

        context = ssl.create_default_context()
        return context.wrap_socket(connected, server_hostname=self._host.decode("ascii"))


def finished(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing but a `PlainRelay`; its result."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise RuntimeError("what waits needs an event loop")


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
