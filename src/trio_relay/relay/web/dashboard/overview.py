"""The first page: what is stuck and why, who is live, what was said last."""

from quart import Blueprint, Response

from trio_relay.core.access import Scope
from trio_relay.core.model import AgentStatus
from trio_relay.relay.operations import board, messages_read, threads
from trio_relay.relay.web.dashboard.frame import Frame, page, wants

_LATEST = 10
_LIVE = 12


def overview_pages(pages: Blueprint, frame: Frame) -> None:
    """The route of the page."""
    service = frame.service

    @pages.get("/")
    @page(Scope.OBSERVE)
    async def overview() -> Response:
        """Show what a person wants to know first."""
        everyone = await service.read(board.everyone) if wants("stuck", "live") else []
        live = [each for each in everyone if each.agent.status is not AgentStatus.OFFLINE]
        stuck, latest, glances = {}, [], {}
        if wants("stuck"):
            stuck = {
                "agents": [each for each in everyone if each.trouble is not None][:_LIVE],
                "parked": await service.read(board.parked_messages, 20),
                "threads": await service.read(threads.parked, 20),
                "dead": await service.read(board.dead_letters, 5),
            }
        if wants("latest"):
            latest = await service.read(
                messages_read.browse,
                sender=None,
                to=None,
                channel=None,
                thread_id=None,
                limit=_LATEST,
                before=None,
            )
            glances = await service.read(board.glances, [each.id for each in latest])
        return await frame.show(
            "overview.html",
            title="Overview",
            here="home",
            empty_room=not everyone,
            live=live,
            shown_live=live[:_LIVE],
            stuck=stuck,
            latest=latest,
            glances=glances,
        )
