"""Is it up, is it ready, how much is in it: ``/healthz``, ``/readyz``, ``/api/stats``."""

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

    return routes
