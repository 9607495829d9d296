"""A person at a terminal, as an agent that is there: registered, heard from, ready, and offline once they leave.

No instance is named: a person may sit at two terminals at once, and neither takes the place of the other. When one
leaves, the other says with its next heartbeat that somebody is still there.

What the receipts say of a message that is printed here: ``handed_off``, evidence ``{"by": "terminal"}``. That somebody
looks at the terminal is not known, so more is not said until they do something about it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio

from trio_relay.cli.shared.failures import REFUSED, Failure
from trio_relay.client.http import RelayClient
from trio_relay.core.model import CANARY, MAILBOX_RIG, AgentStatus, Rung
from trio_relay.core.wire import AgentRegistration, InboxMessage
from trio_relay.errors import Conflict, NotFound, RelayError
from trio_relay.supervise import WEATHER

#: Seconds between heartbeats, and how long the relay is given to hear that we leave.
HEARTBEAT = 20.0
_GOODBYE = 3.0
EVIDENCE = {"by": "terminal"}


async def is_mailbox(relay: RelayClient, agent_id: str) -> bool:
    """Tell whether this is somebody's mailbox; what else there is belongs to a program, which speaks for it."""
    return (await relay.agent(agent_id)).rig == MAILBOX_RIG


@asynccontextmanager
async def present(relay: RelayClient, agent_id: str) -> AsyncIterator[None]:
    """Be there as this mailbox while the block runs.

    Raises:
        Failure: it is no mailbox.

    """
    try:
        mailbox = await is_mailbox(relay, agent_id)
    except NotFound:
        mailbox = True
    if not mailbox:
        raise Failure(
            f"{agent_id} is the agent of a program, which speaks for it: name another with --from", REFUSED
        )
    await _be_there(relay, agent_id)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_heartbeats, relay, agent_id)
        try:
            yield
        finally:
            nursery.cancel_scope.cancel()
            with trio.move_on_after(_GOODBYE, shield=True), suppress(RelayError):
                await relay.set_status(agent_id, AgentStatus.OFFLINE)


async def take(relay: RelayClient, agent_id: str, message: InboxMessage) -> bool:
    """Say that a message is about to be shown; False: it has lost its point meanwhile, or is not for people's eyes."""
    try:
        if message.state is Rung.QUEUED:
            await relay.report(message.id, agent_id, Rung.HANDED_OFF, EVIDENCE)
        if message.type == CANARY:
            await relay.report(message.id, agent_id, Rung.SETTLED, EVIDENCE)
    except (Conflict, NotFound):
        return False
    except WEATHER:
        pass  # shown all the same: it is then proven less than it could be
    return message.type != CANARY


async def _heartbeats(relay: RelayClient, agent_id: str) -> None:
    while True:
        await trio.sleep(HEARTBEAT)
        with suppress(*WEATHER):  # whoever waits for messages says that the relay is away
            await _be_there(relay, agent_id)


async def _be_there(relay: RelayClient, agent_id: str) -> None:
    try:
        agent = await relay.heartbeat(agent_id)
    except NotFound:
        mailbox = AgentRegistration(id=agent_id, rig=MAILBOX_RIG, status=AgentStatus.IDLE, ready=True)
        agent = await relay.register(mailbox)
    if agent.status is not AgentStatus.IDLE:
        agent = await relay.set_status(agent_id, AgentStatus.IDLE)
    if not agent.ready:
        await relay.set_ready(agent_id, ready=True)
