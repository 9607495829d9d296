"""Nothing is lost and nothing comes twice, though the sidecar is killed again and again. All real but the model."""

import random
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from support.codex_session import World, codex_world
from support.mock_model import ModelRequest, Text
from trio_relay.codex.app_server import AppServer
from trio_relay.core.model import Rung
from trio_relay.core.wire import Message, Receipt, SentMessage

pytestmark = pytest.mark.codex

MESSAGES = 200
KILLS = 5
MOMENTS = ("sent", "asked", "a while after it was asked")
MARK = re.compile(r"mark-\d{3}")


class Killer:
    """Kills the sidecar once each time it is armed: when a message was sent, or about when the model is asked."""

    def __init__(self, world: World, rng: random.Random, nursery: trio.Nursery) -> None:
        self._world = world
        self._rng = rng
        self._nursery = nursery
        self._moment: str | None = None
        self.struck = trio.Event()

    def arm(self, moment: str) -> None:
        self._moment, self.struck = moment, trio.Event()

    async def sent(self) -> None:
        if self._moment == "sent":
            await self._strike()

    async def asked(self, _request: ModelRequest) -> Text:
        if self._moment == "asked":
            await self._strike()
        elif self._moment is not None and self._moment != "sent":
            self._moment = None
            self._nursery.start_soon(self._strike, self._rng.uniform(0.0, 0.2))
        return Text("Noted.")

    async def _strike(self, after: float = 0.0) -> None:
        self._moment = None
        await trio.sleep(after)
        await self._world.sidecar_killed()
        self.struck.set()


@pytest.mark.parametrize("seed", [1])
async def test_every_message_is_in_the_thread_once_though_the_sidecar_dies(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    kills = {number: rng.choice(MOMENTS) for number in rng.sample(range(5, MESSAGES), KILLS)}
    print(f"seed {seed}: kills {sorted(kills.items())}")
    with trio.fail_after(120):
        async with codex_world(tmp_path) as world, trio.open_nursery() as nursery, world.headless():
            killer = Killer(world, rng, nursery)
            world.model.script = killer.asked
            tester = await world.person()
            agent = await world.agent()
            sent: list[SentMessage] = []
            for number in range(MESSAGES):
                if number in kills:
                    killer.arm(kills[number])
                sent.append(await world.send(tester, agent.id, f"mark-{number:03}"))
                if number in kills:
                    await killer.sent()
                    await killer.struck.wait()
            receipts = {message.id: await world.receipt(message, Rung.SETTLED) for message in sent}
            async with world.app_server(agent) as server:
                items = [item async for item in user_messages(server, agent.meta["threadId"])]
            replies = await everything(world, tester)
    assert Counter(mark for item in items for mark in MARK.findall(text_of(item))) == Counter(
        message.body for message in sent
    )
    shown = {item["id"]: item for item in items}
    for message in sent:
        check_receipt(message, receipts[message.id], shown)
    assert Counter(reply.reply_to for reply in replies) == Counter(message.id for message in sent)


def check_receipt(message: Message, receipt: Receipt, shown: dict[str, Any]) -> None:
    """What the receipt says can be seen in the thread."""
    steps = {step.state: step.evidence for step in receipt.steps}
    assert Rung.ANSWERED in steps
    item = shown[steps[Rung.IN_CONTEXT]["itemId"]]
    assert item["clientId"] == steps[Rung.IN_CONTEXT]["clientId"]
    assert message.body in text_of(item)


def text_of(item: dict[str, Any]) -> str:
    return "".join(part.get("text", "") for part in item["content"])


async def user_messages(server: AppServer, thread_id: str) -> AsyncIterator[dict[str, Any]]:
    """Every user message of the thread with all it holds, as Codex keeps it."""
    page: dict[str, Any] = {"threadId": thread_id, "limit": 100}
    while True:
        answer = await server.call("thread/items/list", page)
        for entry in answer["data"]:
            if entry["item"]["type"] == "userMessage":
                yield entry["item"]
        if answer["nextCursor"] is None:
            return
        page["cursor"] = answer["nextCursor"]


async def everything(world: World, agent_id: str) -> list[Message]:
    """All that ever arrived for an agent."""
    found: list[Message] = []
    after = 0
    while page := await world.relay.inbox(agent_id, unread=False, after_seq=after):
        found += page
        after = page[-1].inbox_seq
    return found
