"""The mailbox of a person or script at the command line: an agent that is offline until it looks.

Being registered lets others answer; being offline says honestly that nobody is reading right now, and keeps
broadcasts out of a box that may never be opened.
"""

from trio_relay.cli.environment import own_agent_id
from trio_relay.client.http import RelayClient
from trio_relay.core.model import MAILBOX_RIG, AgentStatus
from trio_relay.core.wire import AgentRegistration
from trio_relay.errors import NotFound


async def open_mailbox(relay: RelayClient, agent_id: str | None) -> str:
    """Give the id to send from or read for, registered if it is not yet; without one, the user's own at this host."""
    wanted = agent_id or own_agent_id()
    try:
        await relay.agent(wanted)
    except NotFound:
        registration = AgentRegistration(id=wanted, rig=MAILBOX_RIG, status=AgentStatus.OFFLINE, ready=False)
        await relay.register(registration)
    return wanted
