"""What the relay itself says to an agent: an expiry, a parked thread, an ended pair."""

from typing import Any

from trio_relay.core.model import SYSTEM, Authority
from trio_relay.relay.operations.tx import Row, Tx, dump
from trio_relay.store.queries import queries


def notify(tx: Tx, agent_id: str, kind: str, body: str, *, meta: dict[str, Any]) -> int | None:
    """Put a message from the relay into an agent's inbox; nobody of that name: nothing, and None.

    A notice is no part of the thread it speaks of, so that it can neither loop nor be answered.
    """
    tx.alone()
    agent: Row | None = queries.get_agent(tx.connection, id=agent_id)
    if agent is None:
        return None
    message_id: int = queries.insert_message(
        tx.connection,
        sender=SYSTEM,
        target=agent_id,
        channel=None,
        subject=None,
        body=body,
        reply_to=None,
        thread_id=0,
        hop=0,
        path="[]",
        claimable=0,
        type=kind,
        meta=dump(meta),
        authority=Authority.OPERATOR,
        expires_at=None,
        supersedes=None,
        collapse_key=None,
        now=tx.now,
    )
    queries.insert_inbox(tx.connection, agent_id=agent_id, message_id=message_id, late=0, now=tx.now)
    tx.event("message.new", messageId=message_id, sender=SYSTEM, to=agent_id, channel=None)
    tx.wake.add(agent_id)
    return message_id
