"""The library on asyncio, against a relay on a real port: the same code, the other loop."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from trio_relay.client import Relay, connect
from trio_relay.errors import StaleInstance
from trio_relay.testing import ServedRelay, serve_relay


@pytest.fixture(scope="module")
def served() -> Iterator[ServedRelay]:
    with serve_relay() as opened:
        yield opened


def run(scene: Callable[[Relay], Awaitable[None]], served: ServedRelay, **options: object) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), connect(served.url, served.token, **options) as relay:  # type: ignore[arg-type]
            await scene(relay)

    asyncio.run(main())


def test_messages_and_answers(served: ServedRelay, tmp_path: Path) -> None:
    async def scene(relay: Relay) -> None:
        async def answer() -> None:
            async with relay.agent("bob") as bob:
                there.set()
                async for message in bob.inbox():
                    await message.reply(f"{message.body}? yes")

        there = asyncio.Event()
        bob = asyncio.create_task(answer())
        await there.wait()
        async with relay.agent("ann") as ann, relay.events("message.*", agent="bob") as events:
            told = await ann.ask("bob", "ready")
            assert told.body == "ready? yes"
            assert (await anext(events)).kind == "message.new"
            await ann.post("bob", "later")
            await relay.outbox.flush()
            assert (await ann.receive()).body == "later? yes"
        bob.cancel()
        with pytest.raises(asyncio.CancelledError):
            await bob
        assert (await relay.client.agent("bob")).status == "offline"

    run(scene, served, outbox=tmp_path / "out.db")


def test_work_and_leases(served: ServedRelay) -> None:
    async def scene(relay: Relay) -> None:
        async with relay.agent("boss") as boss, relay.agent("hand") as hand:
            sent = await boss.send("hand", "job", claimable=True)
            claimables = hand.claimables()
            with pytest.raises(ZeroDivisionError):
                async with await anext(claimables):
                    _ = 1 / 0
            async with await anext(claimables) as work, hand.lease("port:5432"):
                await relay.client.release(sent.id, "hand", None, hand.presence.session)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(hand.receive(), 0.01)
            assert work.lost

    run(scene, served)


def test_whoever_is_replaced_is_stopped_and_told(served: ServedRelay) -> None:
    async def scene(relay: Relay) -> None:
        async with relay.agent("ann") as ann:
            with pytest.raises(StaleInstance):  # noqa: PT012  # the block is what is tried
                async with relay.agent("twice") as old, relay.agent("twice"):
                    await ann.send("twice", "hello")
                    await old.receive()

    run(scene, served)
