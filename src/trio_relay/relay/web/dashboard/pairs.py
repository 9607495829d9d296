"""Pairs: who works with whom, who is invited, what is over."""

from quart import Blueprint, Response

from trio_relay.core.access import Scope
from trio_relay.core.wire_pairs import PairStatus
from trio_relay.relay.operations import overruling, pairs
from trio_relay.relay.web.dashboard.asking import known, number_asked
from trio_relay.relay.web.dashboard.frame import Frame, go, page, wants
from trio_relay.relay.web.dashboard.session import person

ROWS = 50
_STANDING = frozenset({PairStatus.PENDING, PairStatus.ACTIVE})


def pairs_pages(pages: Blueprint, frame: Frame) -> None:
    """The routes of pairs."""
    service = frame.service

    @pages.get("/pairs")
    @page(Scope.OBSERVE)
    async def all_pairs() -> Response:
        """Show who is paired, newest first."""
        found = []
        if wants("pairs"):
            found = await service.read(pairs.list_pairs, limit=ROWS + 1, before=number_asked("before"))
        return await frame.show(
            "pairs.html",
            title="Pairs",
            here="pairs",
            standing=[pair for pair in found[:ROWS] if pair.status in _STANDING],
            over=[pair for pair in found[:ROWS] if pair.status not in _STANDING],
            more=found[ROWS - 1].id if len(found) > ROWS else None,
        )

    @pages.post("/pairs/<int:pair_id>/end")
    @page(decides=True)
    async def end_pair(pair_id: int) -> Response:
        """End a pair, or take an invitation back, over its members' heads."""
        await service.write(overruling.end_pair_of_others, known(pair_id), person.get().name)
        return go("/pairs", said=f"Pair {pair_id} is over; both were told.")
