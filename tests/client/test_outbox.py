"""What is said while the relay is away arrives once and in order, whatever ends the program meanwhile."""

import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from trio_relay.client import Relay
from trio_relay.client.outbox import Outbox, default_path
from trio_relay.client.sending import message_of
from trio_relay.core.wire import AgentRegistration
from trio_relay.errors import Invalid, NotFound
from trio_relay.testing import InsideRelay


async def arrived(relay: Relay, agent: str) -> list[str]:
    found: list[str] = []
    after = 0
    while page := await relay.client.inbox(agent, after_seq=after, limit=1000):
        found += [message.body for message in page]
        after = page[-1].inbox_seq
    return found


@pytest.fixture
async def bob(relay: Relay) -> str:
    return (await relay.client.register(AgentRegistration(id="bob"))).id


async def test_what_is_said_to_a_relay_that_is_away_arrives_once_and_in_order(
    inside: InsideRelay, relay: Relay, bob: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with inside.connect(outbox=tmp_path / "out.db") as sender, sender.agent("ann") as ann:
        inside.cut()
        began = trio.current_time()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def come_back() -> None:
                await trio.sleep(60)
                inside.mend()

            for number in range(500):
                await ann.post(bob, str(number))
                await trio.sleep(60 / 500)
        assert await sender.outbox.waiting() == 500
        await sender.outbox.flush()
        assert trio.current_time() - began < 120
    assert await arrived(relay, bob) == [str(number) for number in range(500)]


async def test_an_answer_that_was_lost_makes_no_second_message(
    inside: InsideRelay, relay: Relay, bob: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    request = message_of("ann", bob, "once", {})
    await relay.client.send(request)  # the relay has it; its answer never came, and the program died
    async with inside.connect(outbox=tmp_path / "out.db") as sender:
        assert await sender.outbox.post(request) == request.idempotency_key
        assert await sender.outbox.post(request) == request.idempotency_key
        await sender.outbox.flush()
    assert await arrived(relay, bob) == ["once"]


async def test_what_the_relay_refuses_is_set_aside_and_the_rest_goes_on(
    inside: InsideRelay, relay: Relay, bob: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with inside.connect(outbox=tmp_path / "out.db") as sender:
        await sender.post(bob, "one", sender="ann")
        bad = await sender.post("nobody", "two", sender="ann")
        await sender.post("nobody else", "three", sender="ann")
        await sender.post(bob, "four", sender="ann")
        await sender.outbox.flush()
        first, second = await sender.outbox.refused()
        assert (first.key, first.code, first.request.body) == (bad, "unknown_recipient", "two")
        assert first.reason is not None
        assert "nobody" in first.reason
        await sender.outbox.drop(second.key)
        await relay.client.register(AgentRegistration(id="nobody"))
        await sender.outbox.retry(bad)
        await sender.outbox.flush()
        assert await sender.outbox.refused() == []
        with pytest.raises(NotFound):
            await sender.outbox.drop(bad)
    assert await arrived(relay, bob) == ["one", "four"]
    assert await arrived(relay, "nobody") == ["two"]


async def test_a_token_that_does_not_count_is_no_fault_of_a_message(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    from trio_relay.testing import open_relay

    async with open_relay(token="right") as guarded, guarded.connect() as relay:
        await relay.client.register(AgentRegistration(id="bob"))
        async with guarded.connect("wrong", outbox=tmp_path / "out.db") as sender:
            await sender.post("bob", "hi", sender="ann")
            await trio.sleep(60)
            assert await sender.outbox.waiting() == 1
        async with guarded.connect(outbox=tmp_path / "out.db") as sender:
            await sender.outbox.flush()
        assert await arrived(relay, "bob") == ["hi"]


async def test_two_programs_share_a_file_and_one_sends(
    inside: InsideRelay, relay: Relay, bob: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    path = tmp_path / "out.db"
    async with inside.connect(outbox=path) as one, inside.connect(outbox=path) as other:
        await one.post(bob, "one", sender="ann")
        await other.post(bob, "two", sender="ann")
        await one.outbox.flush()
        await other.outbox.flush()
    assert await arrived(relay, bob) == ["one", "two"]


async def test_an_attempt_too_old_to_be_made_again_is_set_aside(
    inside: InsideRelay,
    relay: Relay,
    bob: str,
    tmp_path: Path,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "out.db"
    inside.cut()
    async with inside.connect(outbox=path) as sender:
        await sender.post(bob, "tried", sender="ann")
        await sender.post(bob, "never tried", sender="ann")
        await trio.sleep(10)
    inside.mend()
    from trio_relay.client import outbox

    now = outbox._now
    monkeypatch.setattr(outbox, "_now", lambda: now() + 24 * 3_600_000)
    async with inside.connect(outbox=path) as sender:
        await sender.outbox.flush()
        (aside,) = await sender.outbox.refused()
    assert (aside.request.body, aside.code) == ("tried", "outcome_unknown")
    assert await arrived(relay, bob) == ["never tried"]


PROGRAM = """
import sys, anyio
from trio_relay.client.outbox import Outbox
from trio_relay.client.sending import message_of

async def main():
    async with Outbox.open(sys.argv[1]) as outbox:
        for number in range(100_000):
            await outbox.post(message_of("ann", "bob", str(number), {}))
            print(number, flush=True)

anyio.run(main)
"""


async def test_what_was_posted_survives_kill_9(
    inside: InsideRelay, relay: Relay, bob: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    path = tmp_path / "box" / "out.db"
    program = subprocess.Popen([sys.executable, "-c", PROGRAM, path], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    said = [int(program.stdout.readline()) for _ in range(50)]
    program.send_signal(signal.SIGKILL)
    said += [int(line) for line in program.stdout]
    program.stdout.close()
    program.wait()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    async with inside.connect(outbox=path) as sender:
        await sender.outbox.flush()
    found = await arrived(relay, bob)
    assert found == [str(number) for number in range(len(found))]
    assert len(said) <= len(found) <= len(said) + 1


async def test_a_file_that_is_no_outbox_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello, this is no database at all" * 40)
    with pytest.raises(Invalid, match="cannot be opened"):
        async with Outbox.open(tmp_path / "text"):
            pass
    with pytest.raises(Invalid, match="cannot be opened"):
        async with Outbox.open(tmp_path):
            pass


async def test_without_an_outbox_there_is_nothing_to_post_to(relay: Relay, autojump_clock: MockClock) -> None:
    with pytest.raises(Invalid, match="no outbox"):
        await relay.post("bob", "hi", sender="ann")


def test_every_relay_has_an_outbox_of_its_own_by_default() -> None:
    assert default_path("http://one:4850") != default_path("http://two:4850")
