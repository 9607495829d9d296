"""``/metrics``: what happened is counted once it is durable, with labels that cannot grow without bound."""

import re
from pathlib import Path

import pytest
import trio
import trio.testing
from prometheus_client.parser import text_string_to_metric_families

from support.relay import Room, open_room
from support.sse import follow
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.core.wire import AgentRegistration, SendRequest
from trio_relay.relay.metrics import RelayMetrics
from trio_relay.relay.series import Series
from trio_relay.settings import ServerSettings


async def measured(room: Room) -> dict[str, float]:
    """Every sample: ``name{label=value,...}`` → value; names without our prefix."""
    answer = await room.http("GET", "/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            name = sample.name.removeprefix("trio_relay_")
            found[f"{name}{{{labels}}}" if labels else name] = sample.value
    return found


async def test_sends_are_counted_by_verdict(room: Room) -> None:
    await room.relay.register(AgentRegistration(id="idle", ready=True, tags=["t"]))
    await room.relay.register(AgentRegistration(id="busy", ready=True, status=AgentStatus.BUSY, tags=["t"]))
    await room.relay.register(AgentRegistration(id="deaf", tags=["t"]))
    await room.relay.send(SendRequest(sender="a", to="tag:t", body="x"))
    await room.relay.send(SendRequest(sender="a", to="tag:nobody", body="x"))
    request = SendRequest(sender="a", to="idle", body="x", idempotency_key="k")
    await room.relay.send(request)
    await room.relay.send(request)
    assert (
        await room.http("POST", "/api/messages", json={"from": "a", "to": "x", "body": ""})
    ).status_code == 404
    samples = await measured(room)
    assert samples["sends_total{verdict=live_idle}"] == 2
    assert samples["sends_total{verdict=live_busy}"] == 1
    assert samples["sends_total{verdict=deaf}"] == 1
    assert samples["sends_total{verdict=parked}"] == 1
    assert samples["events_total{type=message.new}"] == 3
    assert samples["ladder_rungs_total{state=queued}"] == 4


async def test_rungs_and_leases_are_counted(room: Room) -> None:
    await room.relay.register(AgentRegistration(id="b", ready=True))
    sent = await room.relay.send(SendRequest(sender="a", to="b", body="x", claimable=True))
    first = await room.relay.claim(sent.id, "b")
    await room.relay.release(sent.id, "b", first.lease_token)
    second = await room.relay.claim(sent.id, "b")
    for rung in (Rung.HANDED_OFF, Rung.IN_CONTEXT, Rung.IN_CONTEXT, Rung.SETTLED):
        await room.relay.report(sent.id, "b", rung, {})
    await room.relay.complete(sent.id, "b", second.lease_token)
    lease = await room.http("POST", "/api/leases", json={"key": "port:1", "holder": "b", "ttlMs": 1000})
    assert lease.status_code == 201
    await trio.sleep(2)
    await room.service.expire()
    samples = await measured(room)
    states = {rung: samples.get(f"ladder_rungs_total{{state={rung}}}") for rung in Rung}
    assert states == dict.fromkeys(Rung) | {"queued": 1, "handed_off": 1, "in_context": 1, "settled": 1}
    outcomes = {name: value for name, value in samples.items() if name.startswith("lease_outcomes_total")}
    assert outcomes == {
        "lease_outcomes_total{guards=message,outcome=granted}": 2,
        "lease_outcomes_total{guards=message,outcome=reopened}": 1,
        "lease_outcomes_total{guards=message,outcome=completed}": 1,
        "lease_outcomes_total{guards=resource,outcome=granted}": 1,
        "lease_outcomes_total{guards=resource,outcome=expired}": 1,
    }


async def test_what_waits_is_measured(room: Room) -> None:
    await room.relay.register(AgentRegistration(id="b", ready=True))
    await room.relay.register(AgentRegistration(id="c", status=AgentStatus.BUSY))
    for to in ("b", "c", "tag:nobody"):
        await room.relay.send(SendRequest(sender="a", to=to, body="x"))
    await room.relay.mark_read(1, "b")
    samples = await measured(room)
    assert samples["unread_deliveries"] == 1
    assert samples["parked_messages"] == 1
    assert samples["event_log_size"] == 6
    assert samples["agents{status=online}"] == 1
    assert samples["agents{status=busy}"] == 1
    await room.relay.remove_agent("c")
    assert "agents{status=busy}" not in await measured(room)


async def test_open_polls_and_streams_are_measured(room: Room) -> None:
    await room.relay.register(AgentRegistration(id="b"))
    async with trio.open_nursery() as nursery, follow(room.app) as stream:
        await stream.block()
        nursery.start_soon(lambda: room.relay.inbox("b", wait=60))
        await trio.testing.wait_all_tasks_blocked()
        samples = await measured(room)
        assert (samples["open_polls"], samples["event_streams"]) == (1, 1)
        nursery.cancel_scope.cancel()
    samples = await measured(room)
    assert (samples["open_polls"], samples["event_streams"]) == (0, 0)
    assert samples["event_streams_ended_total{reason=client_left}"] == 1


async def test_requests_are_timed_by_route_and_kind_of_answer(room: Room) -> None:
    await room.relay.register(AgentRegistration(id="b"))
    await room.relay.inbox("b", wait=3)
    await room.relay.inbox("b")
    for path in ("/api/agents/b", "/api/agents/x", "/api/agents/y", "/nothing/here", "/nothing/there"):
        await room.http("GET", path)
    await room.http("BREW", "/nothing/here")
    samples = await measured(room)

    def count(method: str, route: str, status: str) -> float:
        return samples[f"request_seconds_count{{method={method},route={route},status={status}}}"]

    assert count("POST", "/api/agents", "2xx") == 1
    assert count("GET", "/api/agents/<agent_id>", "2xx") == 1
    assert count("GET", "/api/agents/<agent_id>", "4xx") == 2
    assert count("GET", "unmatched", "4xx") == 2
    assert count("OTHER", "unmatched", "4xx") == 1
    assert count("GET", "/api/messages", "2xx") == 1
    assert count("GET", "/api/messages?wait", "2xx") == 1
    assert samples["request_seconds_sum{method=GET,route=/api/messages?wait,status=2xx}"] == pytest.approx(3)


async def test_commits_are_measured(room: Room) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(room.relay.register, AgentRegistration(id=f"agent-{number}"))
    samples = await measured(room)
    assert samples["store_batch_operations_sum"] == 20
    assert 1 <= samples["store_batch_operations_count"] == samples["store_commit_seconds_count"] <= 20


async def test_no_label_names_an_agent_or_repeats_a_body(room: Room) -> None:
    secret = "hunter2"
    await room.relay.register(AgentRegistration(id=secret, label=secret, tags=[secret]))
    await room.relay.send(
        SendRequest(sender=secret, to=f"tag:{secret}", body=secret, type=secret, channel=secret)
    )
    await room.http("GET", f"/api/agents/{secret}?wait={secret}&{secret}=1")
    await room.http("GET", f"/{secret}")
    await room.http(secret.upper(), f"/api/{secret}")
    answer = await room.http("GET", "/metrics")
    assert secret not in answer.text.lower()


async def test_the_number_of_series_does_not_grow_with_use(room: Room) -> None:
    async def series() -> set[str]:
        return set(await measured(room))

    async def use(start: int) -> None:
        for number in range(start, start + 20):
            await room.relay.register(AgentRegistration(id=f"agent-{number}"))
            await room.relay.send(SendRequest(sender=f"x-{number}", to=f"agent-{number}", body="x"))
            await room.http("GET", f"/api/messages/{number}")
            await room.http("GET", f"/nothing/{number}")

    await use(0)
    await series()
    before = await series()
    await use(100)
    assert await series() == before


async def test_metrics_ask_for_the_token_too(tmp_path: Path, autojump_clock: object) -> None:
    async with open_room(tmp_path, ServerSettings(token="secret")) as room:
        assert (await room.http("GET", "/metrics")).status_code == 401
        allowed = await room.http("GET", "/metrics", headers={"Authorization": "Bearer secret"})
    assert allowed.status_code == 200


async def test_two_relays_in_one_process_count_apart(tmp_path: Path, autojump_clock: object) -> None:
    async with open_room(tmp_path / "one") as one, open_room(tmp_path / "two") as two:
        await one.relay.register(AgentRegistration(id="b"))
        assert (await measured(one))["events_total{type=agent.status}"] == 1
        assert "events_total{type=agent.status}" not in await measured(two)


async def test_the_manual_lists_every_metric(room: Room) -> None:
    manual = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    answer = await room.http("GET", "/metrics")
    names = set(
        re.findall(r"^# TYPE (trio_relay_\w+) (?:counter|gauge|histogram)$", answer.text, re.MULTILINE)
    )
    listed = set(re.findall(r"^\| `(trio_relay_\w+)`", manual, re.MULTILINE))
    assert {name for name in names if not name.endswith("_created")} == listed


def test_a_family_nobody_counts_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="nothing counts"):
        RelayMetrics(Series(lambda: 0)).add({("sned", "live_idle"): 1})
