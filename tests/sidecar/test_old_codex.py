"""Codex 0.130 gives no client id back and names turns that never run: it works, and receipts say what they rest on."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from support.fake_app_server import fake_app_server
from support.fake_codex_thread import Said
from support.mock_model import Text, shell
from support.relay import Room
from support.sidecar import Running, Stage, interrupted_and_said_again
from trio_relay.core.model import Rung


@pytest.fixture
async def stage(room: Room, tmp_path: Path) -> AsyncIterator[Stage]:
    async with fake_app_server(version="0.130.0") as fake:
        built = Stage(room, fake, tmp_path)
        await built.join("alice")
        yield built


def delivered(stage: Stage, bob: Running) -> list[str]:
    """The last line of every text in the thread."""
    items = [entry["item"] for entry in stage.fake.disk[bob.thread_id].items]
    return [item["content"][0]["text"].splitlines()[-1] for item in items if item["type"] == "userMessage"]


async def test_a_message_is_proven_by_the_id_in_its_text(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        sent = await stage.send(bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        seen = (await stage.evidence(sent.id, bob.agent_id))["in_context"]
        assert (seen["proof"], seen["clientId"]) == ("text", f"relay:{sent.id}")
        assert delivered(stage, bob) == [f"[relay:{sent.id}]"]
        assert len(await stage.replies()) == 1


async def test_a_text_that_joins_a_turn_is_waited_for_though_its_turn_is_not_known(stage: Stage) -> None:
    async with stage.sidecar(reconnect_initial=0.1) as bob:
        hold = trio.Event()
        stage.fake.model.script = [Text("Busy.", hold=hold), Text("Busy."), Text("Done.")]
        thread = stage.fake.thread(bob.thread_id)

        async def the_person_is_faster(method: str, _: dict[str, Any]) -> None:
            if method == "turn/start":
                stage.fake.before_call = None
                thread.accept(stage.fake.memory.process, Said("the person's work", None))
                await trio.sleep(1)

        stage.fake.before_call = the_person_is_faster
        sent = await stage.send(bob.agent_id)
        await trio.sleep(10)
        assert await stage.rung(sent.id, bob.agent_id) is Rung.HANDED_OFF
        await bob.cut()
        await trio.sleep(60)
        assert await stage.rung(sent.id, bob.agent_id) is Rung.HANDED_OFF
        hold.set()
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert delivered(stage, bob) == ["the person's work", f"[relay:{sent.id}]"]


async def test_after_a_crash_it_is_found_in_the_thread_and_not_said_again(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        stage.fake.model.script = [shell("sleep 100"), Text("Done.")]
        first = await stage.send(bob.agent_id)
        await stage.until(first.id, bob.agent_id, Rung.IN_CONTEXT)
        waiting = await stage.send(bob.agent_id)
        await stage.until(waiting.id, bob.agent_id, Rung.HANDED_OFF)
    async with stage.sidecar() as bob:
        for sent in (first, waiting):
            await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert delivered(stage, bob) == [f"[relay:{first.id}]", f"[relay:{waiting.id}]"]


async def test_what_an_interrupt_has_lost_is_said_again(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        sent = await interrupted_and_said_again(stage, bob)
        assert delivered(stage, bob)[-1] == f"[relay:{sent.id}]"
        (receipt,) = await stage.relay.receipts(sent.id)
        assert receipt.attempts == 2


async def test_what_wakes_nobody_is_proven_by_the_id_in_its_text_too(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        sent = await stage.send(bob.agent_id, meta={"delivery": "fyi"})
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert "in_context" in await stage.ladder(sent.id, bob.agent_id)
        assert stage.fake.disk[bob.thread_id].turns == []


async def test_without_a_queue_idle_waits_for_the_end_of_the_turn_and_starts(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        stage.fake.model.script = [shell("sleep 60"), Text("First."), Text("Second.")]
        first = await stage.send(bob.agent_id)
        await stage.until(first.id, bob.agent_id, Rung.IN_CONTEXT)
        sent = await stage.send(bob.agent_id, meta={"delivery": "idle"})
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert len(stage.fake.disk[bob.thread_id].turns) == 2
        evidence = await stage.evidence(sent.id, bob.agent_id)
        assert (evidence["in_context"]["mode"], evidence["settled"]["turn"]) == ("start", "completed")
        (receipt,) = await stage.relay.receipts(sent.id)
        assert receipt.attempts == 1
