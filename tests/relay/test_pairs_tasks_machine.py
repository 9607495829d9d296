"""Pairs and tasks as a state machine: random histories in which every promise is checked after every step.

A pair occupies exactly its two members (and nobody is in two); a task stands where the lease of its message says; the
outbox tells every change of a task, in order; a refused or repeated request changes nothing.
"""

import json
import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from support.sync_room import SyncRoom
from trio_relay.core.integrations import Integration
from trio_relay.core.model import AgentStatus
from trio_relay.core.tasks import ENDED, HELD, TaskStatus, may_follow
from trio_relay.core.wire import AgentRegistration, ClaimRequest, SendRequest, StatusChange
from trio_relay.core.wire_pairs import PairAnswer, PairInvite, PairStatus
from trio_relay.core.wire_rooms import RetractRequest
from trio_relay.core.wire_tasks import IntegrationEvent, TaskClaim, TaskStatusChange
from trio_relay.errors import RelayError
from trio_relay.relay.operations import (
    agents,
    freshness,
    integrations,
    leases,
    messages,
    pairs,
    tasks,
    upkeep,
)
from trio_relay.relay.operations.callbacks import Posted, next_due, record
from trio_relay.relay.operations.tx import Policy

AGENTS = ("ann", "bob", "cid")
EXAMPLES = int(os.environ.get("MACHINE_EXAMPLES", "150"))
CI = Integration("ci", "t", callback_url="https://ci.example/")
INVITE_TTL = 60_000

agent_ids = st.sampled_from(AGENTS)


