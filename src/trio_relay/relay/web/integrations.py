"""``/api/integrations``: where programs outside post what happened, each with a token of its own.

These tokens reach nothing else, and the shared token does not reach here. A token that was minted with the scope
``integrate`` does: it may reach every target, and has no callbacks.
"""

import trio
from quart import Blueprint, g

from trio_relay.core.access import FULL, Principal, Scope
from trio_relay.core.integrations import Integration, by_token
from trio_relay.core.model import Authority
from trio_relay.core.rates import SlidingWindow
from trio_relay.core.wire_tasks import IntegrationEvent, Task
from trio_relay.errors import RateLimited, Unauthorized
from trio_relay.relay.credentials import caller
from trio_relay.relay.operations import integrations
from trio_relay.relay.service import RelayService
from trio_relay.relay.web.access import INTEGRATIONS, token_of_request
from trio_relay.relay.web.api import api


def integrations_blueprint(service: RelayService) -> Blueprint:
    """The routes of ``/api/integrations``."""
    routes = Blueprint(INTEGRATIONS, __name__, url_prefix="/api/integrations")
    windows: dict[str, SlidingWindow] = {}

    @routes.before_request
    async def check() -> None:
        # Not the caller's own principal: whoever it is, what is posted here is the least trusted text of all.
        integration = g.integration = await identify(service, token_of_request())
        caller.set(
            Principal(
                f"integration {integration.name}",
                scopes=frozenset({Scope.INTEGRATE}),
                authority=Authority.INTEGRATION,
            )
        )
        fresh = SlidingWindow(service.settings.integration_rate_limit, 60.0)
        wait = windows.setdefault(integration.name, fresh).take(trio.current_time())
        if wait > 0:
            raise RateLimited("this integration has posted too many events in a minute", retry_after=wait)

    @routes.post("/events")
    @api(body=IntegrationEvent, responses={201: Task, 200: Task}, errors=(429,), scopes=(Scope.INTEGRATE,))
    async def post_event(body: IntegrationEvent) -> tuple[Task, int]:
        """Say that something happened; 200 instead of 201 when there is an active task about it already."""
        task, new = await service.write(integrations.take_event, g.integration, body)
        return task, 201 if new else 200

    return routes


async def identify(service: RelayService, secret: str | None) -> Integration:
    """The integration that is calling.

    Raises:
        Unauthorized: no token was given, or one that is no integration's.

    """
    if secret is None:
        raise Unauthorized("events need the token of an integration", code="token_required")
    integration = by_token(service.settings.integrations, secret)
    if integration is not None:
        return integration
    principal = await service.authenticate(secret)
    if principal == FULL or Scope.INTEGRATE not in principal.scopes:
        raise Unauthorized("this token is no integration's", code="bad_token")
    return Integration(principal.name, token="")
