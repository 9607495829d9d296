"""``/mcp``: the relay's tools for any MCP client, over streamable HTTP.

Every request is answered by itself, in JSON: no session, no stream (GET is 405, as the protocol allows). It comes
here through the same checks as any other, and a tool then calls the API as whoever sent the request.
"""

import sys
from importlib import import_module
from types import ModuleType

import trio
from quart import Blueprint, Response, request
from quart_trio import QuartTrio

from trio_relay.client.http import RelayClient
from trio_relay.relay.web.access import token_of_request

_SERVER = "trio_relay.mcp.server"


def mcp_blueprint(app: QuartTrio) -> Blueprint:
    """The route of MCP; the tools call `app` itself."""
    routes = Blueprint("mcp", __name__)

    @routes.post("/mcp")
    async def serve_mcp() -> Response:
        """Answer one request of an MCP client."""
        server = await _server()
        body: bytes = await request.get_data()  # type: ignore[assignment]  # as_text is False
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in request.headers
        ]
        async with RelayClient.inside(app, token_of_request()) as relay:
            answer = await server.answer_http(relay, headers, body)
        response = Response(answer.body, status=answer.status)
        response.headers.clear()
        for name, value in answer.headers:
            response.headers.add(name.decode("latin-1"), value.decode("latin-1"))
        return response

    return routes


async def _server() -> ModuleType:
    """The SDK, imported by the first request: most relays never need it. In a thread, so that nobody waits for it."""
    if _SERVER not in sys.modules:
        await trio.to_thread.run_sync(import_module, _SERVER)
    return import_module(_SERVER)