class PairsAndTasks(RuleBasedStateMachine):
    made = Bundle("made")
    invited = Bundle("invited")

    def __init__(self) -> None:
        super().__init__()
        self.room = SyncRoom(Policy(max_attempts=3))

    def teardown(self) -> None:
        self.room.close()

    @initialize()
    def everybody_is_there(self) -> None:
        for agent in AGENTS:
            self.come(agent)

    def attempt(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        """Do it, or be refused and find everything as it was."""
        before = self.room.dump()
        try:
            return self.room.do(operation, *args, **kwargs)
        except RelayError:
            assert self.room.dump() == before
            return None

    # Agents and time

    @rule(agent=agent_ids)
    def come(self, agent: str) -> None:
        self.room.do(agents.register, AgentRegistration(id=agent, tags=["ops"], ready=True))

    @rule(agent=agent_ids, for_good=st.booleans())
    def go(self, agent: str, *, for_good: bool) -> None:
        if for_good:
            self.attempt(agents.remove_agent, agent)
        else:
            self.attempt(agents.set_status, agent, StatusChange(status=AgentStatus.OFFLINE))

    @rule(ms=st.sampled_from([1_000, 30_000, 60_000, 90_000]), kept=st.booleans())
    def time_passes(self, ms: int, *, kept: bool) -> None:
        """The relay may or may not have kept house meanwhile."""
        self.room.now += ms
        if kept:
            self.room.do(upkeep.expire_leases)
            self.room.do(pairs.expire_invites)
            self.room.do(upkeep.silence_stale)

    # Pairs

    @rule(target=invited, sender=agent_ids, to=st.sampled_from([*AGENTS, "ops"]))
    def invite(self, sender: str, to: str) -> Any:
        made = self.attempt(pairs.invite, PairInvite(sender=sender, target=to), ttl_ms=INVITE_TTL)
        return made.id if made is not None else multiple()

    @rule(pair_id=invited, agent=agent_ids, verb=st.sampled_from([pairs.accept, pairs.reject, pairs.hang_up]))
    def answer(self, pair_id: int, agent: str, verb: Any) -> None:
        answered = self.attempt(verb, pair_id, PairAnswer(agent_id=agent))
        if answered is not None:
            before = self.room.dump()
            again = self.room.do(verb, pair_id, PairAnswer(agent_id=agent))
            assert (again, self.room.dump()) == (answered, before)

    # Tasks

    @rule(target=made, key=st.sampled_from(["a", "b", None]), status=st.sampled_from([None, "resolved"]))
    def happen(self, key: str | None, status: str | None) -> Any:
        event = IntegrationEvent(dedupe_key=key, title="t", target="tag:ops", status=status)
        taken = self.attempt(integrations.take_event, CI, event)
        return taken[0].id if taken is not None else multiple()

    @rule(task_id=made, agent=agent_ids, by_message=st.booleans())
    def claim(self, task_id: int, agent: str, *, by_message: bool) -> None:
        task = self.room.do(tasks.get_task, task_id)
        if by_message and task.message_id is not None:
            self.attempt(leases.claim, task.message_id, ClaimRequest(agent_id=agent))
        else:
            self.attempt(tasks.claim, task_id, TaskClaim(agent_id=agent))

    @rule(task_id=made)
    def the_holder_ends_it(self, task_id: int) -> None:
        task = self.room.do(tasks.get_task, task_id)
        if task.claimed_by is not None and task.message_id is not None:
            self.attempt(leases.complete, task.message_id, ClaimRequest(agent_id=task.claimed_by))

    @rule(
        task_id=made,
        agent=st.one_of(st.none(), agent_ids),
        status=st.sampled_from(TaskStatus),
        progress=st.sampled_from([None, 1, 2]),
    )
    def report(self, task_id: int, agent: str | None, status: TaskStatus, progress: int | None) -> None:
        before = self.room.do(tasks.get_task, task_id)
        change = TaskStatusChange(status=status, agent_id=agent, progress=progress)
        after = self.attempt(tasks.set_status, task_id, change)
        if after is not None:
            assert may_follow(before.status, after.status) or after.status is TaskStatus.FAILED
            if agent is not None and before.status in HELD and after.status is not before.status:
                assert before.claimed_by == agent

    @rule(task_id=made, agent=agent_ids, verb=st.sampled_from([leases.renew, leases.release]))
    def keep_or_give_back_the_message(self, task_id: int, agent: str, verb: Any) -> None:
        message_id = self.room.do(tasks.get_task, task_id).message_id
        if message_id is not None:
            self.attempt(verb, message_id, ClaimRequest(agent_id=agent))

    @rule(task_id=made, verb=st.sampled_from([leases.redrive, messages.delete]))
    def a_person_steps_in(self, task_id: int, verb: Any) -> None:
        message_id = self.room.do(tasks.get_task, task_id).message_id
        if message_id is not None:
            self.attempt(verb, message_id)

    @rule(task_id=made)
    def its_message_is_withdrawn(self, task_id: int) -> None:
        before = self.room.do(tasks.get_task, task_id)
        if before.message_id is not None:
            self.room.do(freshness.retract, before.message_id, RetractRequest())
            after = self.room.do(tasks.get_task, task_id)
            assert after.status is (
                TaskStatus.CANCELED if before.status is TaskStatus.OPEN else before.status
            )

    @rule(task_id=made, agent=agent_ids)
    def reply(self, task_id: int, agent: str) -> None:
        message_id = self.room.do(tasks.get_task, task_id).message_id
        if message_id is not None:
            self.attempt(
                messages.send, SendRequest(sender=agent, to="system", body="done", reply_to=message_id)
            )

    @rule(status=st.sampled_from([200, 200, 500]), pause=st.sampled_from([None, 20_000]))
    def call_back(self, status: int, pause: int | None) -> None:
        due = self.room.do(next_due, ("ci",))
        if due is not None and due.wait_ms <= 0:
            self.room.do(record, due.id, Posted(status=status), duration_ms=1, pause_ms=pause)

    # What always holds

    @invariant()
    def a_pair_occupies_its_two_members(self) -> None:
        occupied = {
            (member, row["id"])
            for row in self.room.rows("SELECT * FROM pairs WHERE status IN ('pending', 'active')")
            for member in (row["inviter"], row["invitee"])
        }
        members = {tuple(row) for row in self.room.rows("SELECT agent_id, pair_id FROM pair_members")}
        assert members == occupied
        assert len({agent for agent, _ in members}) == len(members)
        present = {row["id"] for row in self.room.rows("SELECT id FROM agents WHERE status <> 'offline'")}
        assert {agent for agent, _ in members} <= present

    @invariant()
    def over_is_over(self) -> None:
        for row in self.room.rows("SELECT * FROM pairs"):
            over = row["status"] not in (PairStatus.PENDING, PairStatus.ACTIVE)
            assert over is (row["ended_at"] is not None)

    @invariant()
    def a_task_stands_where_its_lease_says(self) -> None:
        for row in self.room.rows(
            "SELECT t.*, l.state, l.holder FROM tasks AS t LEFT JOIN leases AS l ON l.key = 'message:' || t.message_id"
        ):
            status = TaskStatus(row["status"])
            if row["message_id"] is None:
                assert status in ENDED
            elif status is TaskStatus.OPEN:
                assert (row["state"], row["claimed_by"]) == ("open", None)
            elif status in HELD:
                assert (row["state"], row["holder"]) == ("held", row["claimed_by"])
            else:
                assert row["state"] in ("done", "dead")
            assert (row["ended_at"] is not None) is (status in ENDED)

    @invariant()
    def what_is_withdrawn_is_open_to_nobody(self) -> None:
        stuck = self.room.rows(
            "SELECT t.id FROM tasks AS t JOIN messages AS m ON m.id = t.message_id "
            "WHERE t.status = 'open' AND m.withdrawn IS NOT NULL"
        )
        assert stuck == []

    @invariant()
    def one_active_task_a_key(self) -> None:
        rows = self.room.rows(
            "SELECT count(*) AS n FROM tasks WHERE dedupe_key IS NOT NULL AND ended_at IS NULL GROUP BY dedupe_key"
        )
        assert all(row["n"] == 1 for row in rows)

    @invariant()
    def the_outbox_tells_every_change_in_order(self) -> None:
        for row in self.room.rows("SELECT id FROM tasks"):
            lines = self.room.rows("SELECT * FROM task_events WHERE task_id = ? ORDER BY id", row["id"])
            told = self.room.rows("SELECT * FROM callbacks WHERE task_id = ? ORDER BY id", row["id"])
            changes = [line["status"] for line in lines if line["type"] != "repeated"]
            assert [json.loads(each["body"])["task"]["status"] for each in told] == changes
            waiting = [each["due_at"] is not None for each in told if each["state"] == "waiting"]
            assert waiting[:1] in ([], [True])
            assert not any(waiting[1:])


def test_random_histories_of_pairs_and_tasks() -> None:
    run_state_machine_as_test(
        PairsAndTasks,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
