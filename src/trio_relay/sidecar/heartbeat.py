"""Heartbeats: a task of their own, so that nothing slow can delay them."""

from functools import partial

import trio

from trio_relay.sidecar.session import Session
from trio_relay.sidecar.status import Situation


async def heartbeat(session: Session, situation: Situation, every: float) -> None:
    """Task: say every so many seconds that the agent lives, and hear what the relay believes of it.

    Ends with `Unregistered` or `StaleInstance` when the relay knows it no more, or another in its place.
    """
    while True:
        await trio.sleep(every)
        situation.relay_said(
            await session.insist(partial(session.relay.heartbeat, session.agent_id, session=session.fields))
        )
