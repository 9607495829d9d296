"""Is it up, is it ready, how much is in it: ``/healthz``, ``/readyz``, ``/api/stats``; and the page at ``/``."""

import trio
from quart import Blueprint, Response

from trio_relay import __version__
from trio_relay.core.access import Scope
from trio_relay.core.wire import Health, Readiness, Stats
from trio_relay.errors import RelayError
from trio_relay.relay.operations import event_log
from trio_relay.relay.service import RelayService
from trio_relay.relay.web.api import api
from trio_relay.relay.web.problems import problem

#: Seconds the store has to answer; whoever asks whether a node is ready waits no longer.
READY_WITHIN = 1.5
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>trio-relay</title>
<style>:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:4rem auto;padding:0 1rem}
code{font-size:.95em}</style>
<h1>trio-relay</h1><p>The relay is running. Watch it from a terminal:</p>
<pre><code>trio-relay status
trio-relay agents
trio-relay send TARGET "hello"</code></pre>
<p>Who is there: <a href="/api/agents">agents</a>. How much there is: <a href="/api/stats">counts</a>.
What programs can ask: <a href="/docs">the API</a>.</p></html>
"""


def system_blueprint(service: RelayService) -> Blueprint:
    """The routes about the relay itself."""
    routes = Blueprint("system", __name__)

    @routes.get("/healthz")
    @api(responses={200: Health}, scopes=())
    async def healthz() -> Health:
        """Say that the process answers."""
        return Health(status="ok", version=__version__)

    @routes.get("/readyz")
    @api(responses={200: Readiness}, scopes=())
    async def readyz() -> Response | Readiness:
        """Say whether the relay can serve: its store answers and it is not stopping."""
        if service.hub.closed:
            return problem(503, "the relay is shutting down", "shutting_down")
        try:
            with trio.fail_after(READY_WITHIN):
                await service.read(event_log.state)
        except RelayError as error:
            return problem(503, error.detail, error.code)
        except trio.TooSlowError:
            return problem(503, "the store does not answer", "unavailable")
        return Readiness(status="ready", version=__version__, node=service.peers.name, store=service.engine)

    @routes.get("/api/stats")
    @api(responses={200: Stats}, scopes=(Scope.OBSERVE, Scope.RECEIVE))
    async def stats() -> Stats:
        """Count what is in the room."""
        return await service.stats()

    @routes.get("/")
    async def home() -> Response:
        """Show a person that the relay runs."""
        return Response(_PAGE, content_type="text/html; charset=utf-8")

    return routes
