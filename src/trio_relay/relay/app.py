"""The relay as an ASGI application. It holds no globals: everything hangs on the service it is given."""

from quart_trio import QuartTrio

from trio_relay.relay.service import RelayService
from trio_relay.relay.web import access, metrics, problems
from trio_relay.relay.web.agents import agents_blueprint
from trio_relay.relay.web.approvals import approvals_blueprint
from trio_relay.relay.web.dashboard import dashboard_blueprint
from trio_relay.relay.web.dashboard.assets import assets_blueprint
from trio_relay.relay.web.dashboard.frame import Frame
from trio_relay.relay.web.dashboard.login import entrance_blueprint
from trio_relay.relay.web.docs import docs_blueprint
from trio_relay.relay.web.events import events_blueprint
from trio_relay.relay.web.integrations import integrations_blueprint
from trio_relay.relay.web.mcp import mcp_blueprint
from trio_relay.relay.web.messages import messages_blueprint
from trio_relay.relay.web.metrics import metrics_blueprint
from trio_relay.relay.web.openapi import openapi_blueprint
from trio_relay.relay.web.pairs import pairs_blueprint
from trio_relay.relay.web.request import RelayRequest
from trio_relay.relay.web.rooms import rooms_blueprint
from trio_relay.relay.web.routing import Route
from trio_relay.relay.web.site import site_blueprint
from trio_relay.relay.web.system import system_blueprint
from trio_relay.relay.web.tasks import tasks_blueprint
from trio_relay.relay.web.tokens import tokens_blueprint
from trio_relay.settings import ServerSettings


def create_app(service: RelayService, settings: ServerSettings) -> QuartTrio:
    """Build the application that serves `service`."""
    app = QuartTrio(__name__, static_folder=None)
    app.url_rule_class = Route
    app.request_class = RelayRequest
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body
    app.config["BODY_TIMEOUT"] = 30
    app.url_map.strict_slashes = False
    problems.install(app)
    metrics.install(app, service)
    access.install(app, service, settings)
    for blueprint in (
        agents_blueprint,
        messages_blueprint,
        rooms_blueprint,
        pairs_blueprint,
        tasks_blueprint,
        integrations_blueprint,
        approvals_blueprint,
        tokens_blueprint,
        events_blueprint,
        metrics_blueprint,
        system_blueprint,
    ):
        app.register_blueprint(blueprint(service))
    frame = Frame(service)
    app.register_blueprint(dashboard_blueprint(frame))
    app.register_blueprint(entrance_blueprint(frame))
    app.register_blueprint(assets_blueprint())
    app.register_blueprint(mcp_blueprint(app))
    app.register_blueprint(openapi_blueprint(service, app))
    app.register_blueprint(docs_blueprint(service, app))
    app.register_blueprint(site_blueprint())
    return app
