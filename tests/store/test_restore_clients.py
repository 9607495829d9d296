"""Clients that have seen more of a room than the copy that was put back: nothing is skipped, nothing said twice."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from support.fake_app_server import fake_app_server
from support.relay import Room, open_room
from support.sidecar import Stage
from support.sse import follow
from trio_relay.client import approvals
from trio_relay.core.model import Rung
from trio_relay.core.wire import AgentRegistration, SendRequest, SessionFields
from trio_relay.core.wire_approvals import ApprovalRequest, ApprovalState, Decision
from trio_relay.errors import Conflict, NotFound
from trio_relay.store.backup import STEP, back_up, restore


def ignore(_done: int, _of: int) -> None:
    """Nobody watches."""


@pytest.fixture
async def stage(room: Room, tmp_path: Path) -> AsyncIterator[Stage]:
    async with fake_app_server() as fake:
        built = Stage(room, fake, tmp_path)
        await built.join("alice")
        yield built


@pytest.fixture
def roll_back(tmp_path: Path) -> Callable[[Path], Path]:
    """Give a directory with the room of `tmp_path` as a copy of it remembers it."""

    def back(copy: Path) -> Path:
        elsewhere = tmp_path / "restored"
        elsewhere.mkdir()
        restore(copy, elsewhere / "relay.db", aside=".aside", progress=ignore)
        return elsewhere

    return back


async def send(room: Room, to: str, body: str = "hello") -> int:
    return (await room.relay.send(SendRequest(sender="ann", to=to, body=body, allow_unknown=True))).id


async def test_no_cursor_skips_what_comes_after(
    room: Room, tmp_path: Path, roll_back: Callable[[Path], Path]
) -> None:
    await room.relay.register(AgentRegistration(id="bob"))
    await send(room, "bob", "kept")
    back_up(tmp_path / "relay.db", tmp_path / "copy.db", progress=ignore)
    lost = [await send(room, "bob", f"lost {number}") for number in range(5)]
    cursor = await room.relay.cursor()
    async with follow(room.app) as stream:
        last = (await stream.block()).id
    async with open_room(roll_back(tmp_path / "copy.db")) as again:
        new = [await send(again, "bob", "new") for _ in range(10)]
        assert new[0] > STEP
        assert min(new) > max(lost)
        assert len(await again.relay.inbox("bob", since_id=cursor.latest_id)) == 10
        assert len(await again.relay.inbox("bob", after_seq=cursor.latest_seq)) == 10
        async with follow(again.app, last_event_id=last) as stream:
            (_, gap) = await stream.block(), await stream.event()
            assert (gap.kind, gap.data["from"], gap.data["reason"]) == ("gap", (last or 0) + 1, "trimmed")
            assert len(await stream.events(10)) == 10


async def test_an_instance_of_before_registers_again_and_is_not_taken_for_another(
    room: Room, tmp_path: Path, roll_back: Callable[[Path], Path]
) -> None:
    before = await room.relay.register(AgentRegistration(id="bob", instance_id="one"))
    back_up(tmp_path / "relay.db", tmp_path / "copy.db", progress=ignore)
    later = await room.relay.register(AgentRegistration(id="bob", instance_id="two"))
    async with open_room(roll_back(tmp_path / "copy.db")) as again:
        for agent in (before, later):
            session = SessionFields(instance_id=agent.instance_id, epoch=agent.epoch)
            with pytest.raises(NotFound) as forgotten:
                await again.relay.heartbeat("bob", session)
            assert forgotten.value.code == "unknown_agent"
        assert not (await again.relay.agent("bob")).ready
        anew = await again.relay.register(AgentRegistration(id="bob", instance_id="two"))
        assert anew.epoch > later.epoch
        await again.relay.heartbeat("bob", SessionFields(instance_id="two", epoch=anew.epoch))


async def test_what_was_asked_before_is_asked_no_more(
    room: Room, tmp_path: Path, roll_back: Callable[[Path], Path]
) -> None:
    await room.relay.register(AgentRegistration(id="ann"))
    request = ApprovalRequest(agent_id="ann", tool="Bash", summary="rm", ttl_ms=86_400_000)
    question = await approvals.ask(room.relay, request)
    back_up(tmp_path / "relay.db", tmp_path / "copy", progress=ignore)
    await approvals.decide(room.relay, question.id, Decision.DENY)  # which the copy knows nothing of
    async with open_room(roll_back(tmp_path / "copy")) as restored:
        assert (await approvals.get_approval(restored.relay, question.id)).state is ApprovalState.EXPIRED
        with pytest.raises(Conflict):
            await approvals.decide(restored.relay, question.id, Decision.ALLOW)


async def test_a_live_sidecar_goes_on_and_says_nothing_twice(
    room: Room, tmp_path: Path, roll_back: Callable[[Path], Path], stage: Stage
) -> None:
    async with stage.sidecar() as bob:
        pass
    sent = await stage.send(bob.agent_id, "delivered after the copy was taken")
    back_up(tmp_path / "relay.db", tmp_path / "copy.db", progress=ignore)
    async with stage.sidecar() as bob:
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        bob.transport.broken = True
        async with open_room(roll_back(tmp_path / "copy.db")) as again:
            stage.room = again
            bob.transport._inner = again.transport._inner
            bob.transport.broken = False
            await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
            new = await stage.send(bob.agent_id, "new")
            await stage.until(new.id, bob.agent_id, Rung.SETTLED)
            said = stage.fake.thread(bob.thread_id).client_ids
    assert said == [f"relay:{sent.id}", f"relay:{new.id}"]


async def test_what_was_open_in_the_copy_and_never_delivered_is_delivered(
    room: Room, tmp_path: Path, roll_back: Callable[[Path], Path], stage: Stage
) -> None:
    async with stage.sidecar() as bob:
        pass
    sent = await stage.send(bob.agent_id, "waits for bob")
    back_up(tmp_path / "relay.db", tmp_path / "copy.db", progress=ignore)
    async with open_room(roll_back(tmp_path / "copy.db")) as again:
        stage.room = again
        async with stage.sidecar() as bob:
            await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
            assert stage.fake.thread(bob.thread_id).client_ids == [f"relay:{sent.id}"]
