"""Writing as a person: a message to an agent, to whoever has a tag, a capability or a label, or to everybody."""

import secrets
from collections import Counter
from dataclasses import dataclass
from typing import Any

from quart import Blueprint, Response, request

from trio_relay.core.access import Scope
from trio_relay.core.model import AgentStatus, Verdict
from trio_relay.core.targets import BROADCAST
from trio_relay.core.wire import Agent, Message, SendRequest, SentMessage
from trio_relay.errors import FieldError, Invalid, NotFound, RelayError
from trio_relay.relay.operations import agents, messages, messages_read
from trio_relay.relay.web.dashboard.frame import Frame, form, go, number, page
from trio_relay.relay.web.dashboard.session import person
from trio_relay.relay.web.problems import status_of

#: How long a message may wait, in the words of the form.
LIFETIMES = {"": "as long as it takes", "600000": "10 minutes", "3600000": "an hour", "86400000": "a day"}
_VERDICTS = {
    Verdict.LIVE_IDLE: "is idle and gets it now",
    Verdict.LIVE_BUSY: "is busy and gets it as soon as that is possible",
    Verdict.DEAF: "is not ready: it waits in the inbox",
    Verdict.OFFLINE_QUEUED: "is offline: it waits in the inbox",
}
_IN_SHORT = {
    Verdict.LIVE_IDLE: "are idle",
    Verdict.LIVE_BUSY: "are busy",
    Verdict.DEAF: "are not ready",
    Verdict.OFFLINE_QUEUED: "are offline",
}
_NAMED = 3
_MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class Draft:
    """What stands in the form. `key` is made once a form: sending it twice is sending once."""

    key: str
    to: str = ""
    subject: str = ""
    body: str = ""
    channel: str = ""
    reply_to: int | None = None
    claimable: bool = False
    urgent: bool = False
    ttl: str = ""

    @property
    def has_more(self) -> bool:
        """Whether something stands in the fields that are folded away."""
        return bool(self.channel or self.ttl or self.claimable or self.urgent)


def blank(name: str, answered: Message | None = None) -> Draft:
    """A new form, for an answer to a message where one is given; `name` writes."""
    key = secrets.token_urlsafe(12)
    if answered is None:
        return Draft(key)
    to = answered.to if answered.sender == name else answered.sender
    return Draft(key, to=to, reply_to=answered.id, channel=answered.channel or "")


def compose_pages(pages: Blueprint, frame: Frame) -> None:
    """The routes of writing."""
    service = frame.service

    async def show(draft: Draft, error: RelayError | None = None) -> Response:
        found = await service.read(agents.list_agents)
        return await frame.show(
            "compose.html",
            title="Answer" if draft.reply_to else "New message",
            here="compose",
            status=200 if error is None else status_of(error),
            draft=draft,
            error=error,
            suggestions=suggestions(found),
            lifetimes=LIFETIMES,
        )

    @pages.get("/compose")
    @page(Scope.SEND)
    async def write_message() -> Response:
        """Offer the form."""
        draft = blank(person.get().name)
        reply_to = number(request.args.get("reply"))
        if reply_to is not None:
            draft = blank(person.get().name, await service.read(messages_read.get_message, reply_to))
        elif request.args.get("to"):
            draft = Draft(draft.key, to=request.args["to"][:_MAX_NAME])
        return await show(draft)

    @pages.post("/compose")
    @page(Scope.SEND)
    async def send_message() -> Response:
        """Send what stands in the form."""
        draft = draft_of(await form())
        try:
            sent, _ = await service.write(messages.send, await ask(draft))
        except RelayError as error:
            return await show(draft, error)
        return go(f"/threads/{sent.thread_id}#message-{sent.id}", said=told(sent))

    async def ask(draft: Draft) -> SendRequest:
        if not draft.body.strip():
            raise Invalid("there is nothing to send", fields=(FieldError("body", "expected some text"),))
        meta: dict[str, Any] = {"priority": "urgent"} if draft.urgent else {}
        return SendRequest(
            sender=person.get().name,
            to=await addressee(draft.to.strip()),
            body=draft.body,
            subject=draft.subject.strip()[:500] or None,
            channel=draft.channel.strip()[:_MAX_NAME] or None,
            reply_to=draft.reply_to,
            claimable=draft.claimable,
            meta=meta,
            idempotency_key=draft.key,
            ttl_ms=int(draft.ttl) if draft.ttl in LIFETIMES and draft.ttl else None,
        )

    async def addressee(given: str) -> str:
        """What a person typed as an address: what it says, or the one agent that is called so."""
        found = await service.read(agents.list_agents)
        if any(each.id == given for each in found):
            return given
        called = [each for each in found if given.lower() in {(each.label or "").lower(), each.name.lower()}]
        if given and len(called) == 1:
            return called[0].id
        if len(called) > 1:
            raise NotFound(
                f"several agents are called {given}",
                code="unknown_recipient",
                fields=(FieldError("to", f"expected one of {', '.join(each.id for each in called[:5])}"),),
            )
        return given


def draft_of(fields: dict[str, str]) -> Draft:
    """The form as it was filled in."""
    return Draft(
        key=fields.get("key", "")[:_MAX_NAME] or secrets.token_urlsafe(12),
        to=fields.get("to", "")[:_MAX_NAME],
        subject=fields.get("subject", ""),
        body=fields.get("body", ""),
        channel=fields.get("channel", ""),
        reply_to=number(fields.get("reply_to")),
        claimable="claimable" in fields,
        urgent="urgent" in fields,
        ttl=fields.get("ttl", ""),
    )


def told(sent: SentMessage) -> str:
    """What a person hears of a message they have sent: the truth about who gets it when."""
    if sent.parked_reason:
        return f"Message {sent.id} is held: its thread is parked for a person, because {sent.parked_reason}."
    if sent.parked:
        return f"Nobody answers to {sent.to} yet. Message {sent.id} waits for the first who does."
    if len(sent.recipients) <= _NAMED:
        parts = [f"{each.agent_id} {_VERDICTS[each.verdict]}" for each in sent.recipients]
    else:
        counted = Counter(_IN_SHORT[each.verdict] for each in sent.recipients)
        each_kind = ", ".join(f"{count} {kind}" for kind, count in counted.most_common())
        parts = [f"Of {len(sent.recipients)} recipients {each_kind}"]
    return f"Message {sent.id} is safe. " + "; ".join(parts) + "."


def suggestions(found: list[Agent]) -> list[tuple[str, str]]:
    """Addresses to offer, each with what it is: agents, those who are there first, then what several answer to."""
    there = sorted(found, key=lambda agent: (agent.status is AgentStatus.OFFLINE, agent.id))
    names = [(agent.id, agent.label or agent.name or agent.id) for agent in there[:200]]
    groups = Counter(
        selector
        for agent in found
        for selector in (
            *(f"tag:{tag}" for tag in agent.tags),
            *(f"cap:{capability}" for capability in agent.capabilities),
            *([f"label:{agent.label}"] if agent.label else []),
        )
    )
    return [
        (BROADCAST, "everybody who is there"),
        *((name, f"{count} agents" if count != 1 else "1 agent") for name, count in groups.most_common(100)),
        *names,
    ]
