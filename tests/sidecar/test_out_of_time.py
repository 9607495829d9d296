"""What loses its point on the way to the thread is not said late; what only loses answers is not given up."""

from typing import Any

import httpx2
import trio

from support.sidecar import Stage
from trio_relay.core.model import Rung


async def test_what_did_not_arrive_in_time_is_not_said_after_it(stage: Stage) -> None:
    async with stage.sidecar() as bob:

        async def die(method: str, _: dict[str, Any]) -> None:
            if method == "turn/start":
                stage.fake.before_call = None
                await stage.fake.kill()

        stage.fake.before_call = die
        sent = await stage.send(bob.agent_id, ttl_ms=5_000)
        await stage.until(sent.id, bob.agent_id, Rung.HANDED_OFF)
        await trio.sleep(10)
        await stage.room.service.expire()
        await stage.fake.start()
        await stage.until(sent.id, bob.agent_id, Rung.EXPIRED)
        assert (await stage.ladder(sent.id, bob.agent_id))[2:] == ["handed_off", "expired"]
        assert stage.fake.thread(bob.thread_id).client_ids == []


async def test_a_successor_ends_what_its_predecessor_took_and_nobody_saw(stage: Stage) -> None:
    async def hang(method: str, _: dict[str, Any]) -> None:
        if method == "turn/start":
            await trio.sleep_forever()

    stage.fake.before_call = hang
    async with stage.sidecar() as bob:
        sent = await stage.send(bob.agent_id, ttl_ms=5_000)
        await stage.until(sent.id, bob.agent_id, Rung.HANDED_OFF)
    stage.fake.before_call = None
    await trio.sleep(10)
    await stage.room.service.expire()
    async with stage.sidecar():
        await stage.until(sent.id, bob.agent_id, Rung.EXPIRED)
        assert stage.fake.thread(bob.thread_id).client_ids == []


async def test_work_that_ran_out_of_time_in_a_predecessor_s_hands_has_ended(stage: Stage) -> None:
    async def hang(method: str, _: dict[str, Any]) -> None:
        if method == "turn/start":
            await trio.sleep_forever()

    stage.fake.before_call = hang
    async with stage.sidecar(killed_at=10**9, name="one") as bob:
        sent = await stage.send(bob.agent_id, ttl_ms=5_000, claimable=True)
        await stage.until(sent.id, bob.agent_id, Rung.HANDED_OFF)
        assert bob.mortal is not None
        bob.mortal.will, bob.mortal.at = bob.state_path.read_bytes(), bob.mortal.steps
    stage.fake.before_call = None
    for seconds in (10, 100):  # its own time is over first, then its claim's
        await trio.sleep(seconds)
        await stage.room.service.expire()
    async with stage.sidecar():
        await stage.until(sent.id, bob.agent_id, Rung.EXPIRED)
        await trio.sleep(10)
        assert stage.fake.thread(bob.thread_id).client_ids == []


async def test_answers_that_are_lost_cost_no_attempt(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        carry, lost = bob.transport.handle_async_request, 0

        async def lose_answers(request: httpx2.Request) -> httpx2.Response:
            nonlocal lost
            response = await carry(request)
            if request.url.path.endswith("/receipts") and lost < 10:
                lost += 1
                raise httpx2.ReadError("lost", request=request)
            return response

        bob.transport.handle_async_request = lose_answers  # type: ignore[method-assign]
        sent = await stage.send(bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        (receipt,) = await stage.relay.receipts(sent.id)
        assert (lost, receipt.attempts) == (10, 1)
