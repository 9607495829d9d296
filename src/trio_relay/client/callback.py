"""Posting a callback to somebody else's server. Beside ``connection.py`` the only module that knows the HTTP library.

A receiver is not trusted: its redirects are not followed (they would carry a signed body to somebody the operator
never named), and of its answer only the status is read. How long it may take is the caller's to bound.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx2


class CallbackPoster:
    """Posts callbacks. Use `CallbackPoster.open`."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http

    @classmethod
    @asynccontextmanager
    async def open(
        cls, transport: httpx2.AsyncBaseTransport | None = None
    ) -> AsyncIterator["CallbackPoster"]:
        """Be ready to post."""
        async with httpx2.AsyncClient(
            timeout=None, follow_redirects=False, trust_env=False, transport=transport
        ) as http:
            yield cls(http)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int | str:
        """Post `body`; answer the HTTP status, or what kind of error kept it from getting one."""
        try:
            async with self._http.stream(
                "POST", url, content=body, headers={**headers, "Content-Type": "application/json"}
            ) as response:
                return response.status_code
        except httpx2.ConnectError:
            return "connect_failed"
        except httpx2.TransportError:
            return "connection_lost"
        except (httpx2.InvalidURL, UnicodeError):  # the latter from a host name that DNS cannot express
            return "bad_url"
