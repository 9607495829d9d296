"""Holding something while a command runs: renewed, given back, and lost in time. The relay is a real process."""

import sys
from pathlib import Path

import pytest
import trio

from support.commands import ServingRelay, clean_environment
from trio_relay.cli.shared.failures import Failure
from trio_relay.cli.work import holding
from trio_relay.cli.work.holding import run_with_claim, run_with_lease
from trio_relay.client import RelayClient, leases
from trio_relay.core.wire import AgentRegistration, SendRequest, SessionFields
from trio_relay.core.wire_rooms import LeaseChange, LeaseRequest
from trio_relay.errors import Conflict
from trio_relay.mcp.speaker import Speaker

ANN = Speaker("ann", SessionFields())
#: Says that it runs, and runs until it is stopped.
_RUNS = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"


async def runs(marker: Path) -> None:
    with trio.fail_after(60):
        while not marker.exists():
            await trio.sleep(0.02)


async def test_a_command_is_stopped_before_another_can_hold_the_same(
    relay: ServingRelay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "LASTS", 6.0)
    async with RelayClient.open(relay.url) as room:

        async def take_away() -> None:
            await runs(tmp_path / "runs")
            # Whoever knows the holder's name and token ends the lease, as a relay does with a holder that has left.
            held = await leases.acquire(room, LeaseRequest(key="port:1", holder="ann", ttl_ms=60_000))
            change = LeaseChange(key="port:1", holder="ann", lease_token=held.lease_token or "")
            await leases.release(room, change)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_away)
            command = [sys.executable, "-c", _RUNS, str(tmp_path / "runs")]
            with pytest.raises(Failure, match="the lease on port:1 was lost; the command was stopped"):
                await run_with_lease(room, "port:1", ANN, command, wait=0)


async def test_it_is_renewed_for_as_long_as_the_command_runs(
    relay: ServingRelay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "LASTS", 6.0)
    wait = "import pathlib, sys, time\nwhile not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.05)"
    async with RelayClient.open(relay.url) as room, trio.open_nursery() as nursery:

        async def until_renewed() -> None:
            ends: set[int | None] = set()
            with trio.fail_after(60):
                while len(ends) < 2:
                    ends |= {each.expires_at for each in await leases.list_leases(room, key="port:2")}
                    await trio.sleep(0.05)
            (tmp_path / "renewed").touch()

        nursery.start_soon(until_renewed)
        command = [sys.executable, "-c", wait, str(tmp_path / "renewed")]
        assert await run_with_lease(room, "port:2", ANN, command, wait=0) == 0
        assert await leases.list_leases(room, key="port:2") == []


async def test_what_another_holds_is_waited_for(
    relay: ServingRelay, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "LOOK_EVERY", 0.05)
    async with RelayClient.open(relay.url) as room, trio.open_nursery() as nursery:
        held = await leases.acquire(room, LeaseRequest(key="file:src/**", holder="ben", ttl_ms=60_000))
        said = trio.Event()

        async def give_back() -> None:
            with trio.fail_after(60):
                while "waiting for ben (file:src/**)" not in capsys.readouterr().err:
                    await trio.sleep(0.02)
            said.set()
            await leases.release(
                room, LeaseChange(key=held.key, holder="ben", lease_token=held.lease_token or "")
            )

        nursery.start_soon(give_back)
        assert await run_with_lease(room, "file:src/a.py", ANN, ["true"], wait=60) == 0
        assert said.is_set()


async def test_waiting_for_what_another_holds_has_an_end(
    relay: ServingRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "LOOK_EVERY", 0.05)
    async with RelayClient.open(relay.url) as room:
        await leases.acquire(room, LeaseRequest(key="port:3", holder="ben", ttl_ms=60_000))
        with pytest.raises(Conflict, match="'ben' holds 'port:3'"):
            await run_with_lease(room, "port:3", ANN, ["true"], wait=0.2)


async def test_a_claim_that_is_taken_away_stops_the_command(
    relay: ServingRelay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "LASTS", 6.0)
    async with RelayClient.open(relay.url) as room:
        for name in ("ann", "carl"):
            await room.register(AgentRegistration(id=name))
        request = SendRequest(sender="ben", to="ann", body="work", claimable=True, allow_unknown=True)
        work = await room.send(request)

        async def take_away() -> None:
            await runs(tmp_path / "runs")
            await room.release(work.id, "ann", None)
            await room.claim(work.id, "carl")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_away)
            command = [sys.executable, "-c", _RUNS, str(tmp_path / "runs")]
            with pytest.raises(Failure, match=f"the claim on message {work.id} was lost"):
                await run_with_claim(room, work.id, ANN, command)
        assert (await room.message(work.id)).claimed_by == "carl"


async def test_a_signal_stops_the_command_and_gives_the_lease_back(
    relay: ServingRelay, tmp_path: Path
) -> None:
    env = clean_environment(tmp_path, AGENT_RELAY_URL=relay.url)
    command = [sys.executable, "-m", "trio_relay", "leases", "run", "port:4", "--"]
    command += [sys.executable, "-c", _RUNS, str(tmp_path / "runs")]
    async with RelayClient.open(relay.url) as room:
        process = await trio.lowlevel.open_process(command, env=env, cwd=tmp_path)
        await runs(tmp_path / "runs")
        assert len(await leases.list_leases(room, key="port:4")) == 1
        process.terminate()
        with trio.fail_after(60):
            assert await process.wait() == 128 + 15
        assert await leases.list_leases(room, key="port:4") == []
