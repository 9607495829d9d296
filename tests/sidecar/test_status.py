"""What the relay is told of the agent: true, in order, and on time."""

import itertools
import json
import re
from typing import Any

import httpx2
import pytest
import trio
from structlog.testing import capture_logs

from support.mock_model import Text, shell
from support.relay import CuttableTransport
from support.sidecar import Stage
from trio_relay import __version__
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.settings import AgentSettings
from trio_relay.sidecar.run import Exit


class Tap(CuttableTransport):
    """Writes down when which request was made; `slow` seconds pass before those that match."""

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self.made: list[tuple[float, str, dict[str, Any]]] = []
        self.slow: dict[str, float] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path.rsplit("/", 1)[-1]
        content = request.content
        self.made.append((trio.current_time(), path, json.loads(content) if content else {}))
        await trio.sleep(self.slow.get(path, 0))
        return await super().handle_async_request(request)

    def of(self, path: str) -> list[tuple[float, dict[str, Any]]]:
        return [(at, body) for at, made, body in self.made if made == path]


def tapped(stage: Stage, running: Any) -> Tap:
    tap = Tap(stage.room.app)
    running.transport.handle_async_request = tap.handle_async_request
    return tap


async def test_busy_during_a_turn_else_idle_and_offline_at_the_end(stage: Stage) -> None:
    stage.fake.model.script = [shell("sleep 10"), Text("Done.")]
    async with stage.sidecar() as bob:

        async def status() -> AgentStatus:
            return (await stage.relay.agent(bob.agent_id)).status

        await trio.sleep(1)
        agent = await stage.relay.agent(bob.agent_id)
        assert (agent.status, agent.ready, agent.ready_reason) == (AgentStatus.IDLE, True, None)
        sent = await stage.send(bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.IN_CONTEXT)
        await trio.sleep(1)
        assert await status() is AgentStatus.BUSY
        assert bob.state.active_turn is not None
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        await trio.sleep(1)
        assert await status() is AgentStatus.IDLE
        state = bob.state
        assert state.status == "idle"
        assert state.active_turn is None
    assert await status() is AgentStatus.OFFLINE
    assert bob.exit_code is None or bob.exit_code == Exit.STOPPED
    assert bob.state.status == "stopped"


async def test_heartbeats_go_on_while_a_delivery_hangs(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        tap = tapped(stage, bob)

        async def hang(method: str, _: dict[str, Any]) -> None:
            if method == "turn/start":
                await trio.sleep_forever()

        stage.fake.before_answer = hang
        await stage.send(bob.agent_id)
        began = trio.current_time()
        await trio.sleep(200)
        beats = [at - began for at, _ in tap.of("heartbeat")]
        assert len(beats) == 6
        assert [round(later - earlier) for earlier, later in itertools.pairwise(beats)] == [30] * 5


async def test_heartbeats_go_on_while_a_status_call_hangs(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        tap = tapped(stage, bob)
        tap.slow = {"status": 1000}
        sent = await stage.send(bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        await trio.sleep(95)
        assert len(tap.of("heartbeat")) == 3


async def test_status_calls_never_overtake_each_other(stage: Stage) -> None:
    stage.fake.model.script = [shell("sleep 1"), Text("One."), shell("sleep 1"), Text("Two.")]
    async with stage.sidecar() as bob:
        tap = tapped(stage, bob)
        tap.slow = {"status": 3.0}
        for _ in range(2):
            sent = await stage.send(bob.agent_id)
            await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        await trio.sleep(30)
        made = tap.of("status")
        assert all(later - earlier >= 3 for (earlier, _), (later, _) in itertools.pairwise(made))
        assert (await stage.relay.agent(bob.agent_id)).status is AgentStatus.IDLE


async def test_an_agent_the_relay_took_for_dead_says_again_how_it_is(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        bob.transport.broken = True
        await trio.sleep(300)
        await stage.room.service.keep_house()
        assert (await stage.relay.agent(bob.agent_id)).status is AgentStatus.OFFLINE
        bob.transport.broken = False
        await trio.sleep(100)
        agent = await stage.relay.agent(bob.agent_id)
        assert (agent.status, agent.ready) == (AgentStatus.IDLE, True)


async def test_a_sidecar_that_cannot_say_goodbye_still_ends_in_five_seconds(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        tap = tapped(stage, bob)
        tap.slow = {"status": 1000}
        bob.scope.cancel()
        began = trio.current_time()
        await bob.done.wait()
        assert trio.current_time() - began == pytest.approx(5)


async def test_the_thread_is_named_in_the_registration(stage: Stage) -> None:
    async with stage.sidecar(agent=AgentSettings(label="Bob", tags=("api",))) as bob:
        await trio.sleep(1)
        agent = await stage.relay.agent(bob.agent_id)
        assert agent.meta["threadId"] == bob.thread_id
        assert agent.meta["client"] == "codex"
        assert (agent.label, agent.tags) == ("Bob", ["codex", "codex-live", "shop", "api"])
        assert re.fullmatch(r"laptop-codex-live-shop-[0-9a-f]{8}", agent.id)
        assert agent.epoch == 1


async def test_a_wrong_token_ends_the_sidecar_with_a_reason(
    stage: Stage,
) -> None:
    async def refuse(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(401, json={"title": "no", "status": 401, "detail": "the token is wrong"})

    async with stage.sidecar() as bob:
        bob.transport.handle_async_request = refuse  # type: ignore[method-assign]
        await bob.done.wait()
        assert bob.exit_code == Exit.REFUSED
        assert bob.state.reason == "the token is wrong"


class WithoutLongPoll(Tap):
    """A relay of the older kind: it answers an empty inbox at once."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        without = request.url.copy_remove_param("wait")
        request = httpx2.Request(
            request.method, without, headers=request.headers, content=request.content or None
        )
        return await super().handle_async_request(request)


async def test_a_relay_that_holds_no_polls_open_is_asked_at_intervals(stage: Stage) -> None:
    async with stage.sidecar(poll_interval=2.0) as bob:
        tap = WithoutLongPoll(stage.room.app)
        bob.transport.handle_async_request = tap.handle_async_request  # type: ignore[method-assign]
        await trio.sleep(60)
        tap.made.clear()
        began = trio.current_time()
        await trio.sleep(20)
        assert 9 <= len([at for at, path, _ in tap.made if path == "messages" and at >= began]) <= 11
        sent = await stage.send(bob.agent_id)
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)


async def test_an_idle_sidecar_asks_for_next_to_nothing(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        await trio.sleep(60)
        tap = tapped(stage, bob)
        calls = len(stage.fake.calls)
        await trio.sleep(3600)
        assert len(tap.of("messages")) <= 3600 / 25 + 1
        assert len(tap.of("heartbeat")) == 120
        assert len(tap.made) <= 3600 / 25 + 1 + 120
        assert len(stage.fake.calls) == calls


async def test_a_relay_of_another_version_is_said_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_relay.sidecar.versions.__version__", "99.0")
    with capture_logs() as logs:
        async with stage.sidecar() as bob:
            await trio.sleep(1)
            await stage.relay.remove_agent(bob.agent_id)
            await trio.sleep(120)
            assert (await stage.relay.agent(bob.agent_id)).id == bob.agent_id  # it has registered again
            assert bob.state.versions["relay"] == __version__
    (said,) = [line for line in logs if line["event"] == "versions differ"]
    assert said["about"].startswith(f"the relay is {__version__}, this is 99.0: upgrade it where it runs")
