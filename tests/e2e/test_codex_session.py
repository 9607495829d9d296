"""A relay message reaches a live Codex thread, and the answer comes back. Everything is real but the model."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from support.codex_session import World, codex_world
from support.mock_model import Failure, ModelRequest, Text
from trio_relay.core.model import AgentStatus, Rung

pytestmark = pytest.mark.codex

LADDER = [Rung.ACCEPTED, Rung.QUEUED, Rung.HANDED_OFF, Rung.IN_CONTEXT, Rung.ANSWERED, Rung.SETTLED]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with codex_world(tmp_path, Text("It is 42.")) as made:
        yield made


async def test_a_message_reaches_the_model_and_its_answer_comes_back(world: World) -> None:
    with trio.fail_after(60):
        tester = await world.person()
        async with world.headless():
            agent = await world.agent()
            message = await world.send(tester, agent.id, "What is 6 times 7?")
            request = await world.model.seen(lambda one: one.contains("What is 6 times 7?"))
            answer = await world.answer_to(message)
            receipt = await world.receipt(message)
        assert request.contains(f"as agent {agent.id}"), "the thread was told who it is"
        assert "What is 6 times 7?" in request.last_user_text
        assert (answer.sender, answer.body) == (agent.id, "It is 42.")
        assert [step.state for step in receipt.steps] == LADDER
        assert receipt.attempts == 1
        assert (await world.relay.agent(agent.id)).status is AgentStatus.OFFLINE
        await world.nothing_left()
        assert world.run_directories() == []


async def test_a_turn_that_fails_is_not_called_answered(world: World) -> None:
    world.model.script = [Failure(400, "no"), Text("Now it works.")]
    with trio.fail_after(60):
        tester = await world.person()
        async with world.headless():
            agent = await world.agent()
            first = await world.send(tester, agent.id, "first")
            await world.model.seen(lambda one: one.contains("first"))
            receipt = await world.receipt(first)
            assert Rung.ANSWERED not in [step.state for step in receipt.steps]
            second = await world.send(tester, agent.id, "second")
            assert (await world.answer_to(second)).body == "Now it works."


async def test_two_agents_talk_for_three_exchanges_and_stop(world: World) -> None:
    def count_on(request: ModelRequest) -> Text:
        number = int(re.findall(r"count (\d+)", request.last_user_text)[-1])
        return Text(f"count {number + 1}" if number < 7 else "NO_REPLY")

    world.model.script = count_on
    with trio.fail_after(90):
        async with world.headless("alice"), world.headless("bob"):
            alice, bob = await world.agent("alice"), await world.agent("bob")
            opening = await world.send(bob.id, alice.id, "count 1")
            await world.model.seen(lambda one: "count 7" in one.last_user_text)
            said = await world.relay.thread(opening.id)
            last = await world.receipt(said[-1])
    assert [one.body for one in said] == [f"count {number}" for number in range(1, 8)]
    assert [one.sender for one in said] == [bob.id, alice.id] * 3 + [bob.id]
    assert Rung.ANSWERED not in [step.state for step in last.steps]
