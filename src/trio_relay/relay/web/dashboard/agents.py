"""Agents: all of them, and one with its inbox; its label and tags are a person's to change."""

import re
from urllib.parse import quote

from quart import Blueprint, Response, request

from trio_relay.core.access import Scope
from trio_relay.core.model import AgentStatus
from trio_relay.core.wire import LabelChange, TagsChange
from trio_relay.errors import NotFound
from trio_relay.relay.operations import agents, board
from trio_relay.relay.operations.board import Seen
from trio_relay.relay.web.dashboard.frame import Frame, asked, form, go, number, page, wants
from trio_relay.relay.web.dashboard.session import person

#: Rows a page of the list shows.
_ROWS = 100
_INBOX = 50


def agents_pages(pages: Blueprint, frame: Frame) -> None:
    """The routes of agents."""
    service = frame.service

    @pages.get("/agents")
    @page(Scope.OBSERVE)
    async def all_agents() -> Response:
        """Show who is in the room."""
        status, words = request.args.get("status", ""), request.args.get("q", "")
        again = asked()
        if again is not None:
            names = [key.removeprefix("agent:") for key in again.keys]
            found = await service.read(board.these, names, newer_than=again.after)
        else:
            found = await service.read(board.everyone) if wants("agents") else []
        matching = [each for each in found if _matches(each, status, words)]
        begin = number(request.args.get("from")) or 0
        return await frame.show(
            "agents.html",
            title="Agents",
            here="agents",
            agents=matching[begin : begin + _ROWS],
            total=len(matching),
            newest=max((each.agent.created_at for each in found), default=0),
            nobody=not found,
            more=begin + _ROWS if len(matching) > begin + _ROWS else None,
            chosen=status,
            words=words,
            statuses=[*AgentStatus],
        )

    @pages.get("/agents/<agent_id>")
    @page(Scope.OBSERVE)
    async def one_agent(agent_id: str) -> Response:
        """Show one agent and its inbox."""
        seen = await service.read(board.one, agent_id)
        if seen is None:
            raise NotFound(f"no agent {agent_id!r} is registered", code="unknown_agent")
        return await _show_agent(seen, here="agents")

    @pages.get("/inbox")
    @page(Scope.OBSERVE)
    async def own_inbox() -> Response:
        """Show what was sent to the person who looks."""
        name = person.get().name
        seen = await service.read(board.one, name)
        if seen is None:
            raise NotFound(f"{name} has no mailbox here: log in again to have one", code="unknown_agent")
        return await _show_agent(seen, here="inbox")

    async def _show_agent(seen: Seen, here: str) -> Response:
        unread = request.args.get("unread") == "1"
        inbox = []
        if wants("inbox"):
            inbox = await service.read(
                board.newest_of_inbox,
                seen.agent.id,
                unread=unread,
                before=number(request.args.get("before")),
                limit=_INBOX,
            )
        return await frame.show(
            "agent.html",
            title="Your inbox" if here == "inbox" else seen.agent.label or seen.agent.id,
            here=here,
            seen=seen,
            agent=seen.agent,
            inbox=inbox,
            unread=unread,
            more=inbox[-1].inbox_seq if len(inbox) == _INBOX else None,
        )

    @pages.post("/agents/<agent_id>/label")
    @page(Scope.RECEIVE)
    async def set_label(agent_id: str) -> Response:
        """Give an agent a label; an empty one takes it away."""
        label = (await form()).get("label", "").strip()
        person.get().principal.check_actor(agent_id, "agent_id")
        await service.write(agents.set_label, agent_id, LabelChange(label=label[:200] or None))
        return go(
            f"/agents/{quote(agent_id, safe='')}",
            said=f"The label is {label}." if label else "The label is gone.",
        )

    @pages.post("/agents/<agent_id>/tags")
    @page(Scope.RECEIVE)
    async def set_tags(agent_id: str) -> Response:
        """Give an agent the tags of a list, written with commas or spaces between them."""
        tags = [tag[:200] for tag in re.split(r"[,\s]+", (await form()).get("tags", "")) if tag][:100]
        person.get().principal.check_actor(agent_id, "agent_id")
        await service.write(agents.set_tags, agent_id, TagsChange(tags=tags))
        return go(f"/agents/{quote(agent_id, safe='')}", said="The tags are saved.")


def _matches(seen: Seen, status: str, words: str) -> bool:
    agent = seen.agent
    if status == "deaf" and seen.trouble is None:
        return False
    if status not in ("", "deaf") and agent.status != status:
        return False
    text = " ".join(
        [agent.id, agent.label or "", agent.name, agent.machine, *agent.tags, *agent.capabilities]
    )
    return all(word in text.lower() for word in words.lower().split())
