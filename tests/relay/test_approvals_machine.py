"""Approvals in random histories: the first answer stands for ever, and nobody is asked for who is gone.

A question that is over never changes; who waits for one is woken when it is; a refused or repeated call changes nothing.
"""

import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from support.sync_room import SyncRoom
from trio_relay.core.access import Principal
from trio_relay.core.model import AgentStatus, Authority
from trio_relay.core.wire import AgentRegistration, StatusChange
from trio_relay.core.wire_approvals import (
    Approval,
    ApprovalDecision,
    ApprovalRequest,
    ApprovalState,
    ApprovalWithdrawal,
    Decision,
)
from trio_relay.errors import RelayError
from trio_relay.relay.operations import agents, approvals, upkeep
from trio_relay.relay.operations.approval_state import bell_of

AGENTS = ("ann", "bob")
EXAMPLES = int(os.environ.get("MACHINE_EXAMPLES", "60"))
PENDING = ApprovalState.PENDING
PEOPLE = [Principal(name, authority=Authority.HUMAN) for name in ("eva", "max")]

agent_ids = st.sampled_from(AGENTS)


class Approvals(RuleBasedStateMachine):
    asked = Bundle("asked")

    def __init__(self) -> None:
        super().__init__()
        self.room = SyncRoom()
        self.instances = 0
        #: How each question ended, as it was first seen.
        self.over: dict[int, Approval] = {}
        self.keys: dict[tuple[str, str], int] = {}

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

    @rule(agent=agent_ids)
    def come(self, agent: str) -> None:
        self.instances += 1
        request = AgentRegistration(id=agent, instance_id=f"instance-{self.instances}")
        self.room.do(agents.register, request)
        assert self.pending(agent) == []

    @rule(agent=agent_ids, for_good=st.booleans())
    def go(self, agent: str, *, for_good: bool) -> None:
        if for_good:
            self.attempt(agents.remove_agent, agent)
        else:
            self.attempt(agents.set_status, agent, StatusChange(status=AgentStatus.OFFLINE))
            row = self.room.rows("SELECT status FROM agents WHERE id = ?", agent)
            if not row or row[0]["status"] != "offline":
                return  # it does not say which instance it is, and another one is live
        assert self.pending(agent) == []

    @rule(milliseconds=st.integers(1, 200_000))
    def time_passes(self, milliseconds: int) -> None:
        self.room.now += milliseconds

    @rule()
    def keep_house(self) -> None:
        self.room.do(upkeep.expire_all)
        assert not self.room.rows(
            "SELECT id FROM approvals WHERE state = 'pending' AND expires_at <= ?", self.room.now
        )
        self.room.do(upkeep.silence_stale)

    @rule(
        target=asked,
        agent=agent_ids,
        key=st.sampled_from([None, "k1", "k2"]),
        ttl=st.integers(1_000, 300_000),
    )
    def ask(self, agent: str, key: str | None, ttl: int) -> int:
        request = ApprovalRequest(agent_id=agent, tool="Bash", summary=f"{key}", key=key, ttl_ms=ttl)
        answer = self.attempt(approvals.ask, request)
        if answer is None:
            return 0
        approval, new = answer
        assert new == ((agent, key) not in self.keys)
        if key is not None:
            assert self.keys.setdefault((agent, key), approval.id) == approval.id
        assert not new or approval.state is PENDING
        return int(approval.id)

    @rule(question=asked, decision=st.sampled_from(Decision), person=st.sampled_from(PEOPLE))
    def decide(self, question: int, decision: Decision, person: Principal) -> None:
        before = self.seen(question)
        self.room.woken.clear()
        found = self.attempt(approvals.decide, question, ApprovalDecision(decision=decision), by=person)
        if before is None or before.state is not PENDING:
            assert found == (before if before is not None and before.state is decision.state else None)
            return
        assert (found.state, found.decided_by) == (decision.state, person.name)
        assert bell_of(question) in self.room.woken

    @rule(question=asked, agent=agent_ids)
    def withdraw(self, question: int, agent: str) -> None:
        before = self.seen(question)
        found = self.attempt(approvals.withdraw, question, ApprovalWithdrawal(agent_id=agent))
        if found is not None:
            assert before is not None
            assert before.agent_id == agent
            assert before.state in (found.state, PENDING)

    def pending(self, agent: str) -> list[Approval]:
        return self.room.do(approvals.list_approvals, agent=agent, state=PENDING)

    def seen(self, question: int) -> Approval | None:
        found = self.attempt(approvals.get_approval, question)
        return found if isinstance(found, Approval) else None

    @invariant()
    def what_is_over_stays_as_it_is(self) -> None:
        for each in self.room.do(approvals.list_approvals, limit=1000):
            first = self.over.get(each.id)
            if first is None:
                if each.state is not PENDING and each.decided_at is not None:
                    self.over[each.id] = each
            else:
                assert each == first

    @invariant()
    def each_end_is_told_once(self) -> None:
        (told,) = self.room.rows("SELECT count(*) AS n FROM events WHERE type LIKE 'approval.%'")
        (ended,) = self.room.rows("SELECT count(*) + count(decided_at) AS n FROM approvals")
        assert told["n"] == ended["n"]


def test_random_histories_of_approvals() -> None:
    run_state_machine_as_test(
        Approvals,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
