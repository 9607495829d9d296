"""The agent goes where its person goes, and what is under way stays judged where it is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from support.mock_model import Text, shell
from support.sidecar import Running, Stage
from trio_relay.codex.app_server import AppServer, open_app_server
from trio_relay.core.model import Rung
from trio_relay.sidecar.connection import ARRIVAL

CWD = "/home/ann/shop"


class Person:
    """A person at a TUI."""

    def __init__(self, stage: Stage, tui: AppServer) -> None:
        self._stage = stage
        self._tui = tui
        self.thread_id = ""

    async def new(self, cwd: str = CWD) -> str:
        """/new, and what a TUI does when it starts."""
        answer = await self._tui.call("thread/start", {"cwd": cwd, "threadSource": "user"})
        return await self._leave_for(answer["thread"]["id"])

    async def fork(self) -> str:
        """/fork"""
        wishes = {"threadId": self.thread_id, "threadSource": "user"}
        return await self._leave_for((await self._tui.call("thread/fork", wishes))["thread"]["id"])

    async def resume(self, thread_id: str) -> str:
        """/resume"""
        await self._tui.thread_resume(thread_id)
        return await self._leave_for(thread_id)

    async def _leave_for(self, thread_id: str) -> str:
        if self.thread_id:
            await self._tui.unsubscribe(self.thread_id)
        self.thread_id = thread_id
        return thread_id

    async def say(self, text: str) -> None:
        """Write something, and wait for the answer."""
        await self._tui.turn_start(self.thread_id, text, "01a1fcc9-b0bc")
        await trio.sleep(1)

    def interrupt(self, thread_id: str) -> None:
        thread = self._stage.fake.thread(thread_id)
        assert thread.turn is not None
        thread.interrupt(thread.turn.id)


@asynccontextmanager
async def person(stage: Stage) -> AsyncIterator[Person]:
    async with open_app_server(stage.fake.url, dial=stage.fake.dial, name="codex-tui") as tui:
        yield Person(stage, tui)


@asynccontextmanager
async def followed(stage: Stage, **settings: Any) -> AsyncIterator[tuple[Person, Running]]:
    """A person in their first thread, and a sidecar that follows them."""
    async with person(stage) as ann:
        first = await ann.new()
        wishes = {"thread_mode": "resume", "thread_id": first, "follow": "person"} | settings
        async with stage.sidecar(**wishes) as bob:
            yield ann, bob


async def in_thread(bob: Running, thread_id: str) -> None:
    """Wait until the agent is in a thread, and ready."""
    with trio.fail_after(60):
        while not (bob.thread_id == thread_id and bob.state.connection == "attached" and bob.state.ready):
            await trio.sleep(0.01)
    await trio.sleep(0.5)  # until the relay knows


def told(stage: Stage, thread_id: str) -> list[str]:
    """What was injected into a thread."""
    return [
        params["items"][0]["content"][0]["text"]
        for method, params in stage.fake.calls
        if method == "thread/inject_items" and params["threadId"] == thread_id
    ]


def texts(stage: Stage, thread_id: str) -> list[str]:
    """The client ids of the relay's messages in a thread, loaded or not."""
    items = [entry["item"] for entry in stage.fake.disk[thread_id].items]
    return [i["clientId"] for i in items if i["type"] == "userMessage" and "relay:" in str(i["clientId"])]


async def test_new_moves_the_agent_and_keeps_who_it_is(stage: Stage) -> None:
    async with followed(stage) as (ann, bob):
        agent_id, first = bob.agent_id, bob.thread_id
        before = await stage.send(agent_id, "before")
        await stage.until(before.id, agent_id, Rung.SETTLED)
        second = await ann.new()
        await in_thread(bob, second)
        after = await stage.send(agent_id, "after")
        await stage.until(after.id, agent_id, Rung.SETTLED)
        agent = await stage.relay.agent(agent_id)
        assert (bob.agent_id, agent.meta["threadId"], agent.epoch) == (agent_id, second, 1)
        assert agent.meta["threadNote"] == f"the person began it; before they were in {first}"
        assert (await stage.evidence(after.id, agent_id))["in_context"]["threadId"] == second
        assert texts(stage, first) == [f"relay:{before.id}"]
        assert texts(stage, second) == [f"relay:{after.id}"]
        assert len(await stage.replies()) == 2
        assert agent_id in told(stage, second)[0]
        assert told(stage, second)[0].endswith(ARRIVAL)


