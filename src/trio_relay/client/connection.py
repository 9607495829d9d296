"""The connection to a relay: one call, one stream, errors mapped once.

Beside ``callback.py`` the only module that knows the HTTP library. Runs on trio and on asyncio. Every call is bounded.
What the relay refuses arrives as the same error class the relay raised; whatever is the weather's fault (no
connection, no answer in time, a 5xx) arrives as `ConnectionLost`, and may be tried again: writes that matter carry an
idempotency key or a session.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec

from trio_relay.client.problems import error_of
from trio_relay.core.wire import LabelChange
from trio_relay.errors import ConnectionLost, Invalid, RelayError

# The HTTP library and anyio take a tenth of a second to import, more than a command needs for all it does without
# them (`plain.py`): whoever opens a connection imports them.
if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode
#: The server closes idle connections after 75 s; closing ours first avoids writing into a closing one.
_KEEPALIVE = 5.0


class Connection:
    """A relay that can be called. Use `open`."""

    def __init__(self, http: "httpx2.AsyncClient", url: str, timeout: float) -> None:
        self.url = url
        self._http = http
        self._timeout = timeout

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str,
        token: str | None = None,
        timeout: float = 10.0,  # noqa: ASYNC109  # bounds every later call, not this one
        transport: "httpx2.AsyncBaseTransport | None" = None,
    ) -> AsyncIterator[Self]:
        """Talk to the relay at `url`; each call is given `timeout` seconds, beside what it is asked to wait.

        Raises:
            Invalid: `url` or `token` cannot be meant (codes ``bad_url``, ``bad_token``).

        """
        import httpx2  # noqa: PLC0415  # see above

        _check_url(url)
        headers = headers_with(token)
        limits = httpx2.Limits(
            max_connections=None, max_keepalive_connections=50, keepalive_expiry=_KEEPALIVE
        )
        async with httpx2.AsyncClient(
            base_url=url, headers=headers, timeout=None, limits=limits, transport=transport, trust_env=False
        ) as http:
            yield cls(http, url, timeout)

    @classmethod
    def inside(
        cls, app: Callable[..., Awaitable[None]], token: str | None
    ) -> AbstractAsyncContextManager[Self]:
        """Talk to the relay served by `app` in this very process, as whoever holds `token`."""
        import httpx2  # noqa: PLC0415  # see above

        transport = httpx2.ASGITransport(app)
        return cls.open("http://127.0.0.1", token, transport=transport)

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
        """Make one call: what every method above does, for the parts of the API that have no method here.

        Raises:
            ConnectionLost: no connection, no answer within the time-out and `patience` seconds, or a 5xx.
            RelayError: what the relay refuses, as the class it raised there.

        """
        import anyio  # noqa: PLC0415  # see above
        import httpx2  # noqa: PLC0415

        parameters = query_of(query or {})
        headers = {"Content-Type": "application/json"} if body is not None else None
        content = encoded(body) if body is not None else None
        try:
            with anyio.fail_after(self._timeout + patience):
                response = await self._http.request(
                    method, path, params=parameters, content=content, headers=headers
                )
        except TimeoutError:
            raise self._silent() from None
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        if response.is_success:
            return decoded(response.content, answer, self.url)
        raise self._refusal(response)

    @asynccontextmanager
    async def stream(
        self, path: str, *, query: Mapping[str, Any], headers: Mapping[str, str], silence: float
    ) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
        """Open an answer that has no end; the function given answers with its next piece, empty at the end.

        Leaving the block hangs up.

        Raises:
            ConnectionLost: as of `call`; and, from the function, when nothing came for `silence` seconds.
            RelayError: what the relay refuses.

        """
        import anyio  # noqa: PLC0415  # see above
        import httpx2  # noqa: PLC0415

        parameters = query_of(query)
        async with AsyncExitStack() as stack:
            try:
                with anyio.fail_after(self._timeout):
                    opening = self._http.stream("GET", path, params=parameters, headers=dict(headers))
                    response = await stack.enter_async_context(opening)
                    if not response.is_success:
                        await response.aread()
            except TimeoutError:
                raise self._silent() from None
            except httpx2.TransportError as error:
                raise self._unreachable(error) from error
            if not response.is_success:
                raise self._refusal(response)
            pieces = response.aiter_bytes()
            stack.push_async_callback(_unwind, pieces)

            async def next_piece() -> bytes:
                try:
                    with anyio.fail_after(silence):
                        return await anext(pieces, b"")
                except TimeoutError:
                    raise self._silent() from None
                except httpx2.TransportError as error:
                    raise self._unreachable(error) from error

            yield next_piece

    def _silent(self) -> ConnectionLost:
        return ConnectionLost(f"the relay at {self.url} did not answer in time", code="timeout")

    def _unreachable(self, error: Exception) -> ConnectionLost:
        return ConnectionLost(f"the relay at {self.url} cannot be reached ({type(error).__name__})")

    def _refusal(self, response: "httpx2.Response") -> RelayError:
        return error_of(
            response.status_code, response.content, self.url, response.headers.get("Retry-After", "")
        )


async def _unwind(pieces: AsyncIterator[bytes]) -> None:
    """End generators that stand in one another, from the innermost.

    Closing only the outermost would leave the others to the garbage collector, which trio warns of; a cancellation
    passes through them all.
    """
    import anyio  # noqa: PLC0415  # see above
    import httpx2  # noqa: PLC0415

    with anyio.CancelScope() as scope, suppress(httpx2.TransportError, httpx2.StreamError):
        scope.cancel()
        async for _ in pieces:
            pass


def _check_url(url: str) -> None:
    import httpx2  # noqa: PLC0415  # see above

    try:
        address = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise Invalid(f"{url!r} is not a relay URL: {error}", code="bad_url") from None
    if address.scheme not in {"http", "https"} or not address.host:
        raise Invalid(f"{url!r} is not a relay URL: expected http://HOST:PORT", code="bad_url")


def headers_with(token: str | None) -> dict[str, str]:
    """The headers of every call.

    Raises:
        Invalid: code ``bad_token``.

    """
    headers = {"Accept": "application/json"}
    if token is not None:
        if not (token.isascii() and token.isprintable()):
            raise Invalid("the token holds characters that no header can carry", code="bad_token")
        headers["X-Agent-Relay-Token"] = token
    return headers


def encoded(body: msgspec.Struct) -> bytes:
    """Encode a request; fields left unset stay out, except a label, where null means: clear it."""
    if isinstance(body, LabelChange):
        return _encode(body)
    return _encode({name: value for name, value in msgspec.to_builtins(body).items() if value is not None})


def decoded(content: bytes, answer: type[T], url: str) -> T:
    """Decode an answer.

    Raises:
        ConnectionLost: no relay has answered (``not_a_relay``).

    """
    try:
        return msgspec.json.decode(content, type=answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ConnectionLost(f"what answers at {url} is not a relay", code="not_a_relay") from None


def query_of(given: Mapping[str, Any]) -> dict[str, str]:
    """Write a query's values as words; what is None stays out."""
    return {name: _word(value) for name, value in given.items() if value is not None}


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
