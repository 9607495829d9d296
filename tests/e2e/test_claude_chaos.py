"""What is killed in the middle: the session's keeper, the relay. Messages still arrive, once. All is real but the model."""

import os
import signal
from pathlib import Path

import pytest
import trio

from support.claude_session import claude_world
from support.colleague import Colleague, announced
from support.mock_messages import MessagesRequest, Reply
from support.relay_process import relay_process
from trio_relay.core.model import AgentStatus, Rung

pytestmark = pytest.mark.claude

LADDER = [Rung.ACCEPTED, Rung.QUEUED, Rung.HANDED_OFF, Rung.IN_CONTEXT, Rung.ANSWERED, Rung.SETTLED]


async def test_kill_9_of_the_keeper_and_of_the_relay_cost_no_message(tmp_path: Path) -> None:
    colleague, gate = Colleague(), trio.Event()

    async def hesitant(request: MessagesRequest) -> Reply:
        reply = colleague(request)
        if announced(request.news):
            await gate.wait()
        return reply

    with trio.fail_after(180):
        async with claude_world(tmp_path, hesitant) as world:
            await world.install()
            tester = await world.person()
            async with world.tui() as tui:
                agent = await world.agent()

                first = await world.send(tester, agent.id, "Who keeps you?")
                await world.model.seen(lambda one: first.id in announced(one.news))
                (receipt,) = await world.relay.receipts(first.id)
                assert receipt.state is Rung.HANDED_OFF, "it was announced, which proves nothing"
                (keeper,) = world.keepers()
                os.kill(keeper.pid, signal.SIGKILL)
                while (again := await world.relay.agent(agent.id)).epoch == agent.epoch or not again.ready:
                    await trio.sleep(0.05)
                assert world.keepers() != [keeper]
                gate.set()
                await world.answer_to(first)
                await world.receipt(first)
                second = await world.send(tester, agent.id, "And now?")
                await world.answer_to(second)
                await world.receipt(second)

                os.kill(world.relay_pid, signal.SIGKILL)
                port = int(world.environment["AGENT_RELAY_URL"].rpartition(":")[2])
                async with relay_process(tmp_path, port):
                    third = await world.send(tester, agent.id, "And the relay?")
                    await world.answer_to(third)
                    for message in (first, second, third):
                        receipt = await world.receipt(message)
                        assert [
                            step.state for step in receipt.steps if step.state is not Rung.HANDED_OFF
                        ] == [rung for rung in LADDER if rung is not Rung.HANDED_OFF]
                        assert len(await world.relay.thread(message.id)) == 2, "one question, one answer"
                    await world.leave(tui)
                    await world.status(agent, AgentStatus.OFFLINE)
                    await world.nothing_left()
        assert colleague.heard == {first.id: 1, second.id: 1, third.id: 1}, "each was announced once"
