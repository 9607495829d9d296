"""The first page: what is stuck and why, who is live, what was said last."""

from quart import Blueprint, Response

from trio_relay.core.access import Scope
from trio_relay.relay.operations import board, messages_read, threads
from trio_relay.relay.web.dashboard.frame import Frame, page, wants

_LATEST = 10
_LIVE = 12
_STUCK = 10


def overview_pages(pages: Blueprint, frame: Frame) -> None:
    """The route of the page."""
    service = frame.service

    @pages.get("/")
    @page(Scope.OBSERVE)
    async def overview() -> Response:
        """Show what a person wants to know first."""
        presence, stuck, latest, glances = None, {}, [], {}
        if wants("live"):
            presence = await service.read(board.present, _LIVE)
        if wants("stuck"):
            stuck = {
                "agents": await service.read(board.in_trouble, _STUCK),
                "parked": await service.read(board.parked_messages, _STUCK),
                "threads": await service.read(threads.parked, _STUCK),
                "dead": await service.read(board.dead_letters, _STUCK),
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
            presence=presence,
            stuck=stuck,
            latest=latest,
            glances=glances,
        )
