"""Whose name an agent bears when it takes up a thread: the one that was in it last.

An agent is named after the thread it began in, and goes on with its person. So the thread that is taken up in a later
session may have belonged to an agent of another name: that one comes back, with what is waiting for it. And the name of
the thread may belong to an agent that is at work in another thread now: it is left alone.
"""

from trio_relay.client import RelayClient
from trio_relay.core.identity import agent_id
from trio_relay.core.model import AgentStatus
from trio_relay.errors import NotFound
from trio_relay.sidecar.whoami import Identity


async def settle_name(relay: RelayClient, me: Identity, thread_id: str) -> str:
    """Ask the relay under which name to take up a thread. Raises what its client raises."""
    there = [
        agent
        for agent in await relay.agents(thread=thread_id)
        if agent.meta.get("threadId") == thread_id  # a relay of 0.4 does not know this filter
        and agent.meta.get("client") == "codex"
        and (agent.machine, agent.rig) == (me.host, me.rig)
    ]
    if any(agent.id == me.agent_id for agent in there):
        return me.agent_id
    gone = [agent.id for agent in there if agent.status is AgentStatus.OFFLINE]
    if len(gone) == 1:
        return gone[0]
    try:
        namesake = await relay.agent(me.agent_id)
    except NotFound:
        return me.agent_id
    elsewhere = namesake.meta.get("threadId") not in {None, thread_id}
    if elsewhere and namesake.status is not AgentStatus.OFFLINE:
        return agent_id(me.host, me.rig, me.project, me.instance_id)
    return me.agent_id
