"""Leases: who holds what, and for how long yet; a person can take it back."""

from quart import Blueprint, Response

from trio_relay.core.access import Scope
from trio_relay.relay.operations import overruling, resources, watching
from trio_relay.relay.web.dashboard.frame import Frame, form, go, page, wants

ROWS = 200


def leases_pages(pages: Blueprint, frame: Frame) -> None:
    """The routes of leases."""
    service = frame.service

    @pages.get("/leases")
    @page(Scope.OBSERVE)
    async def all_leases() -> Response:
        """Show who holds which resource, and who works on which message."""
        held = await service.read(resources.held) if wants("leases") else []
        claims = await service.read(watching.held_claims, ROWS) if wants("claims") else []
        return await frame.show(
            "leases.html",
            title="Leases",
            here="leases",
            held=sorted(held, key=lambda lease: lease.expires_at or 0)[:ROWS],
            count=len(held),
            claims=claims,
            rows=ROWS,
        )

    @pages.post("/leases/take-back")
    @page(decides=True)
    async def take_back() -> Response:
        """Take a lease from its holder."""
        key = (await form()).get("key", "")
        holder = await service.write(overruling.take_lease_back, key)
        return go("/leases", said=f"{key} was taken back from {holder}, who was told.")
