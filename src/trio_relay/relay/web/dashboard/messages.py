"""Messages: the history, newest first, filtered or searched."""

from typing import Any

from quart import Blueprint, Response, request

from trio_relay.core.access import Scope
from trio_relay.core.wire import Message
from trio_relay.errors import RelayError
from trio_relay.relay.operations import board, messages_read
from trio_relay.relay.web.dashboard.frame import Frame, asked, number, numbers, page, wants

#: Rows a page of the list has.
ROWS = 100
_FILTERS = ("from", "to", "channel")


def messages_pages(pages: Blueprint, frame: Frame) -> None:
    """The route of the list."""
    service = frame.service

    async def find(before: int | None) -> list[Message]:
        words = request.args.get("q", "").strip()
        if words:
            return await service.read(messages_read.search, words, limit=ROWS, before=before)
        return await service.read(
            messages_read.browse,
            sender=request.args.get("from", "").strip() or None,
            to=request.args.get("to", "").strip() or None,
            channel=request.args.get("channel", "").strip() or None,
            thread_id=None,
            limit=ROWS,
            before=before,
        )

    @pages.get("/messages")
    @page(Scope.OBSERVE)
    async def all_messages() -> Response:
        """Show what was said, newest first."""
        again, fault = asked(), None
        found: list[Message] = []
        gap = False
        try:
            if again is None:
                found = await find(number(request.args.get("before"))) if wants("messages") else []
            else:
                found = await service.read(board.some, numbers(again.keys, "message"))
                if again.after is not None:
                    newer = [each for each in await find(None) if each.id > again.after]
                    gap = len(newer) == ROWS
                    found = newer + [each for each in found if each.id <= again.after]
        except RelayError as error:
            fault = error
        glances = await service.read(board.glances, [each.id for each in found])
        filters: dict[str, Any] = {name: request.args.get(name, "") for name in _FILTERS}
        return await frame.show(
            "messages.html",
            title="Messages",
            here="messages",
            messages=found,
            glances=glances,
            newest=max((each.id for each in found), default=0),
            more=found[-1].id if again is None and len(found) == ROWS else None,
            gap=gap,
            words=request.args.get("q", ""),
            filters=filters,
            filtered=any(filters.values()),
            fault=fault,
        )
