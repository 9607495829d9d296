"""The library over a network that loses requests and answers: nothing is lost, and what is repeated is known by its id."""

import random
from collections import Counter
from pathlib import Path

import httpx2
import pytest
import trio
from trio.testing import MockClock

from trio_relay.client import Received, connect
from trio_relay.client.outbox import Outbox
from trio_relay.core.wire import AgentRegistration
from trio_relay.errors import ConnectionLost
from trio_relay.testing import open_relay
from trio_relay.testing.inside import _inline

MESSAGES = 60


class LossyTransport(httpx2.AsyncBaseTransport):
    """Loses every so many requests, half of them on the way there and half of their answers."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, chance: random.Random, loss: float = 0.2) -> None:
        self._inner = inner
        self._chance = chance
        self._loss = loss

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        fate = self._chance.random()
        if fate < self._loss / 2:
            await trio.sleep(0.01)
            raise httpx2.ConnectError("lost on the way", request=request)
        response = await self._inner.handle_async_request(request)
        if fate < self._loss:
            await response.aread()
            await response.aclose()
            raise httpx2.ReadError("the answer is lost", request=request)
        return response


@pytest.mark.parametrize("seed", range(3))
async def test_a_lossy_network_costs_time_and_nothing_else(
    seed: int, tmp_path: Path, autojump_clock: MockClock
) -> None:
    chance = random.Random(seed)
    handled: list[str] = []
    done: Counter[int] = Counter()

    async with open_relay() as room, room.connect() as quiet:
        lossy = LossyTransport(room._transport, chance)

        async def read(task_status: trio.TaskStatus[None]) -> None:
            started = False
            while True:
                try:
                    async with connect(room.url, transport=lossy) as relay, relay.agent("bob") as bob:
                        if not started:
                            started = True
                            task_status.started()
                        async for message in bob.inbox():
                            await handle(message)
                except (ConnectionLost, ValueError):
                    await trio.sleep(1)

        async def handle(message: Received) -> None:
            if chance.random() < 0.1:
                raise ValueError("a handler's bug")
            handled.append(message.body)

        async def work() -> None:
            while True:
                try:
                    async with connect(room.url, transport=lossy) as relay, relay.agent("hand") as hand:
                        async for piece in hand.claimables():
                            async with piece:
                                await trio.sleep(5)
                                done[piece.id] += not piece.lost
                except ConnectionLost:
                    await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            await nursery.start(read)
            await quiet.client.register(AgentRegistration(id="hand"))
            nursery.start_soon(work)
            async with (
                Outbox.open(tmp_path / "out.db", run_sync=_inline) as outbox,
                connect(room.url, outbox=outbox, transport=lossy) as relay,
            ):
                jobs = 0
                for number in range(MESSAGES):
                    await relay.post("bob", str(number), sender="ann")
                    if number % 10 == 0:
                        await relay.post("hand", "job", sender="ann", claimable=True)
                        jobs += 1
                with trio.fail_after(3600):
                    await outbox.flush()
                    while len(await quiet.client.inbox("bob", limit=1000)) > 0 or len(done) < jobs:
                        await trio.sleep(10)
            nursery.cancel_scope.cancel()
        sent = [
            m.body for m in reversed(await quiet.client.browse(**{"from": "ann", "to": "bob", "limit": 1000}))
        ]
        assert sent == [str(number) for number in range(MESSAGES)], "once, and in order"
        assert list(dict.fromkeys(handled)) == sent, "each was handled, first times in order"
