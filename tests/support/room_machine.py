"""The room as a state machine with a model: random histories of agents, messages, leases, threads and tokens.

After every step the promises are checked against the model: nothing accepted is lost (G2), at most one valid lease
(G3), one key one message (G4), order per recipient and thread (G5), bounded hand-offs (G6), receipts that never go
down (G7), and a repeated request changes nothing (G10).

Longer than a file here should be: the rules share one model.
"""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from support.sync_room import SyncRoom
from trio_relay.core.access import Principal, Scope
from trio_relay.core.ladder import FINAL, REPORTABLE
from trio_relay.core.leases import collide
from trio_relay.core.loops import Limits
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.core.wire import (
    AgentRegistration,
    ClaimRequest,
    ReadMark,
    ReceiptReport,
    SendRequest,
    SessionFields,
    StatusChange,
)
from trio_relay.core.wire_access import TokenRequest
from trio_relay.core.wire_rooms import LeaseChange, LeaseRequest, RetractRequest
from trio_relay.errors import Conflict, LeaseLost, NotFound, Refused, RelayError, StaleInstance
from trio_relay.relay.operations import (
    agents,
    freshness,
    leases,
    messages,
    receipts,
    resources,
    tokens,
    upkeep,
)
from trio_relay.relay.operations.tx import Policy

AGENTS = ("ann", "bob", "cid", "dora")
TAGS = ("red", "blue")
MAX_ATTEMPTS = 3
HEIGHT = {rung: height for height, rung in enumerate(Rung)}

agent_ids = st.sampled_from(AGENTS)
targets = st.one_of(
    agent_ids, st.sampled_from(["tag:red", "tag:blue", "cap:none", "label:desk", "broadcast"])
)