async def test_the_old_thread_is_let_go_and_unloaded(stage: Stage) -> None:
    async with followed(stage) as (ann, bob):
        first = bob.thread_id
        sent = await stage.send(bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        await in_thread(bob, await ann.new())
        await trio.sleep(55)
        assert first in stage.fake.memory.threads
        await trio.sleep(10)
        assert list(stage.fake.memory.threads) == [bob.thread_id]


async def test_a_fork_is_not_introduced_again(stage: Stage) -> None:
    async with followed(stage) as (ann, bob):
        first = bob.thread_id
        await ann.say("hello")
        fork = await ann.fork()
        await in_thread(bob, fork)
        assert told(stage, fork) == [ARRIVAL]
        await ann.resume(first)
        await in_thread(bob, first)
        assert [len(text) > len(ARRIVAL) for text in told(stage, first)] == [True, False]
        sent = await stage.send(bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert texts(stage, first) == [f"relay:{sent.id}"]


async def test_what_runs_in_the_old_thread_is_answered_from_there(stage: Stage) -> None:
    stage.fake.model.script = [shell("sleep 100"), Text("From the new one."), Text("From the old one.")]
    async with followed(stage) as (ann, bob):
        first = bob.thread_id
        running = await stage.send(bob.agent_id, "takes long")
        await stage.until(running.id, bob.agent_id, Rung.IN_CONTEXT)
        second = await ann.new()
        await in_thread(bob, second)
        quick = await stage.send(bob.agent_id, "is quick")
        await stage.until(quick.id, bob.agent_id, Rung.SETTLED)
        assert await stage.rung(running.id, bob.agent_id) is Rung.IN_CONTEXT
        await stage.until(running.id, bob.agent_id, Rung.SETTLED)
        answers = {reply.reply_to: reply.body for reply in await stage.replies()}
        assert answers == {quick.id: "From the new one.", running.id: "From the old one."}
        assert (texts(stage, first), texts(stage, second)) == ([f"relay:{running.id}"], [f"relay:{quick.id}"])
        await trio.sleep(70)
        assert list(stage.fake.memory.threads) == [second]


async def test_what_the_old_thread_has_accepted_stays_there_and_is_not_doubled(stage: Stage) -> None:
    stage.fake.model.script = [shell("sleep 30"), Text("Done.")]
    async with followed(stage) as (ann, bob):
        first = bob.thread_id
        running = await stage.send(bob.agent_id, "work")
        await stage.until(running.id, bob.agent_id, Rung.IN_CONTEXT)
        steered = await stage.send(bob.agent_id, "and this")  # waits for the tool to end
        await stage.until(steered.id, bob.agent_id, Rung.HANDED_OFF)
        await in_thread(bob, await ann.new())
        await trio.sleep(10)
        assert await stage.rung(steered.id, bob.agent_id) is Rung.HANDED_OFF
        await stage.until(steered.id, bob.agent_id, Rung.SETTLED)
        assert (await stage.evidence(steered.id, bob.agent_id))["in_context"]["threadId"] == first
        assert texts(stage, first) == [f"relay:{running.id}", f"relay:{steered.id}"]
        assert texts(stage, bob.thread_id) == []
        (receipt,) = await stage.relay.receipts(steered.id)
        assert receipt.attempts == 1


async def test_what_the_old_thread_lost_comes_to_the_new_one(stage: Stage) -> None:
    stage.fake.model.script = [shell("sleep 30"), Text("Done.")]
    async with followed(stage) as (ann, bob):
        first = bob.thread_id
        running = await stage.send(bob.agent_id, "work")
        await stage.until(running.id, bob.agent_id, Rung.IN_CONTEXT)
        steered = await stage.send(bob.agent_id, "and this")
        await stage.until(steered.id, bob.agent_id, Rung.HANDED_OFF)
        second = await ann.new()
        await in_thread(bob, second)
        ann.interrupt(first)
        await stage.until(steered.id, bob.agent_id, Rung.SETTLED)
        assert (await stage.evidence(steered.id, bob.agent_id))["in_context"]["threadId"] == second
        assert (texts(stage, first), texts(stage, second)) == (
            [f"relay:{running.id}"],
            [f"relay:{steered.id}"],
        )


async def test_a_call_that_was_on_its_way_is_looked_for_in_the_old_thread(stage: Stage) -> None:
    async with followed(stage) as (ann, bob):
        first = bob.thread_id

        async def slow(method: str, _: dict[str, Any]) -> None:
            if method == "turn/start":
                await trio.sleep(5)  # it is carried out; its answer comes when the agent has moved on

        stage.fake.before_answer = slow
        sent = await stage.send(bob.agent_id)
        with trio.fail_after(60):
            while not any(method == "turn/start" for method, _ in stage.fake.calls):
                await trio.sleep(0.001)
        stage.fake.before_answer = None
        await in_thread(bob, await ann.new())
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert (texts(stage, first), texts(stage, bob.thread_id)) == ([f"relay:{sent.id}"], [])
        assert len(await stage.replies()) == 1


async def test_a_sidecar_that_dies_after_a_move_comes_back_as_the_same_agent_in_the_same_thread(
    stage: Stage,
) -> None:
    stage.fake.model.script = [shell("sleep 100"), Text("Done.")]
    async with person(stage) as ann:
        first = await ann.new()
        wishes: dict[str, Any] = {"thread_mode": "resume", "thread_id": first, "follow": "person"}
        async with stage.sidecar(**wishes) as bob:
            running = await stage.send(bob.agent_id, "work")
            await stage.until(running.id, bob.agent_id, Rung.IN_CONTEXT)
            second = await ann.new()
            await in_thread(bob, second)
            agent_id = bob.agent_id
        async with stage.sidecar(**wishes) as again:
            assert (again.agent_id, again.thread_id) == (agent_id, second)
            await stage.until(running.id, bob.agent_id, Rung.SETTLED)
            assert [reply.body for reply in await stage.replies()] == ["Done."]
            assert await ann.resume(first) == first
            await in_thread(again, first)


async def test_another_session_of_a_person_is_another_agent(stage: Stage) -> None:
    async with followed(stage) as (_, bob):
        before = bob.agent_id
    async with followed(stage, app_server_token_file="/another/run") as (_, carol):
        assert carol.agent_id != before


async def test_helpers_and_other_directories_move_nobody(stage: Stage) -> None:
    async with followed(stage, follow="here") as (ann, bob), person(stage) as other:
        first = bob.thread_id
        await other.new(cwd="/elsewhere")
        await other.say("hello")
        helper = {"cwd": CWD, "threadSource": "thread_title", "ephemeral": True}
        async with open_app_server(stage.fake.url, dial=stage.fake.dial) as tui:
            await tui.call("thread/start", helper)
        await trio.sleep(5)
        assert bob.thread_id == first
        await in_thread(bob, await ann.new())


async def test_without_being_told_to_nobody_is_followed(stage: Stage) -> None:
    async with followed(stage, follow="off") as (ann, bob):
        first = bob.thread_id
        await ann.new()
        await trio.sleep(5)
        assert bob.thread_id == first


async def test_an_app_server_that_comes_back_with_the_person_elsewhere_is_followed(stage: Stage) -> None:
    async with followed(stage) as (ann, bob):
        await ann.say("hello")
        elsewhere = await ann.new()
        await ann.say("there")
        await ann.resume(bob.thread_id)
        await in_thread(bob, ann.thread_id)
        await stage.fake.kill()
        await stage.fake.start()
        async with person(stage) as again:
            await again.resume(elsewhere)
            await in_thread(bob, elsewhere)


async def settings(stage: Stage, thread_id: str, **changes: Any) -> None:
    """As /permissions does."""
    async with open_app_server(stage.fake.url, dial=stage.fake.dial) as tui:
        await tui.call("thread/settings/update", {"threadId": thread_id, **changes})


async def test_the_session_s_permissions_hold_in_the_next_thread(stage: Stage) -> None:
    policies: dict[str, Any] = {"approval_policy": "never", "sandbox": "workspace-write"}
    async with person(stage) as ann:
        first = await ann.new()
        await settings(stage, first, approvalPolicy="never")  # as the app-server's configuration does
        async with stage.sidecar(thread_mode="resume", thread_id=first, follow="person", **policies) as bob:
            second = await ann.new()
            await in_thread(bob, second)
            assert stage.fake.thread(second).rollout.approval_policy == "never"
            third = await ann.new()
            await in_thread(bob, third)
            assert stage.fake.thread(third).rollout.approval_policy == "never"


async def test_a_person_who_chose_other_permissions_is_not_overruled(stage: Stage) -> None:
    policies: dict[str, Any] = {"approval_policy": "never", "sandbox": "workspace-write"}
    async with person(stage) as ann:
        first = await ann.new()
        await settings(stage, first, approvalPolicy="never")
        async with stage.sidecar(thread_mode="resume", thread_id=first, follow="person", **policies) as bob:
            await settings(stage, first, approvalPolicy="untrusted")
            await in_thread(bob, await ann.new())
            assert stage.fake.thread(bob.thread_id).rollout.approval_policy == "on-request"
            await in_thread(bob, await ann.new())
            assert stage.fake.thread(bob.thread_id).rollout.approval_policy == "on-request"


async def test_what_waits_in_the_queue_of_the_old_thread_comes_along(stage: Stage) -> None:
    async with followed(stage) as (ann, bob):
        first = bob.thread_id
        stage.fake.model.script = [shell("sleep 1000"), *[Text("Done.")] * 9]
        await ann.say("work for a long time")
        sent = await stage.send(bob.agent_id, meta={"delivery": "idle"})
        await stage.until(sent.id, bob.agent_id, Rung.HANDED_OFF)
        second = await ann.new()
        await in_thread(bob, second)
        with trio.fail_after(10):
            await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        assert (texts(stage, first), texts(stage, second)) == ([], [f"relay:{sent.id}"])
        assert stage.fake.disk[first].queue == []
        assert (await stage.evidence(sent.id, bob.agent_id))["handed_off"]["after"] == "the person has moved"


async def test_the_agent_comes_back_in_the_thread_its_person_went_on_to(stage: Stage) -> None:
    async with followed(stage) as (ann, bob):
        agent_id = bob.agent_id
        second = await ann.new()
        await in_thread(bob, second)
        await ann.say("hello")
    waiting = await stage.send(agent_id, "while you were away")
    async with person(stage) as ann:
        await ann.resume(second)
        async with stage.sidecar(
            name="later", thread_mode="resume", thread_id=second, follow="person"
        ) as bob:
            assert bob.agent_id == agent_id
            await stage.until(waiting.id, agent_id, Rung.SETTLED)


async def test_an_agent_at_work_elsewhere_is_not_replaced_by_who_takes_up_its_first_thread(
    stage: Stage,
) -> None:
    async with followed(stage, follow="here") as (ann, bob):
        agent_id, first = bob.agent_id, bob.thread_id
        await ann.say("hello")
        second = await ann.new()
        await in_thread(bob, second)
        async with person(stage) as eve:
            await eve.resume(first)
            async with stage.sidecar(name="other", thread_mode="resume", thread_id=first) as carol:
                assert carol.agent_id != agent_id
                for agent, thread_id in ((agent_id, second), (carol.agent_id, first)):
                    sent = await stage.send(agent)
                    await stage.until(sent.id, agent, Rung.SETTLED)
                    assert (await stage.evidence(sent.id, agent))["in_context"]["threadId"] == thread_id
                assert bob.exit_code is None
