"""Why is it not there yet: one message's story, what each recipient waits for, and what would mend it."""

from dataclasses import dataclass

from quart import Blueprint, Response

from trio_relay.core.access import Scope
from trio_relay.core.model import Rung, Verdict
from trio_relay.core.wire import Message
from trio_relay.core.wire_rooms import ExplainedRecipient, RetractRequest
from trio_relay.relay.operations import explain, freshness, messages_read
from trio_relay.relay.web.dashboard.asking import known
from trio_relay.relay.web.dashboard.frame import Frame, form, go, page
from trio_relay.relay.web.dashboard.session import person

#: Events of the log as a sentence's end.
EVENTS = {
    "message.claimed": "claimed",
    "message.claim_released": "can be claimed again",
    "message.completed": "completed",
    "message.expired": "outlived its time",
    "message.retracted": "withdrawn",
    "message.dead": "given up: claimed too often without completion",
    "message.redriven": "given another life",
}
_ENDS = {
    Rung.SETTLED: "Nothing: it is done.",
    Rung.EXPIRED: "Nothing: its time was over before it arrived. Send it again with a longer one.",
    Rung.RETRACTED: "Nothing: it was withdrawn. Send it again if it is still wanted.",
    Rung.DEAD: "Find out why it was given up, then redrive it.",
    Rung.ANSWERED: "Nothing: its program settles it when the turn ends.",
    Rung.IN_CONTEXT: "Nothing: the model has it. It is settled when the turn ends.",
    Rung.HANDED_OFF: (
        "Usually nothing: the next words of the session prove it. If the session died, its program looks into the thread "
        "when it is back, and hands the message off again if it is not there."
    ),
}
_WAITS = {
    Verdict.OFFLINE_QUEUED: "Start the agent's session again: what waits is delivered first.",
    Verdict.DEAF: "See to what the agent says about itself; it gets the message by itself once it is ready.",
    Verdict.LIVE_IDLE: "Its program should take it within seconds. If not, run trio-relay doctor on its machine.",
    Verdict.LIVE_BUSY: "Usually nothing: it is delivered as its mode says, at the latest when the turn is over.",
}


@dataclass(frozen=True, slots=True)
class Mend:
    """What would help a message on. `thread`: the parked thread to resume; `redrive`: whether that helps."""

    says: str
    thread: int | None = None
    redrive: bool = False


def mend_of(recipient: ExplainedRecipient) -> str:
    """What would help a delivery on, as a sentence."""
    if recipient.state in _ENDS:
        return _ENDS[recipient.state]
    if recipient.waiting_for is not None and recipient.waiting_for.startswith("claimed by"):
        return "Nothing: somebody works on it. If they should not, take the claim back on the page of leases."
    return _WAITS[recipient.verdict]


def mend(message: Message, recipients: list[ExplainedRecipient], summary: str) -> Mend | None:
    """What would help the message itself on, where that is not a matter of one recipient."""
    if summary.startswith("Held"):
        return Mend(
            "Look at the thread. If it is no loop, let it go on: what is held is delivered in order.",
            message.thread_id,
        )
    if any(recipient.state is Rung.DEAD for recipient in recipients):
        return Mend(
            "It was given up. Once the cause is gone, redrive it: its attempts count afresh.", redrive=True
        )
    if not recipients and message.withdrawn is None:
        return Mend(
            f"It waits for the first agent that answers to {message.to}: start one, or give one that tag or label."
        )
    return None


def explaining_pages(pages: Blueprint, frame: Frame) -> None:
    """The routes of explanations."""
    service = frame.service

    @pages.get("/messages/<int:message_id>/explain")
    @page(Scope.OBSERVE)
    async def explanation(message_id: int) -> Response:
        """Tell a message's story."""
        message = await service.read(messages_read.get_message, known(message_id))
        told = await service.read(explain.explain, message_id)
        waits = any(each.state in (Rung.QUEUED, Rung.HANDED_OFF) for each in told.recipients)
        return await frame.show(
            "explain.html",
            title=f"Message {message_id} explained",
            here="messages",
            message=message,
            told=told,
            mend=mend(message, told.recipients, told.summary),
            mends={each.agent_id: mend_of(each) for each in told.recipients},
            events=EVENTS,
            watched="".join(f" agent:{each.agent_id}" for each in told.recipients[:50]),
            may_retract=message.withdrawn is None
            and (waits or not told.recipients)
            and _may_retract(message),
        )

    @pages.post("/messages/<int:message_id>/retract")
    @page(Scope.SEND)
    async def retract(message_id: int) -> Response:
        """Withdraw a message from whoever does not have it yet."""
        reason = (await form()).get("reason", "").strip()
        who = person.get()
        message = await service.read(messages_read.get_message, known(message_id))
        if message.sender != who.name:
            who.principal.check_scope(Scope.ADMIN)
        withdrawal = await service.write(
            freshness.retract, message_id, RetractRequest(reason=(reason or f"withdrawn by {who.name}")[:200])
        )
        late = f" {', '.join(withdrawal.too_late)} already had it." if withdrawal.too_late else ""
        return go(f"/messages/{message_id}/explain", said=f"Message {message_id} is withdrawn.{late}")


def _may_retract(message: Message) -> bool:
    who = person.get()
    return who.may(Scope.ADMIN) or (who.may(Scope.SEND) and message.sender == who.name)