class RoomMachine(RuleBasedStateMachine):
    #: How many steps all histories together have made.
    steps = 0
    #: Opens a new room.
    make_room: Callable[[Policy], SyncRoom] = SyncRoom

    sent = Bundle("sent")
    work = Bundle("work")
    grants = Bundle("grants")
    resource_grants = Bundle("resource_grants")
    minted = Bundle("minted")

    def __init__(self) -> None:
        super().__init__()
        policy = Policy(max_attempts=MAX_ATTEMPTS, loops=Limits(hops=4, cycles=3, rate=20))
        self.room = type(self).make_room(policy)
        self.sessions: dict[str, SessionFields] = {}
        self.stale: dict[str, SessionFields] = {}
        self.instances = 0
        self.keys: dict[tuple[str, str], int] = {}
        self.rungs: dict[tuple[int, str], Rung] = {}
        self.accepted: set[int] = set()
        self.epochs: dict[str, int] = {}

    def teardown(self) -> None:
        self.room.close()

    @initialize()
    def somebody_is_there(self) -> None:
        self.register("ann", ["red"], None)
        self.register("bob", ["red", "blue"], "desk")

    # Agents

    @rule(
        agent=agent_ids,
        tags=st.lists(st.sampled_from(TAGS), unique=True),
        label=st.sampled_from([None, "desk"]),
    )
    def register(self, agent: str, tags: list[str], label: str | None) -> None:
        self.instances += 1
        instance = f"instance-{self.instances}"
        request = AgentRegistration(id=agent, instance_id=instance, tags=tags, label=label, ready=True)
        found, _ = self.room.do(agents.register, request)
        again, new = self.room.do(agents.register, request)
        assert (again.epoch, new) == (found.epoch, False)
        if agent in self.sessions:
            before = self.sessions[agent]
            assert before.epoch is not None
            assert found.epoch > before.epoch
            self.stale[agent] = before
        self.sessions[agent] = SessionFields(instance_id=instance, epoch=found.epoch)

    @rule(agent=agent_ids, status=st.sampled_from(AgentStatus))
    def say_status(self, agent: str, status: AgentStatus) -> None:
        if agent in self.sessions:
            change = StatusChange(status=status, **session_fields(self.sessions[agent]))
            assert self.room.do(agents.set_status, agent, change).status is status

    @rule(agent=agent_ids)
    def a_replaced_instance_is_refused(self, agent: str) -> None:
        if agent in self.stale:
            before = self.room.dump()
            with pytest.raises(StaleInstance):
                self.room.do(agents.heartbeat, agent, self.stale[agent])
            assert self.room.dump() == before

    @rule(agent=agent_ids)
    def remove(self, agent: str) -> None:
        if agent in self.sessions:
            self.room.do(agents.remove_agent, agent)
            del self.sessions[agent]
            self.stale.pop(agent, None)

    # Messages

    @rule(
        target=sent,
        sender=st.one_of(agent_ids, st.just("person")),
        to=targets,
        claimable=st.booleans(),
        key=st.one_of(st.none(), st.sampled_from(["k1", "k2"])),
        ttl=st.one_of(st.none(), st.integers(1, 200_000)),
        collapse=st.sampled_from([None, None, "c"]),
        answer=st.one_of(st.none(), sent),
    )
    def send(
        self,
        sender: str,
        to: str,
        claimable: bool,
        key: str | None,
        ttl: int | None,
        collapse: str | None,
        answer: int | None,
    ) -> Any:
        request = SendRequest(
            sender=sender,
            to=to,
            body=f"{sender} to {to}",
            claimable=claimable,
            idempotency_key=key,
            ttl_ms=ttl,
            collapse_key=collapse,
            reply_to=answer,
            allow_unknown=True,
        )
        try:
            found, new = self.room.do(messages.send, request)
        except RelayError as error:
            assert error.code in {"own_message", "idempotency_conflict"}, error.code
            return multiple()
        if key is not None:
            assert self.keys.setdefault((sender, key), found.id) == found.id
            again, renewed = self.room.do(messages.send, request)
            assert (again.id, renewed) == (found.id, False)
        self.accepted.add(found.id)
        return found.id if new else multiple()

    @rule(agent=agent_ids, rung=st.sampled_from(sorted(REPORTABLE)), message=st.one_of(sent, work))
    def report(self, agent: str, rung: Rung, message: int) -> None:
        request = ReceiptReport(agent_id=agent, state=rung, **session_fields(self.sessions.get(agent)))
        try:
            first = self.room.do(receipts.report, message, request)
        except NotFound:
            return
        except Conflict as error:
            refusals = {"delivery_ended", "session_required", "stale_instance", "not_withdrawn", "too_late"}
            assert error.code in refusals
            return
        if rung is not Rung.HANDED_OFF:
            again = self.room.do(receipts.report, message, request)
            assert (again.state, len(again.steps)) == (first.state, len(first.steps))

    @rule(agent=agent_ids, message=sent)
    def mark_read(self, agent: str, message: int) -> None:
        try:
            self.room.do(messages.mark_read, message, ReadMark(read_by=agent))
        except NotFound as error:
            assert error.code == "not_a_recipient"

    @rule(message=sent)
    def retract(self, message: int) -> None:
        self.room.do(freshness.retract, message, RetractRequest())

    @rule(message=st.one_of(sent, work))
    def redrive(self, message: int) -> None:
        try:
            self.room.do(leases.redrive, message)
        except Conflict as error:
            assert error.code in {"not_dead", "withdrawn"}

    @rule(message=sent)
    def a_person_lets_the_thread_go_on(self, message: int) -> None:
        (row,) = self.room.rows("SELECT thread_id FROM messages WHERE id = ?", message)
        try:
            self.room.do(messages.resume_thread, row["thread_id"])
        except Conflict as error:
            assert error.code == "not_parked"

    @rule(agent=agent_ids, message=st.one_of(sent, work), times=st.integers(1, MAX_ATTEMPTS + 2))
    def hand_off(self, agent: str, message: int, times: int) -> None:
        for _ in range(times):
            self.report(agent, Rung.HANDED_OFF, message)

    # Leases

    @rule(target=work, to=st.sampled_from(["tag:red", "broadcast"]))
    def offer_work(self, to: str) -> Any:
        found, _ = self.room.do(
            messages.send, SendRequest(sender="person", to=to, body="work", claimable=True)
        )
        self.accepted.add(found.id)
        return found.id

    @rule(target=grants, agent=agent_ids, message=work)
    def claim(self, agent: str, message: int) -> Any:
        request = ClaimRequest(agent_id=agent, ttl_ms=30_000, **session_fields(self.sessions.get(agent)))
        valid = self._valid_lease(f"message:{message}")
        try:
            claimed = self.room.do(leases.claim, message, request)
        except RelayError as error:
            assert error.code in {"claimed", "completed", "not_claimable", "unknown_agent"}, error.code
            if error.code == "claimed":
                assert valid is not None
                assert valid["holder"] != agent
            return multiple()
        assert valid is None or valid["token"] == claimed.lease_token, "two valid leases"
        assert claimed.claimed_by == agent
        return message, agent, claimed.lease_token

    @rule(grant=grants, verb=st.sampled_from(["renew", "release", "complete"]))
    def use_a_grant(self, grant: tuple[int, str, str], verb: str) -> None:
        message, agent, token = grant
        request = ClaimRequest(
            agent_id=agent, lease_token=token, ttl_ms=30_000, **session_fields(self.sessions.get(agent))
        )
        lease = self._lease(f"message:{message}")
        is_mine = lease["state"] == "held" and lease["token"] == token
        is_repeated = verb == "complete" and lease["state"] == "done" and lease["token"] == token
        before = self.room.dump()
        try:
            self.room.do(getattr(leases, verb), message, request)
        except (LeaseLost, NotFound):
            assert self.room.dump() == before, "a stale token changed something"
            assert not is_mine or lease["expires_at"] <= self.room.now or agent not in self.sessions
        else:
            assert is_mine or is_repeated, "a stale token was accepted"
            assert is_mine or self.room.dump() == before, "a repeated completion changed something"

    @rule(
        target=grants, agent=agent_ids, message=work, verb=st.sampled_from(["renew", "release", "complete"])
    )
    def an_older_token_of_the_same_holder_is_stale(self, agent: str, message: int, verb: str) -> Any:
        older = self.claim(agent, message)
        if not isinstance(older, tuple):
            return older
        self.room.now += 30_000
        newer = self.claim(agent, message)
        if isinstance(newer, tuple):
            assert newer[2] != older[2]
            self.use_a_grant(older, verb)
        return newer

    @rule(
        target=resource_grants,
        holder=agent_ids,
        key=st.sampled_from(["file:src/**", "file:src/a.py", "file:*", "port:1"]),
    )
    def take_a_resource(self, holder: str, key: str) -> Any:
        try:
            lease = self.room.do(resources.acquire, LeaseRequest(key=key, holder=holder, ttl_ms=30_000))
        except Conflict as error:
            assert error.code == "held"
            return multiple()
        assert lease.lease_epoch >= self.epochs.get(key, 0)
        self.epochs[key] = lease.lease_epoch
        return key, holder, lease.lease_token

    @rule(grant=consumes(resource_grants))
    def give_a_resource_back(self, grant: tuple[str, str, str]) -> None:
        key, holder, token = grant
        lease = self._valid_lease(key)
        is_mine = lease is not None and lease["token"] == token
        try:
            self.room.do(resources.release, LeaseChange(key=key, holder=holder, lease_token=token))
        except LeaseLost:
            assert not is_mine
        else:
            assert is_mine

    # Tokens

    @rule(target=minted, agent=agent_ids)
    def mint(self, agent: str) -> Any:
        found = self.room.do(tokens.mint, TokenRequest(agent_id=agent, scopes=[Scope.SEND], ttl_ms=50_000))
        return found.id, agent, found.token, found.expires_at

    @rule(token=minted, other=agent_ids)
    def a_bound_token_speaks_for_its_agent_only(self, token: tuple[int, str, str, int], other: str) -> None:
        _, agent, secret, expires_at = token
        found = self.room.do(tokens.principal_of, secret)
        if found is None:
            revoked = self.room.rows("SELECT revoked_at FROM tokens WHERE id = ?", token[0])
            assert expires_at <= self.room.now or not revoked or revoked[0]["revoked_at"] is not None
            return
        principal: Principal = found[0]
        if other == agent:
            principal.check_actor(other, "from")
        else:
            with pytest.raises(Refused):
                principal.check_actor(other, "from")
        with pytest.raises(Refused):
            self.room.do(tokens.mint, TokenRequest(scopes=[Scope.SEND]), by=principal)

    @rule(token=minted)
    def revoke(self, token: tuple[int, str, str, int]) -> None:
        self.room.do(tokens.revoke, token[0])
        assert self.room.do(tokens.principal_of, token[2]) is None

    # Time

    @rule(ms=st.sampled_from([1, 1_000, 29_999, 30_000, 119_999, 130_000]))
    def time_passes(self, ms: int) -> None:
        self.room.now += ms

    @rule()
    def keep_house(self) -> None:
        for operation in (upkeep.silence_stale, upkeep.expire_leases, upkeep.expire_messages):
            self.room.do(operation)
        overdue = self.room.rows(
            "SELECT 1 FROM leases WHERE state = 'held' AND expires_at <= ?", self.room.now
        )
        assert overdue == []

    # Promises

    @invariant()
    def count(self) -> None:
        RoomMachine.steps += 1

    @invariant()
    def g2_nothing_accepted_is_lost(self) -> None:
        lost = self.room.rows(
            """SELECT m.id FROM messages AS m WHERE m.withdrawn IS NULL
               AND NOT EXISTS (SELECT 1 FROM inbox WHERE message_id = m.id)
               AND NOT EXISTS (SELECT 1 FROM open_targets WHERE message_id = m.id)
               AND NOT EXISTS (SELECT 1 FROM held_messages WHERE message_id = m.id)
               AND NOT EXISTS (SELECT 1 FROM leases WHERE key = m.lease_key AND state IN ('done', 'dead'))"""
        )
        assert lost == []
        kept = {row["id"] for row in self.room.rows("SELECT id FROM messages")}
        assert self.accepted <= kept

    @invariant()
    def g3_at_most_one_valid_lease(self) -> None:
        held = self.room.rows("SELECT * FROM leases WHERE state = 'held'")
        assert all(row["holder"] and row["token"] for row in held)
        assert len({row["token"] for row in held}) == len(held)
        valid = [row for row in held if row["kind"] == "resource" and row["expires_at"] > self.room.now]
        for one in valid:
            for other in valid:
                if one["holder"] != other["holder"]:
                    assert not collide(one["key"], other["key"])

    @invariant()
    def g5_order_per_recipient_and_thread(self) -> None:
        disordered = self.room.rows(
            """SELECT a.message_id FROM inbox AS a JOIN inbox AS b ON a.agent_id = b.agent_id AND a.seq < b.seq
               JOIN messages AS m ON m.id = a.message_id JOIN messages AS n ON n.id = b.message_id
               WHERE m.thread_id = n.thread_id AND m.id > n.id AND a.late = 0 AND b.late = 0
               AND m.claimable = 0 AND n.claimable = 0
               AND NOT EXISTS (SELECT 1 FROM threads AS t WHERE t.id = m.thread_id)"""
        )
        assert disordered == []

    @invariant()
    def g6_bounded_hand_offs(self) -> None:
        assert self.room.rows("SELECT 1 FROM inbox WHERE attempts > ?", MAX_ATTEMPTS) == []
        assert (
            self.room.rows("SELECT 1 FROM leases WHERE kind = 'message' AND attempts > ?", MAX_ATTEMPTS) == []
        )

    @invariant()
    def g7_receipts_never_go_down(self) -> None:
        for row in self.room.rows("SELECT message_id, agent_id, state, read_at, seq FROM inbox"):
            place = row["message_id"], row["agent_id"]
            state, before = Rung(row["state"]), self.rungs.get(place)
            redriven = before is Rung.DEAD and state is Rung.QUEUED
            reoffered = before is Rung.HANDED_OFF and state is Rung.QUEUED
            if before is not None and not redriven and not reoffered:
                assert HEIGHT[state] >= HEIGHT[before] or state in FINAL, (before, state)
                assert before not in FINAL or before is state, (before, state)
            assert (row["read_at"] is not None) == (state not in (Rung.QUEUED, Rung.HANDED_OFF))
            self.rungs[place] = state

    def _lease(self, key: str) -> Any:
        (row,) = self.room.rows("SELECT * FROM leases WHERE key = ?", key)
        return row

    def _valid_lease(self, key: str) -> Any:
        found = self.room.rows(
            "SELECT * FROM leases WHERE key = ? AND state = 'held' AND expires_at > ?", key, self.room.now
        )
        return found[0] if found else None


def session_fields(session: SessionFields | None) -> dict[str, Any]:
    return {} if session is None else {"instance_id": session.instance_id, "epoch": session.epoch}
