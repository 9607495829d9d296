"""Why is it not there yet: one message's timeline, where each recipient stands, and what it waits for."""

from trio_relay.core.model import AgentStatus, Rung, Verdict
from trio_relay.core.wire_rooms import ExplainedRecipient, ExplainedStep, Explanation
from trio_relay.relay.operations.messages import verdict_of
from trio_relay.relay.operations.messages_read import readable_row
from trio_relay.relay.operations.receipts import receipts
from trio_relay.relay.operations.tx import Row, Tx, from_json
from trio_relay.store.queries import queries

#: Recipients that a summary names one by one.
_NAMED = 5


def explain(tx: Tx, message_id: int) -> Explanation:
    """Tell a message's story."""
    message = readable_row(tx, message_id)
    recipients = [
        _recipient(tx, message, row) for row in list(queries.recipients(tx.connection, message_id=message_id))
    ]
    return Explanation(
        message_id=message_id,
        summary=_summary(tx, message, recipients),
        recipients=recipients,
        timeline=_timeline(tx, message),
    )


def _timeline(tx: Tx, message: Row) -> list[ExplainedStep]:
    accepted = {"from": message["sender"], "to": message["target"]}
    steps = [ExplainedStep(at=message["created_at"], what=Rung.ACCEPTED, evidence=accepted)]
    steps += [
        ExplainedStep(at=step.at, what=step.state, agent_id=receipt.agent_id, evidence=step.evidence)
        for receipt in receipts(tx, message["id"])
        for step in receipt.steps
        if step.state is not Rung.ACCEPTED
    ]
    for row in queries.events_about(tx.connection, message_id=message["id"]):
        if row["type"] not in ("message.receipt", "message.new"):
            data = from_json(row["data"])
            steps.append(ExplainedStep(at=row["at"], what=row["type"], agent_id=data.get("agentId")))
    return sorted(steps, key=lambda step: step.at)


def _summary(tx: Tx, message: Row, recipients: list[ExplainedRecipient]) -> str:
    held: Row | None = queries.is_held(tx.connection, message_id=message["id"])
    if held is not None:
        thread: Row = queries.get_thread(tx.connection, id=message["thread_id"])
        return f"Held: thread {message['thread_id']} is parked for a person ({thread['reason']})."
    if not recipients:
        return _without_recipients(tx, message)
    waiting = [each for each in recipients if each.waiting_for is not None]
    if not waiting:
        unmet = [each for each in recipients if each.state is not Rung.SETTLED]
        if unmet:
            more = f" and {len(unmet) - _NAMED} more" if len(unmet) > _NAMED else ""
            return (
                f"Ended: {', '.join(f'{each.state} for {each.agent_id}' for each in unmet[:_NAMED])}{more}."
            )
        return "Every recipient is done with it."
    return "; ".join(f"{each.agent_id}: {each.waiting_for}" for each in waiting)


def _without_recipients(tx: Tx, message: Row) -> str:
    """What became of a message that is in nobody's inbox: any agent may have claimed it all the same."""
    lease: Row | None = message["lease_key"] and queries.get_lease(tx.connection, key=message["lease_key"])
    if lease is not None and lease["state"] == "held" and lease["expires_at"] > tx.now:
        meanwhile = "" if message["withdrawn"] is None else f" Withdrawn meanwhile: {message['withdrawn']}."
        return f"Claimed by {lease['holder']}, though nobody answers to {message['target']!r}.{meanwhile}"
    # A completed lease keeps its token; one that was ended from outside has none.
    if lease is not None and lease["state"] == "done" and lease["token"] is not None:
        return f"Completed by {lease['holder']}."
    if message["withdrawn"] is not None:
        claimed = lease is not None and lease["attempts"] > 0
        return f"Withdrawn before anybody {'had done' if claimed else 'had'} it: {message['withdrawn']}."
    if lease is not None and lease["state"] == "done":
        return "Ended from outside: nobody can claim it any more."
    if lease is not None and lease["state"] == "dead":
        return "Ended: claimed too often without completion."
    return f"Parked: nobody answers to {message['target']!r} yet."


def _recipient(tx: Tx, message: Row, row: Row) -> ExplainedRecipient:
    agent: Row | None = queries.get_agent(tx.connection, id=row["agent_id"])
    state = Rung(row["state"])
    return ExplainedRecipient(
        agent_id=row["agent_id"],
        state=state,
        verdict=verdict_of(row["status"], row["ready"]),
        attempts=row["attempts"],
        last_seen=None if agent is None else agent["last_seen"],
        waiting_for=waiting_for(message, state, agent),
    )


def waiting_for(message: Row, state: Rung, agent: Row | None) -> str | None:  # noqa: PLR0911  # a table of reasons
    """What a delivery on this rung waits for, in words; None: it has ended."""
    if state in (Rung.SETTLED, Rung.EXPIRED, Rung.RETRACTED, Rung.DEAD):
        return None
    if state is Rung.ANSWERED:
        return "answered; its program has not settled it"
    if state is Rung.IN_CONTEXT:
        return "in the model's context; the turn has not ended"
    if state is Rung.HANDED_OFF:
        return "handed off; not seen in the model's context yet"
    if agent is None:
        return "the agent is not registered any more"
    if agent["status"] == AgentStatus.OFFLINE:
        return "the agent is offline"
    if message["claimed_by"] is not None and message["claimed_by"] != agent["id"]:
        return f"claimed by {message['claimed_by']}"
    if verdict_of(agent["status"], agent["ready"]) is Verdict.DEAF:
        return f"the agent is not ready: {agent['ready_reason'] or 'it has not said so'}"
    return "in the inbox; its program has not taken it"
