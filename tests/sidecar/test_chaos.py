"""Twenty minutes in which everything goes wrong that can: each message is in the thread once, each reply is sent once."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trio

from support.fake_app_server import fake_app_server
from support.fake_codex_thread import Rollout
from support.mock_model import Failure, ModelRequest, Reply, Text, shell
from support.relay import open_room
from support.sidecar import Running, Stage
from trio_relay.core.batching import message_ids
from trio_relay.core.ladder import FINAL
from trio_relay.core.model import Authority, Delivery, Rung
from trio_relay.core.wire_rooms import RetractRequest, Withdrawal
from trio_relay.errors import RelayError
from trio_relay.settings import AgentSettings

OBEDIENT = AgentSettings(may_interrupt=tuple(Authority))


class Weather:
    """What a seed makes of twenty minutes."""

    def __init__(self, stage: Stage, rng: random.Random) -> None:
        self.stage = stage
        self.rng = rng
        self.sent: dict[int, bool] = {}
        self.running: Running | None = None
        self.over = False

    async def keep_running(self) -> None:
        """Run a sidecar, killed at some step, and another after it."""
        while not self.over:
            async with self.stage.sidecar(
                ready=False, killed_at=self.rng.randint(10, 400), agent=OBEDIENT
            ) as self.running:
                with trio.move_on_after(300):
                    await self.running.done.wait()

    async def rage(self, agent: str) -> None:
        acts = [self.send, self.send, self.send, self.break_relay, self.cut, self.kill_codex, self.interrupt]
        end = trio.current_time() + 1200
        while trio.current_time() < end:
            await trio.sleep(self.rng.expovariate(1 / 8))
            await self.rng.choice(acts)(agent)
        self.over = True

    async def send(self, agent: str) -> None:
        for _ in range(self.rng.randint(1, 3)):
            kind = self.rng.choice(["plain", "plain", "urgent", "claimable", *Delivery])
            meta = {"delivery": kind} if kind in set(Delivery) else {}
            if kind == "urgent":
                meta = {"priority": "urgent"}
            reply_to = self.rng.choice(list(self.sent)) if self.sent and self.rng.random() < 0.3 else None
            message = await self.stage.send(
                agent, kind, meta=meta, claimable=kind == "claimable", reply_to=reply_to
            )
            self.sent[message.id] = kind == "claimable"
            if self.rng.random() < 0.1:
                body = RetractRequest(sender="alice")
                await trio.sleep(self.rng.choice([0.1, 5]))
                await self.stage.relay.call(
                    "POST", f"/api/messages/{message.id}/retract", Withdrawal, body=body
                )
            await trio.sleep(self.rng.choice([0, 0.01, 0.1]))

    async def break_relay(self, _: str) -> None:
        if self.running is not None:
            self.running.transport.broken = True
            await trio.sleep(self.rng.expovariate(1 / 5))
            self.running.transport.broken = False

    async def cut(self, _: str) -> None:
        if self.running is not None and self.running.stream is not None:
            await self.running.cut()

    async def kill_codex(self, _: str) -> None:
        await self.stage.fake.kill()
        await trio.sleep(self.rng.expovariate(1 / 5))
        await self.stage.fake.start()

    async def interrupt(self, _: str) -> None:
        for thread in self.stage.fake.memory.threads.values():
            if thread.turn is not None and thread.turn.begun:
                thread.interrupt(thread.turn.id)


def whims(rng: random.Random) -> Any:
    def answer(request: ModelRequest) -> Reply:
        worked = request.body["input"][-1].get("type") == "function_call_output"
        if not worked and rng.random() < 0.4:
            return shell(f"sleep {rng.choice([1, 10, 60])}")
        return Failure(500) if rng.random() < 0.1 else Text("Done.")

    return answer


@pytest.mark.parametrize("seed", range(3))
async def test_in_any_weather_nothing_is_lost_and_nothing_said_twice(
    seed: int, tmp_path: Path, autojump_clock: Any
) -> None:
    rng = random.Random(seed)
    async with open_room(tmp_path) as room, fake_app_server() as fake:
        fake.model.script = whims(rng)
        stage = Stage(room, fake, tmp_path, rng)
        await stage.join()
        async with stage.sidecar(agent=OBEDIENT) as bob:
            agent, thread_id = bob.agent_id, bob.thread_id
        weather = Weather(stage, rng)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(weather.keep_running)
            await weather.rage(agent)
        async with stage.sidecar(agent=OBEDIENT) as bob:
            ends = Counter([await the_end(stage, number, agent) for number in weather.sent])
            assert bob.thread_id == thread_id
            assert bob.state.in_flight == []
        told = Counter(numbers_in(fake.disk[thread_id]))
        assert max(told.values()) == 1, "said twice"
        for number in weather.sent:
            rungs = await stage.ladder(number, agent)
            assert (number in told) == ("in_context" in rungs), f"message {number}: {rungs}"
        replies = Counter(reply.reply_to for reply in await stage.replies() if reply.sender == agent)
        assert max(replies.values(), default=0) <= 1, "answered twice"
        assert ends[Rung.SETTLED] > len(weather.sent) * 0.8


async def the_end(stage: Stage, number: int, agent: str) -> Rung:
    with trio.fail_after(4 * 3600):
        while True:
            try:
                rung = await stage.rung(number, agent)
            except RelayError:
                rung = Rung.QUEUED
            if rung in FINAL:
                return rung
            await trio.sleep(5)


def numbers_in(rollout: Rollout) -> list[int]:
    """Every message of ours that stands in the thread, as a user message or as an injected item."""
    shown = [entry["item"] for entry in rollout.items if entry["item"]["type"] == "userMessage"]
    clients = [item.get("clientId") for item in shown] + [item.get("id") for item in rollout.history]
    return [number for client in clients for number in message_ids(client)]
