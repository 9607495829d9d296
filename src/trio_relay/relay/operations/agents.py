"""Agents: who is in the room, which instance speaks for them, what they answer to.

Epoch fencing: a registration with a new ``instanceId`` raises ``epoch``; whoever calls with an older one is refused
and changes nothing. Calls that name no instance come from older clients. They are accepted, but where the registered
instance is live and identifies itself in its calls, they do not overrule it: the answer shows what stands.
"""

from collections.abc import Iterable

from trio_relay.core.channels import wants
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.core.targets import check_agent_id, selectors
from trio_relay.core.wire import (
    Agent,
    AgentRegistration,
    LabelChange,
    ReadyChange,
    SessionFields,
    StatusChange,
    TagsChange,
)
from trio_relay.errors import FieldError, Invalid
from trio_relay.relay.operations.approval_state import withdraw_all
from trio_relay.relay.operations.leases import take_back_leases
from trio_relay.relay.operations.pair_state import leave_pair
from trio_relay.relay.operations.receipts import climb
from trio_relay.relay.operations.tx import (
    Row,
    Tx,
    agent_of,
    agent_row,
    check_session,
    concurrent,
    dump,
    from_json,
    is_live,
)
from trio_relay.store.locks import Kind
from trio_relay.store.queries import queries


def distinct(names: Iterable[str]) -> list[str]:
    """Trimmed, without empties and repetitions, in order."""
    return list(dict.fromkeys(name.strip() for name in names if name.strip()))


def trimmed(label: str | None) -> str | None:
    """A label as it can be addressed; one of white space alone is none."""
    return (label or "").strip() or None


def register(tx: Tx, request: AgentRegistration) -> tuple[Agent, bool]:
    """Register or re-register; answer the agent and whether it is new."""
    check_agent_id(request.id)
    channels = request.meta.get("channels") or []
    if not isinstance(channels, list) or not all(isinstance(name, str) for name in channels):
        raise Invalid(
            "meta.channels must be a list", fields=(FieldError("meta.channels", "expected a list of names"),)
        )
    label = trimmed(request.label)
    tags, capabilities = distinct(request.tags), distinct(request.capabilities)
    present: Row | None = queries.get_agent(tx.connection, id=request.id)
    if present is not None and request.instance_id is None and is_live(tx, present):
        return agent_of(present), False
    values = {
        "id": request.id,
        "name": request.name or request.id,
        "label": label,
        "machine": request.machine,
        "rig": request.rig,
        "tags": dump(tags),
        "capabilities": dump(capabilities),
        "channels": dump(distinct(channels)),
        "status": request.status,
        "ready": int(request.ready or False),
        "instance_id": request.instance_id,
        "epoch": 1,
        "meta": dump(request.meta),
        "now": tx.now,
    }
    if present is None:
        queries.insert_agent(tx.connection, **values)
    else:
        if label is None:  # given by a person meanwhile; only PATCH clears it
            label = values["label"] = present["label"]
        same = present["instance_id"] == request.instance_id
        values["epoch"] = present["epoch"] + (0 if same else 1)
        if same and request.ready is None:
            values["ready"] = present["ready"]
        if not same:
            take_back_leases(tx, request.id)
            withdraw_all(tx, request.id, f"{request.id} was started anew")
        queries.reregister_agent(
            tx.connection, **values, identified_at=present["identified_at"] if same else 0
        )
    _write_selectors(tx, request.id, label, tags, capabilities)
    tx.event("agent.status", agentId=request.id, status=request.status)
    agent = agent_of(agent_row(tx, request.id))
    offer_waiting(tx, agent)
    return agent, present is None


@concurrent
def heartbeat(tx: Tx, agent_id: str, session: SessionFields) -> Agent:
    """The agent lives."""
    row = agent_row(tx, agent_id)
    if row["status"] == AgentStatus.OFFLINE:
        tx.alone()  # who is there stands still while others send
    heard = queries.identify_agent if check_session(row, session) else queries.touch_agent
    heard(tx.connection, id=agent_id, now=tx.now)
    if row["status"] == AgentStatus.OFFLINE:
        # Silence had put it offline; it is back, and says what it is doing with its next status call.
        queries.set_agent_status(tx.connection, id=agent_id, status=AgentStatus.ONLINE, now=tx.now)
        tx.event("agent.status", agentId=agent_id, status=AgentStatus.ONLINE)
        offer_waiting(tx, agent_of(agent_row(tx, agent_id)))
    return agent_of(agent_row(tx, agent_id))


@concurrent
def set_status(tx: Tx, agent_id: str, change: StatusChange) -> Agent:
    """The agent says what it is doing. Going offline gives back what it holds."""
    tx.lock(Kind.AGENT, agent_id)
    row = agent_row(tx, agent_id)
    if AgentStatus.OFFLINE in (row["status"], change.status):
        tx.alone()
    if not _may_speak(tx, row, change):
        return agent_of(row)
    queries.set_agent_status(tx.connection, id=agent_id, status=change.status, now=tx.now)
    if row["status"] != change.status:
        tx.event("agent.status", agentId=agent_id, status=change.status)
    if change.status is AgentStatus.OFFLINE:
        queries.set_agent_ready(tx.connection, id=agent_id, ready=0, reason="offline", now=tx.now)
        take_back_leases(tx, agent_id)
        leave_pair(tx, agent_id, f"{agent_id} went offline")
        withdraw_all(tx, agent_id, f"{agent_id} went offline")
    agent = agent_of(agent_row(tx, agent_id))
    if row["status"] == AgentStatus.OFFLINE:
        offer_waiting(tx, agent)
    return agent


