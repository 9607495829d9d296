"""The calls that stand in modules of their own, against a whole relay."""

import pytest

from support.relay import Room
from trio_relay.client import RelayClient, admin, leases, tasks
from trio_relay.core.access import Scope
from trio_relay.core.tasks import TaskStatus
from trio_relay.core.wire import AgentRegistration, SendRequest
from trio_relay.core.wire_access import TokenRequest
from trio_relay.core.wire_rooms import LeaseChange, LeaseRequest
from trio_relay.core.wire_tasks import IntegrationEvent, TaskClaim, TaskStatusChange
from trio_relay.errors import Conflict, LeaseLost


async def test_a_task_is_posted_claimed_and_ended(room: Room) -> None:
    await room.relay.register(AgentRegistration(id="bob"))
    minted = await admin.mint_token(room.relay, TokenRequest(name="ci", scopes=[Scope.INTEGRATE]))
    async with RelayClient.open(room.relay.url, minted.token, transport=room.transport) as ci:
        task = await tasks.post_event(ci, IntegrationEvent(title="red", target="bob"))
    claimed = await tasks.claim(room.relay, task.id, TaskClaim(agent_id="bob"))
    with pytest.raises(LeaseLost):
        await tasks.set_status(
            room.relay,
            task.id,
            TaskStatusChange(status=TaskStatus.DONE, agent_id="bob", lease_token="old"),
        )
    done = TaskStatusChange(
        status=TaskStatus.DONE, agent_id="bob", result="green", lease_token=claimed.lease_token
    )
    await tasks.set_status(room.relay, task.id, done)
    ended = await tasks.get_task(room.relay, task.id)
    assert (ended.status, ended.result) == (TaskStatus.DONE, "green")
    assert await tasks.list_tasks(room.relay, status=TaskStatus.DONE, limit=5) == [ended]
    assert await tasks.list_tasks(room.relay, status=TaskStatus.OPEN) == []
    told = [entry.type for entry in await tasks.history(room.relay, task.id)]
    assert told[0] == "created"
    assert await tasks.history(room.relay, task.id, after=10_000) == []
    assert await tasks.callbacks(room.relay, task.id) == []


async def test_a_named_resource_is_held_by_one(room: Room) -> None:
    held = await leases.acquire(room.relay, LeaseRequest(key="file:src/**", holder="ann"))
    with pytest.raises(Conflict):
        await leases.acquire(room.relay, LeaseRequest(key="file:src/a.py", holder="bob"))
    assert held.lease_token is not None
    change = LeaseChange(key="file:src/**", holder="ann", lease_token=held.lease_token)
    await leases.renew(room.relay, change)
    assert [one.holder for one in await leases.list_leases(room.relay, key="file:src/a.py")] == ["ann"]
    await leases.release(room.relay, change)
    with pytest.raises(LeaseLost):
        await leases.complete(room.relay, change)
    assert await leases.list_leases(room.relay, holder="ann") == []


async def test_a_message_is_found_and_withdrawn(room: Room) -> None:
    await room.relay.register(AgentRegistration(id="bob"))
    sent = await room.relay.send(SendRequest(sender="ann", to="bob", body="the migration"))
    assert [found.id for found in await admin.search(room.relay, "migration")] == [sent.id]
    withdrawal = await admin.retract(room.relay, sent.id, "ann", "mistake")
    assert withdrawal.retracted == ["bob"]
    assert await admin.dead_letters(room.relay) == []
    with pytest.raises(Conflict, match="was withdrawn: mistake"):
        await admin.redrive(room.relay, sent.id)
