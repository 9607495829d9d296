"""What was answered 2xx is there after kill -9 of the relay, and none of it twice."""

import random
from contextlib import AsyncExitStack
from pathlib import Path

import trio

from support.commands import clean_environment, serving_relay
from trio_relay.client import RelayClient
from trio_relay.core.wire import AgentRegistration, InboxMessage, Message, SendRequest
from trio_relay.errors import ConnectionLost

SENDS, SENDERS, KILLS = 1000, 40, 4
SENDER, RECIPIENT = "script", "reader"


class Senders:
    """Many at once, each sending its share to the relay of the moment; a send without an answer is tried again."""

    def __init__(self) -> None:
        self._relay: RelayClient
        self._up = trio.Event()
        self._more = trio.Event()
        #: Text of each message that was answered 2xx → its id.
        self.acknowledged: dict[str, int] = {}
        self.unanswered = 0

    def use(self, relay: RelayClient) -> None:
        """There is a relay: go on."""
        self._relay = relay
        self._up.set()

    def pause(self) -> None:
        """There will be none for a moment. What is on its way stays on its way."""
        self._up = trio.Event()

    async def send(self, texts: list[str]) -> None:
        for text in texts:
            request = SendRequest(sender=SENDER, to=RECIPIENT, body=text, idempotency_key=text)
            while text not in self.acknowledged:
                await self._up.wait()
                try:
                    sent = await self._relay.send(request)
                except ConnectionLost:
                    self.unanswered += 1
                else:
                    self.acknowledged[text] = sent.id
                    self._more.set()

    async def wait_acknowledged(self, count: int) -> None:
        while len(self.acknowledged) < count:
            self._more = trio.Event()
            await self._more.wait()


async def test_what_was_accepted_outlives_kill_9_and_is_there_once(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    senders = Senders()
    environment = clean_environment(tmp_path, DB_PATH="room.db")
    texts = [f"message {number}" for number in range(SENDS)]

    with trio.fail_after(300):
        # The clients stay open to the end: requests to a dead relay still have to fail.
        async with AsyncExitStack() as clients, trio.open_nursery() as nursery:
            for first in range(SENDERS):
                nursery.start_soon(senders.send, texts[first::SENDERS])
            for count in sorted(rng.sample(range(1, SENDS), KILLS)):
                with serving_relay(env=environment, cwd=tmp_path) as process:
                    relay = await clients.enter_async_context(RelayClient.open(process.url))
                    await relay.register(AgentRegistration(id=RECIPIENT))
                    senders.use(relay)
                    await senders.wait_acknowledged(count)
                    for _ in range(rng.randrange(100)):  # anywhere between this answer and the next ones
                        await trio.lowlevel.checkpoint()
                    senders.pause()
                    process.process.kill()
                    process.process.wait()
            with serving_relay(env=environment, cwd=tmp_path) as process:
                senders.use(await clients.enter_async_context(RelayClient.open(process.url)))
                await senders.wait_acknowledged(SENDS)
                process.process.kill()
                process.process.wait()

        with serving_relay(env=environment, cwd=tmp_path) as process:
            async with RelayClient.open(process.url) as relay:
                kept, arrived = await history(relay), await inbox(relay)
            assert process.stop() == 0

    assert senders.unanswered > 0, "no kill hit a request"
    assert sorted(message.body for message in kept) == sorted(texts)
    assert {message.body: message.id for message in kept} == senders.acknowledged
    assert sorted(message.body for message in arrived) == sorted(texts)


async def history(relay: RelayClient) -> list[Message]:
    """Everything that was ever said, newest first."""
    found: list[Message] = []
    while page := await relay.browse(limit=500, before=found[-1].id if found else None):
        found += page
    return found


async def inbox(relay: RelayClient) -> list[InboxMessage]:
    """Everything that ever reached the recipient, oldest first."""
    found: list[InboxMessage] = []
    while page := await relay.inbox(
        RECIPIENT, unread=False, after_seq=found[-1].inbox_seq if found else None, limit=500
    ):
        found += page
    return found
