"""The sidecar is killed at any step of its work: each message is in the thread once, each reply sent once.

``KILL_EVERY=1`` tries every step, not only every third.
"""

import os
from pathlib import Path
from typing import Any

import trio

from support.fake_app_server import fake_app_server
from support.mock_model import ModelRequest, Text, ToolCall, shell
from support.relay import open_room
from support.sidecar import Running, Stage
from trio_relay.core.batching import message_ids
from trio_relay.core.ladder import FINAL
from trio_relay.core.model import Rung
from trio_relay.core.wire_rooms import RetractRequest, Withdrawal

EVERY = int(os.environ.get("KILL_EVERY", "3"))


def model(request: ModelRequest) -> Text | ToolCall:
    """Work for five seconds when told to, then answer."""
    return Text("Done.") if request.tool_outputs else shell("sleep 5")


async def life(directory: Path, killed_at: int) -> bool:
    """Live through four deliveries, killed at one step, and come back; False when that step never came."""
    directory.mkdir()
    async with open_room(directory) as room, fake_app_server() as fake:
        fake.model.script = model
        stage = Stage(room, fake, directory)
        await stage.join()
        async with stage.sidecar() as bob:
            agent = bob.agent_id
        sent = [
            await stage.send(agent, "please work"),
            await stage.send(agent, "and this"),
            await stage.send(agent, "whoever can", claimable=True),
        ]
        async with stage.sidecar(killed_at=killed_at, ready=False) as bob:
            await work_arrives(stage, bob, agent, sent)
            with trio.move_on_after(60):
                await bob.done.wait()
        died = bob.mortal is not None and bob.mortal.dead
        async with stage.sidecar() as bob:
            if len(sent) < 4:
                sent.append(await stage.send(agent, "one more thing"))
            for message in sent:
                await stage.until(message.id, agent, Rung.SETTLED)
            await trio.sleep(60)  # whatever else it might do
            assert bob.state.in_flight == []
        delivered = [
            number for client in fake.disk[bob.thread_id].items for number in numbers(client["item"])
        ]
        assert sorted(delivered) == [message.id for message in sent]
        for message in sent:
            assert (await stage.ladder(message.id, agent))[-3:] == ["in_context", "answered", "settled"]
        assert (await stage.evidence(sent[2].id, agent))["settled"]["claim"] in {"completed", "over"}
        assert sorted(reply.reply_to or 0 for reply in await stage.replies()) == [
            message.id for message in sent
        ]
        return died


async def life_of_modes(directory: Path, killed_at: int) -> bool:
    """The same with messages that wake nobody, gather, and wait in Codex's queue, one of them withdrawn."""
    directory.mkdir()
    async with open_room(directory) as room, fake_app_server() as fake:
        fake.model.script = model
        stage = Stage(room, fake, directory)
        await stage.join()
        async with stage.sidecar() as bob:
            agent = bob.agent_id
        ways = ("fyi", None, "idle", "idle", "digest")
        sent = [await stage.send(agent, meta={"delivery": way} if way else {}) for way in ways]
        async with stage.sidecar(killed_at=killed_at, ready=False, digest_window=3.0) as bob:
            with trio.move_on_after(60):
                await stage.until(sent[1].id, agent, Rung.IN_CONTEXT)
                await trio.sleep(2)
                await stage.relay.call(
                    "POST", f"/api/messages/{sent[3].id}/retract", Withdrawal, body=RetractRequest()
                )
                await bob.done.wait()
        died = bob.mortal is not None and bob.mortal.dead
        async with stage.sidecar(digest_window=3.0) as bob:
            for message in sent:
                await ended(stage, message.id, agent)
            await trio.sleep(60)
            assert bob.state.in_flight == []
        rollout = fake.disk[bob.thread_id]
        shown = [number for entry in rollout.items for number in numbers(entry["item"])]
        shown += [number for item in rollout.history for number in message_ids(item.get("id"))]
        assert len(shown) == len(set(shown))
        for message in sent:
            ladder = await stage.ladder(message.id, agent)
            assert ("in_context" in ladder) == (message.id in shown)
            assert ladder[-1] == ("settled" if message.id in shown else "retracted")
        assert {message.id for message in sent} - set(shown) <= {sent[3].id}
        return died


async def ended(stage: Stage, message_id: int, agent: str) -> None:
    with trio.fail_after(3600):
        while await stage.rung(message_id, agent) not in FINAL:
            await trio.sleep(1)


def numbers(item: dict[str, Any]) -> list[int]:
    client = item.get("clientId") or ""
    return [int(number) for number in client.removeprefix("relay:").split(",") if number]


async def work_arrives(stage: Stage, bob: Running, agent: str, sent: list[Any]) -> None:
    """While the first messages are being worked on, another one comes."""
    with trio.move_on_after(3):
        await stage.until(sent[0].id, agent, Rung.IN_CONTEXT)
        sent.append(await stage.send(agent, "one more thing"))


async def test_killed_at_any_step_it_delivers_each_message_once(tmp_path: Path, autojump_clock: Any) -> None:
    step = 1
    while await life(tmp_path / str(step), step):
        step += EVERY
    assert step > 60


async def test_killed_at_any_step_what_waits_arrives_once_or_is_taken_back(
    tmp_path: Path, autojump_clock: Any
) -> None:
    step = 1
    while await life_of_modes(tmp_path / str(step), step):
        step += 2 * EVERY
    assert step > 60
