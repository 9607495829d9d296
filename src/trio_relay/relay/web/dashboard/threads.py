"""One thread: its messages, and of each the delivery ladder of its recipients, live."""

from quart import Blueprint, Response, request

from trio_relay.core.access import Scope
from trio_relay.core.wire import ReadMark
from trio_relay.relay.operations import ladders, messages, messages_read
from trio_relay.relay.web.dashboard.compose import blank
from trio_relay.relay.web.dashboard.frame import Frame, asked, go, number, numbers, page
from trio_relay.relay.web.dashboard.session import person
from trio_relay.relay.web.messages import known_id

#: Messages of a thread on one page, and ladders of one message.
_MESSAGES = 50
_LADDERS = 6
_RECIPIENTS = 100


def threads_pages(pages: Blueprint, frame: Frame) -> None:
    """The routes of threads."""
    service = frame.service

    @pages.get("/messages/<int:message_id>")
    @page(Scope.OBSERVE)
    async def one_message(message_id: int) -> Response:
        """Lead to a message's place in its thread."""
        message = await service.read(messages_read.get_message, known_id(message_id))
        return go(f"/threads/{message.thread_id}#message-{message.id}")

    @pages.get("/threads/<int:thread_id>")
    @page(Scope.OBSERVE)
    async def one_thread(thread_id: int) -> Response:
        """Show a conversation and how far each of its messages has got."""
        again, before = asked(), number(request.args.get("before"))
        if again is None:
            found_id, drawn = await service.read(
                ladders.thread, known_id(thread_id), before=before, limit=_MESSAGES, recipients=_LADDERS
            )
            if found_id != thread_id:
                return go(f"/threads/{found_id}#message-{thread_id}")
        else:
            drawn = await service.read(
                ladders.thread_again,
                known_id(thread_id),
                numbers(again.keys, "message"),
                again.after,
                limit=_MESSAGES,
                recipients=_LADDERS,
            )
        last = drawn[-1].message if drawn else None
        subject = next((each.message.subject for each in drawn if each.message.subject), None)
        return await frame.show(
            "thread.html",
            title=subject or f"Thread {thread_id}",
            here="messages",
            thread_id=thread_id,
            drawn=drawn,
            newest=last.id if last else 0,
            earlier=drawn[0].message.id if again is None and len(drawn) == _MESSAGES else None,
            is_newest=before is None,
            answer=blank(person.get().name, last),
        )

    @pages.get("/messages/<int:message_id>/recipients")
    @page(Scope.OBSERVE)
    async def all_recipients(message_id: int) -> Response:
        """Show the ladders of every recipient of one message."""
        message, found = await service.read(
            ladders.ladders, known_id(message_id), after=request.args.get("after", ""), limit=_RECIPIENTS
        )
        return await frame.show(
            "recipients.html",
            title=f"Recipients of message {message_id}",
            here="messages",
            message=message,
            ladders=found,
            more=found[-1].agent_id if len(found) == _RECIPIENTS else None,
        )

    @pages.post("/messages/<int:message_id>/read")
    @page(Scope.RECEIVE)
    async def mark_read(message_id: int) -> Response:
        """Note that the person who looks has read a message sent to them."""
        message = await service.write(
            messages.mark_read, known_id(message_id), ReadMark(read_by=person.get().name)
        )
        return go(f"/threads/{message.thread_id}#message-{message.id}", said="Marked as read.")