@concurrent
def set_ready(tx: Tx, agent_id: str, change: ReadyChange) -> Agent:
    """The agent says whether it can take a message now, and if not, why."""
    tx.lock(Kind.AGENT, agent_id)
    row = agent_row(tx, agent_id)
    if not _may_speak(tx, row, change):
        return agent_of(row)
    reason = None if change.ready else change.reason
    queries.set_agent_ready(tx.connection, id=agent_id, ready=int(change.ready), reason=reason, now=tx.now)
    if bool(row["ready"]) != change.ready:
        tx.event("agent.updated", agentId=agent_id, ready=change.ready)
    return agent_of(agent_row(tx, agent_id))


def set_label(tx: Tx, agent_id: str, change: LabelChange) -> Agent:
    """Anyone who may call may relabel; only a stale instance may not."""
    row = agent_row(tx, agent_id)
    check_session(row, change)
    queries.set_agent_label(tx.connection, id=agent_id, label=trimmed(change.label), now=tx.now)
    return _readdressed(tx, agent_id)


def set_tags(tx: Tx, agent_id: str, change: TagsChange) -> Agent:
    """Replace the tags, or add and remove some."""
    row = agent_row(tx, agent_id)
    check_session(row, change)
    tags = distinct(change.tags if change.tags is not None else from_json(row["tags"]))
    removed = set(distinct(change.remove))
    tags = [tag for tag in distinct([*tags, *change.add]) if tag not in removed]
    queries.set_agent_tags(tx.connection, id=agent_id, tags=dump(tags), now=tx.now)
    return _readdressed(tx, agent_id)


def get_agent(tx: Tx, agent_id: str) -> Agent:
    """One agent."""
    return agent_of(agent_row(tx, agent_id))


def list_agents(
    tx: Tx,
    *,
    status: str | None = None,
    tag: str | None = None,
    cap: str | None = None,
    label: str | None = None,
    machine: str | None = None,
    ready: bool | None = None,
    thread: str | None = None,
) -> list[Agent]:
    """Everyone who matches every filter that is given, by id."""
    named = [
        f"{kind}:{name}" for kind, name in (("tag", tag), ("cap", cap), ("label", label)) if name is not None
    ]
    rows: list[Row] = (
        queries.list_agents_matching(tx.connection, selector=named[0])
        if named
        else queries.list_agents(tx.connection)
    )
    agents = [agent_of(row) for row in rows]
    return [
        agent
        for agent in agents
        if (status is None or agent.status == status)
        and (tag is None or tag in agent.tags)
        and (cap is None or cap in agent.capabilities)
        and (label is None or label == agent.label)
        and (machine is None or machine == agent.machine)
        and (ready is None or ready == agent.ready)
        and (thread is None or thread == agent.meta.get("threadId"))
    ]


def remove_agent(tx: Tx, agent_id: str) -> None:
    """The agent leaves for good: what it holds is given back, what waits for it ends as dead, with the reason."""
    agent_row(tx, agent_id)
    take_back_leases(tx, agent_id)
    leave_pair(tx, agent_id, f"{agent_id} was removed")
    withdraw_all(tx, agent_id, f"{agent_id} was removed")
    for row in list(queries.open_deliveries_of(tx.connection, agent_id=agent_id)):
        climb(tx, row["message_id"], agent_id, Rung.DEAD, {"reason": "agent removed"})
    queries.delete_agent(tx.connection, id=agent_id)
    tx.event("agent.removed", agentId=agent_id)
    tx.wake.add(agent_id)


def offer_waiting(tx: Tx, agent: Agent) -> None:
    """Queue for `agent` what still looks for takers: parked messages, open claimables.

    What names the agent itself waits in its inbox also while it is offline, and on whatever channel, as when it is sent.
    """
    for row in list(queries.open_targets_for(tx.connection, agent_id=agent.id)):
        for_anyone = row["target"] != agent.id
        if for_anyone and (agent.status is AgentStatus.OFFLINE or not wants(agent.channels, row["channel"])):
            continue
        if row["sender"] == agent.id:
            continue
        added = queries.insert_inbox(
            tx.connection, agent_id=agent.id, message_id=row["message_id"], late=1, now=tx.now
        )
        if row["kind"] == "parked":
            queries.close_open_target(tx.connection, message_id=row["message_id"])
        if added:
            tx.tally["rung", Rung.QUEUED] += 1
            tx.wake.add(agent.id)


def _may_speak(tx: Tx, row: Row, session: SessionFields) -> bool:
    known = check_session(row, session)
    if known:
        queries.identify_agent(tx.connection, id=row["id"], now=tx.now)
    return known or not is_live(tx, row)


def _readdressed(tx: Tx, agent_id: str) -> Agent:
    agent = agent_of(agent_row(tx, agent_id))
    _write_selectors(tx, agent_id, agent.label, agent.tags, agent.capabilities)
    tx.event("agent.updated", agentId=agent_id)
    offer_waiting(tx, agent)
    return agent


def _write_selectors(
    tx: Tx, agent_id: str, label: str | None, tags: list[str], capabilities: list[str]
) -> None:
    queries.clear_selectors(tx.connection, agent_id=agent_id)
    for selector in sorted(selectors(agent_id, label=label, tags=tags, capabilities=capabilities)):
        queries.insert_selector(tx.connection, selector=selector, agent_id=agent_id)
