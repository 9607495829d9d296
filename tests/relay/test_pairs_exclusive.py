"""One pending or active pair an agent, whoever races; and whom a target means."""

import sqlite3

import pytest
import trio

from support.pairs import answer, invite, paired
from support.relay import Room
from support.sync_room import SyncRoom
from support.talk import join, paths, refusal
from trio_relay.core.model import AgentStatus
from trio_relay.core.wire import AgentRegistration
from trio_relay.core.wire_pairs import PairInvite
from trio_relay.relay.operations import agents, pairs


async def test_an_agent_is_in_one_pair_at_a_time(room: Room) -> None:
    pair_id = await paired(room)
    await join(room, "cid")
    for sender, target, path in [("cid", "bob", "target"), ("cid", "ann", "target"), ("ann", "cid", "from")]:
        problem = refusal(await invite(room, sender, target))
        assert (problem.status, problem.code, paths(problem)) == (409, "already_paired", [path])
    await answer(room, pair_id, "hangup", "ann")
    assert (await invite(room, "cid", "bob")).status_code == 201


async def test_a_pending_invitation_already_takes_both(room: Room) -> None:
    for name in ("ann", "bob", "cid"):
        await join(room, name)
    await invite(room, "ann", "bob")
    assert refusal(await invite(room, "ann", "cid")).code == "already_paired"
    assert refusal(await invite(room, "cid", "bob")).code == "already_paired"
    assert refusal(await invite(room, "ann", "bob")).code == "already_paired"


async def test_of_many_who_race_for_one_agent_one_wins(room: Room) -> None:
    names = [f"agent-{number}" for number in range(20)]
    for name in [*names, "bob"]:
        await join(room, name)
    statuses: list[int] = []

    async def race(name: str) -> None:
        statuses.append((await invite(room, name, "bob")).status_code)

    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(race, name)
    assert sorted(statuses) == [201] + [409] * 19
    # A refused invitation leaves nothing behind: the losers are free.
    assert (
        await invite(room, *[name for name in names if not await _taken(room, name)][:2])
    ).status_code == 201


async def _taken(room: Room, name: str) -> bool:
    return any(
        pair["status"] == "pending" for pair in (await room.http("GET", f"/api/pairs?agent={name}")).json()
    )


def test_the_store_itself_refuses_a_second_pair() -> None:
    room = SyncRoom()
    for name in ("ann", "bob"):
        room.do(agents.register, AgentRegistration(id=name))
    room.do(pairs.invite, PairInvite(sender="ann", target="bob"), ttl_ms=1000)
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        room.connection.execute("INSERT INTO pair_members (agent_id, pair_id) VALUES ('ann', 1)")
    room.close()


async def test_nobody_pairs_with_itself_or_the_absent(room: Room) -> None:
    await join(room, "ann", tags=["red"])
    await join(room, "bob", label="desk")
    assert refusal(await invite(room, "ann", "ann")).code == "own_pair"
    assert refusal(await invite(room, "ann", "tag:red")).code == "unknown_target"
    assert refusal(await invite(room, "ann", "nobody")).code == "unknown_target"
    assert refusal(await invite(room, "nobody", "ann")).code == "unknown_agent"
    await room.relay.set_status("bob", AgentStatus.OFFLINE)
    for target in ("bob", "desk", "label:desk"):
        problem = refusal(await invite(room, "ann", target))
        assert (problem.status, problem.code, paths(problem)) == (409, "offline", ["target"])
    problem = refusal(await invite(room, "bob", "ann"))
    assert (problem.code, paths(problem)) == ("offline", ["from"])


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("host-codex-live-x-1", "host-codex-live-x-1"),
        ("desk", "labelled"),
        ("label:desk", "labelled"),
        ("red", "tagged"),
        ("tag:red", "tagged"),
        ("cap:review", "able"),
        ("codex", "host-codex-live-x-1"),
        ("Codex", "host-codex-live-x-1"),
        ("codex-live", "host-codex-live-x-1"),
        ("claude", "claudia"),
        ("claude-code", "claudia"),
    ],
)
async def test_a_target_is_an_id_a_label_a_tag_or_a_provider(room: Room, target: str, expected: str) -> None:
    await join(room, "ann", rig="codex-live")
    await join(room, "host-codex-live-x-1", rig="codex-live")
    await join(room, "codexology", rig="codexology")
    await join(room, "labelled", label="desk")
    await join(room, "tagged", tags=["red"])
    await join(room, "able", capabilities=["review"])
    await join(room, "claudia", meta={"client": "claude-code"})
    pair = (await invite(room, "ann", target)).json()
    assert pair["to"] == expected


async def test_among_several_a_ready_idle_free_one_is_chosen(room: Room) -> None:
    for number, (ready, status) in enumerate(
        [
            (False, AgentStatus.IDLE),
            (True, AgentStatus.BUSY),
            (True, AgentStatus.IDLE),
            (True, AgentStatus.OFFLINE),
            (True, AgentStatus.IDLE),
        ]
    ):
        await join(room, f"codex-{number}", rig="codex", ready=ready, status=status)
    chosen = []
    for name in ("ann", "ben", "cat", "dan"):
        await join(room, name)
        chosen.append((await invite(room, name, "codex")).json()["to"])
    assert chosen == ["codex-2", "codex-4", "codex-1", "codex-0"]
    await join(room, "eve")
    assert refusal(await invite(room, "eve", "codex")).code == "already_paired"


async def test_a_free_tag_is_better_than_a_taken_label(room: Room) -> None:
    for name in ("ann", "ben"):
        await join(room, name)
    await join(room, "one", label="backend")
    await join(room, "two", tags=["backend"])
    assert (await invite(room, "ann", "backend")).json()["to"] == "one"
    assert (await invite(room, "ben", "backend")).json()["to"] == "two"
