"""Random histories of the whole room keep every promise: the machine with pairs and tasks besides.

``MACHINE_EXAMPLES`` runs more histories than the default, with fresh randomness.
"""

import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, invariant, multiple, rule, run_state_machine_as_test

from support.room_machine import AGENTS, RoomMachine, agent_ids, session_fields
from support.sync_room import PostgresSyncRoom
from trio_relay.core.integrations import Integration
from trio_relay.core.tasks import ENDED, TaskStatus, may_follow
from trio_relay.core.wire_pairs import PairAnswer, PairInvite, PairMessage
from trio_relay.core.wire_tasks import IntegrationEvent, TaskClaim, TaskStatusChange
from trio_relay.errors import RelayError
from trio_relay.relay.operations import integrations, pairs, tasks
from trio_relay.relay.operations.tx import Policy
from trio_relay.store.postgres.connection import connect

EXAMPLES = int(os.environ.get("MACHINE_EXAMPLES", "150"))
POSTGRES_EXAMPLES = int(os.environ.get("MACHINE_EXAMPLES", "20"))
STEPS = 50
CI = Integration(name="ci", token="ci-token", targets=("tag:red",), callback_url="http://127.0.0.1:9/")
INVITE_MS = 60_000


class WholeRoomMachine(RoomMachine):
    paired = Bundle("paired")
    asked = Bundle("asked")

    def __init__(self) -> None:
        super().__init__()
        self.active_keys: dict[str, int] = {}
        self.statuses: dict[int, TaskStatus] = {}

    # Pairs

    @rule(target=paired, sender=agent_ids, target_=st.one_of(agent_ids, st.sampled_from(["blue", "desk"])))
    def invite(self, sender: str, target_: str) -> Any:
        request = PairInvite(sender=sender, target=target_, **session_fields(self.sessions.get(sender)))
        try:
            pair = self.room.do(pairs.invite, request, ttl_ms=INVITE_MS)
        except RelayError as error:
            assert error.code in {
                "already_paired",
                "offline",
                "own_pair",
                "unknown_agent",
                "unknown_target",
            }, error.code
            return multiple()
        assert pair.inviter == sender
        assert pair.invitee != sender
        return pair.id

    @rule(pair=paired, agent=agent_ids, verb=st.sampled_from(["accept", "reject", "hang_up"]))
    def answer_a_pair(self, pair: int, agent: str, verb: str) -> None:
        (before,) = self.room.rows("SELECT * FROM pairs WHERE id = ?", pair)
        request = PairAnswer(agent_id=agent, **session_fields(self.sessions.get(agent)))
        try:
            self.room.do(getattr(pairs, verb), pair, request)
        except RelayError:
            return
        assert agent in {before["inviter"], before["invitee"]}
        assert verb == "hang_up" or agent == before["invitee"]

    @rule(pair=paired, agent=agent_ids)
    def write_in_a_pair(self, pair: int, agent: str) -> None:
        (row,) = self.room.rows("SELECT * FROM pairs WHERE id = ?", pair)
        request = PairMessage(sender=agent, body="between us", **session_fields(self.sessions.get(agent)))
        try:
            message, _ = self.room.do(pairs.write, pair, request)
        except RelayError:
            return
        assert row["status"] == "active"
        assert {agent, message.to} == {row["inviter"], row["invitee"]}
        self.accepted.add(message.id)

    @rule()
    def invites_expire(self) -> None:
        self.room.do(pairs.expire_invites)
        overdue = "SELECT 1 FROM pairs WHERE status = 'pending' AND expires_at <= ?"
        assert self.room.rows(overdue, self.room.now) == []

    # Tasks

    @rule(target=asked, key=st.sampled_from(["disk", "build"]), resolved=st.booleans())
    def something_happens(self, key: str, resolved: bool) -> Any:
        event = IntegrationEvent(dedupe_key=key, title=key, status="resolved" if resolved else None)
        try:
            task, new = self.room.do(integrations.take_event, CI, event)
        except RelayError:
            return multiple()
        if not new and not resolved:
            assert self.active_keys[key] == task.id, "two active tasks for one key"
        self.active_keys[key] = task.id
        return task.id

    @rule(task=asked, agent=agent_ids)
    def claim_a_task(self, task: int, agent: str) -> None:
        try:
            claimed = self.room.do(
                tasks.claim,
                task,
                TaskClaim(agent_id=agent, ttl_ms=30_000, **session_fields(self.sessions.get(agent))),
            )
        except RelayError:
            return
        lease = self._valid_lease(f"message:{claimed.message_id}")
        assert lease is not None
        assert (lease["holder"], lease["token"]) == (agent, claimed.lease_token)

    @rule(task=asked, agent=st.one_of(st.none(), agent_ids), status=st.sampled_from(TaskStatus))
    def report_a_task(self, task: int, agent: str | None, status: TaskStatus) -> None:
        session = session_fields(self.sessions.get(agent)) if agent is not None else {}
        change = TaskStatusChange(status=status, agent_id=agent, **session)
        (before,) = self.room.rows("SELECT * FROM tasks WHERE id = ?", task)
        try:
            after = self.room.do(tasks.set_status, task, change)
        except RelayError:
            return
        assert after.status is status
        if before["status"] not in ENDED and agent is not None:
            assert before["claimed_by"] in {None, agent}, "somebody else's task was changed"

    # Promises

    @invariant()
    def pairs_are_exclusive(self) -> None:
        taken = [
            agent
            for row in self.room.rows("SELECT * FROM pairs WHERE status IN ('pending', 'active')")
            for agent in (row["inviter"], row["invitee"])
        ]
        assert len(set(taken)) == len(taken)
        assert {row["agent_id"] for row in self.room.rows("SELECT agent_id FROM pair_members")} == set(taken)
        assert set(taken) <= set(AGENTS)

    @invariant()
    def tasks_go_only_where_they_may(self) -> None:
        for row in self.room.rows(
            "SELECT t.*, l.state AS lease FROM tasks AS t LEFT JOIN leases AS l ON l.key = 'message:' || t.message_id"
        ):
            status, before = TaskStatus(row["status"]), self.statuses.get(row["id"])
            assert before is None or before not in ENDED or before is status, (before, status)
            assert before is None or may_follow(before, status), (
                before,
                status,
            )
            self.statuses[row["id"]] = status
            if status in ENDED:
                assert row["lease"] in {"done", "dead", None}
            elif status is TaskStatus.OPEN:
                assert row["lease"] == "open"
            else:
                assert row["lease"] == "held"

    @invariant()
    def every_change_of_a_task_has_its_callback(self) -> None:
        missing = self.room.rows(
            """SELECT 1 FROM tasks AS t WHERE calls_back = 1
               AND NOT EXISTS (SELECT 1 FROM callbacks AS c WHERE c.task_id = t.id)"""
        )
        assert missing == []


def test_random_histories_keep_every_promise() -> None:
    run(WholeRoomMachine, EXAMPLES)
    assert RoomMachine.steps >= 5_000


def test_random_histories_keep_every_promise_on_postgresql(room_url: str) -> None:
    """With every operation beside others that may be, its locks in order; those that must be alone are run again so."""
    rooms: list[PostgresSyncRoom] = []
    with connect(room_url) as connection:

        class PostgresMachine(WholeRoomMachine):
            @staticmethod
            def make_room(policy: Policy) -> PostgresSyncRoom:
                rooms.append(PostgresSyncRoom(connection, policy))
                return rooms[-1]

        run(PostgresMachine, POSTGRES_EXAMPLES)
    assert any(room.again for room in rooms)


def run(machine: type[RoomMachine], examples: int) -> None:
    """Live through so many histories."""
    before = RoomMachine.steps
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize="MACHINE_EXAMPLES" not in os.environ,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(f"{RoomMachine.steps - before} steps")
