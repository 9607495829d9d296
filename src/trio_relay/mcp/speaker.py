"""Whose word a tool call is. Never what the arguments say: a model cannot speak as another agent.

In this order: the agent a token is bound to; the one a program was started to speak for; the agent whose registered session the call comes from (Codex writes the
thread into every call's ``_meta``, where the model has no say; a program of ours knows the session it was started in);
the mailbox of the person who started the program. Who can be told by none of these may look around, not speak.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from trio_relay.client.http import RelayClient
from trio_relay.core.model import MAILBOX_RIG, AgentStatus
from trio_relay.core.wire import Agent, AgentRegistration, SessionFields
from trio_relay.errors import Conflict, NotFound, Refused

#: Where Codex (0.130 to 0.169) describes the turn a tool call comes from: thread_id, turn_id, session_id.
TURN = "x-codex-turn-metadata"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a call comes from.

    `sessions` are the ids of the session (of a sub-agent also its parent's), the closest first, `turn` the turn, if
    the client says. `named` is who speaks, as whoever started the program has said; `mailbox` speaks when the session
    is nobody's.
    """

    sessions: tuple[str, ...] = ()
    turn: str | None = None
    named: str | None = None
    mailbox: str | None = None


def origin_of(
    meta: Mapping[str, Any] | None,
    *,
    sessions: Sequence[str] = (),
    named: str | None = None,
    mailbox: str | None = None,
) -> Origin:
    """Read where a call comes from in its ``_meta``; the rest is what the program itself was started with."""
    described = (meta or {}).get(TURN)
    turn: Mapping[str, Any] = described if isinstance(described, Mapping) else {}
    told = [turn.get(name) for name in ("thread_id", "session_id")]
    turn_id = turn.get("turn_id")
    return Origin(
        sessions=tuple(dict.fromkeys([*(one for one in told if isinstance(one, str) and one), *sessions])),
        turn=turn_id if isinstance(turn_id, str) else None,
        named=named,
        mailbox=mailbox,
    )


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who a call speaks as: an agent, and the instance of it that is registered now."""

    agent_id: str
    session: SessionFields


async def speaker_of(relay: RelayClient, origin: Origin, *, mailbox: bool = True) -> Speaker:
    """Tell whose word a call is. Without `mailbox` none is made for whoever has none: they only look.

    Raises:
        Refused: nobody's that the relay knows (``unknown_session``, ``unknown_speaker``), or the token is bound to
            another than the one named (``not_your_agent``).
        Conflict: two agents have registered this session (``ambiguous_session``).

    """
    bound = (await relay.whoami()).agent_id
    if bound is not None and origin.named not in (None, bound):
        raise Refused(f"the token is bound to {bound!r}, not to {origin.named!r}", code="not_your_agent")
    decided = bound or origin.named
    if decided is not None:
        # A session has a program that registers it. A mailbox in its place would look to that like a newer instance.
        return await _present(relay, decided, mailbox=mailbox and not (bound and origin.sessions))
    for session in origin.sessions:
        agent = await _registered(relay, session)
        if agent is not None:
            return _as(agent)
    if origin.mailbox is not None:
        return await _present(relay, origin.mailbox, mailbox=mailbox)
    if origin.sessions:
        raise Refused(
            "no agent has registered the session this call comes from, so the relay cannot tell who you are",
            code="unknown_session",
        )
    raise Refused(
        "the relay cannot tell who you are: connect with a token bound to an agent "
        "(trio-relay tokens mint --agent NAME), or through `trio-relay mcp`",
        code="unknown_speaker",
    )


async def _registered(relay: RelayClient, session: str) -> Agent | None:
    """The agent whose session this is; of several those that are there count."""
    found = await relay.agents(thread=session)
    present = [agent for agent in found if agent.status is not AgentStatus.OFFLINE] or found
    if len(present) > 1:
        raise Conflict("two agents have registered this session", code="ambiguous_session")
    return present[0] if present else None


async def _present(relay: RelayClient, agent_id: str, *, mailbox: bool) -> Speaker:
    """An agent by its id; one nobody has registered gets a `mailbox`, so that others can answer it."""
    try:
        return _as(await relay.agent(agent_id))
    except NotFound:
        own = AgentRegistration(id=agent_id, rig=MAILBOX_RIG, status=AgentStatus.OFFLINE, ready=False)
    if mailbox:
        with suppress(
            Refused
        ):  # a token that may send and not receive: nobody can answer it, and that is meant
            return _as(await relay.register(own))
    return Speaker(agent_id, SessionFields())


def _as(agent: Agent) -> Speaker:
    return Speaker(agent.id, SessionFields(instance_id=agent.instance_id, epoch=agent.epoch))
