"""What cannot go on by itself: dead letters, and threads that were parked because they look like loops."""

from quart import Blueprint, Response, request

from trio_relay.core.access import Scope
from trio_relay.core.wire import Message
from trio_relay.relay.operations import leases, messages, messages_read, threads, watching
from trio_relay.relay.operations.tx import Tx
from trio_relay.relay.web.dashboard.asking import known, number_asked
from trio_relay.relay.web.dashboard.frame import Frame, go, inner_path, page, wants

ROWS = 50
#: Held messages of a thread that are shown; of more only the number.
HELD_SHOWN = 3


def stuck_pages(pages: Blueprint, frame: Frame) -> None:
    """The routes of dead letters and parked threads."""
    service = frame.service

    @pages.get("/dead")
    @page(Scope.OBSERVE)
    async def dead_letters() -> Response:
        """Show what was given up, for whom and why."""
        found = []
        if wants("dead"):
            found = await service.read(watching.dead_letters, limit=ROWS + 1, before=number_asked("before"))
        return await frame.show(
            "dead.html",
            title="Dead letters",
            here="dead",
            letters=found[:ROWS],
            more=found[ROWS - 1].message.id if len(found) > ROWS else None,
        )

    @pages.post("/dead/<int:message_id>/redrive")
    @page(decides=True)
    async def redrive(message_id: int) -> Response:
        """Give a dead letter another life."""
        await service.write(leases.redrive, known(message_id))
        return go(_back("/dead"), said=f"Message {message_id} is on its way again.")

    @pages.post("/dead/<int:message_id>/delete")
    @page(Scope.ADMIN)
    async def delete(message_id: int) -> Response:
        """Remove a message from history."""
        await service.write(messages.delete, known(message_id))
        return go("/dead", said=f"Message {message_id} is deleted.")

    @pages.get("/parked")
    @page(Scope.OBSERVE)
    async def parked_threads() -> Response:
        """Show the threads that wait for a person, and what is held in them."""
        parked, said = [], {}
        if wants("parked"):
            parked = await service.read(threads.parked, ROWS)
            said = await service.read(_first_held, [thread.held[:HELD_SHOWN] for thread in parked])
        return await frame.show(
            "parked.html",
            title="Parked threads",
            here="parked",
            parked=parked,
            said_in=said,
            shown=HELD_SHOWN,
        )

    @pages.post("/parked/<int:thread_id>/resume")
    @page(decides=True)
    async def resume(thread_id: int) -> Response:
        """Let a parked thread go on."""
        thread = await service.write(messages.resume_thread, known(thread_id))
        count = len(thread.held)
        delivered = {0: "nothing was held in it", 1: "the message held in it is delivered"}
        said = delivered.get(count, f"the {count} messages held in it are delivered")
        return go(_back("/parked"), said=f"Thread {thread_id} goes on; {said}.")


def _back(default: str) -> str:
    """The page the button stood on, where it says so."""
    wanted = request.args.get("next")
    return default if wanted is None else inner_path(wanted)


def _first_held(tx: Tx, held: list[list[int]]) -> dict[int, Message]:
    """The held messages that are shown, by id."""
    numbers = [number for some in held for number in some]
    return {number: messages_read.get_message(tx, number) for number in numbers}
