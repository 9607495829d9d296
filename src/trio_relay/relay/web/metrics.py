"""``/metrics`` for Prometheus, and the clock around every request."""

import trio
from quart import Blueprint, Response, g, request
from quart_trio import QuartTrio

from trio_relay.core.access import Scope
from trio_relay.relay.metrics import CONTENT_TYPE
from trio_relay.relay.service import RelayService
from trio_relay.relay.web.api import Media, api

#: Methods that are counted under their own name; a client may send any other.
_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})


def install(app: QuartTrio, service: RelayService) -> None:
    """Time every request of `app`. To be installed before anything that may answer a request early."""

    @app.before_request
    async def begin() -> None:
        g.began = trio.current_time()

    @app.after_request
    async def end(response: Response) -> Response:
        method = request.method if request.method in _METHODS else "OTHER"
        route = "unmatched" if request.url_rule is None else request.url_rule.rule
        if "wait" in request.args:
            route += "?wait"
        seconds = trio.current_time() - g.began
        service.metrics.answered(method, route, response.status_code, seconds)
        return response


def metrics_blueprint(service: RelayService) -> Blueprint:
    """The route of the metrics."""
    routes = Blueprint("metrics", __name__, url_prefix="/metrics")

    @routes.get("")
    @api(
        scopes=(Scope.OBSERVE,),
        responses={200: Media(CONTENT_TYPE, "Counters, gauges and histograms in Prometheus' text format.")},
    )
    async def metrics() -> Response:
        """Measure the relay, for Prometheus."""
        return Response(await service.measure(), content_type=CONTENT_TYPE)

    return routes
