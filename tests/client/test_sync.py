"""The library without an event loop, against a relay on a real port."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from trio_relay.client import leases
from trio_relay.client.sync import Relay, connect
from trio_relay.core.wire import AgentRegistration
from trio_relay.core.wire_rooms import LeaseChange
from trio_relay.errors import ConnectionLost, StaleInstance
from trio_relay.testing import ServedRelay, serve_relay


@pytest.fixture(scope="module")
def served() -> Iterator[ServedRelay]:
    with serve_relay() as opened:
        yield opened


@pytest.fixture
def relay(served: ServedRelay) -> Iterator[Relay]:
    with connect(served.url) as connected:
        yield connected


def test_messages_go_there_and_back(relay: Relay) -> None:
    def answer() -> None:
        with relay.agent("bob") as bob:
            there.set()
            for message in bob.inbox(timeout=60):
                with message:
                    message.reply(f"{message.body}? yes")
                if message.meta.get("last"):
                    return

    there = threading.Event()
    thread = threading.Thread(target=answer)
    thread.start()
    assert there.wait(60)
    with relay.agent("ann", tags=["t"]) as ann:
        assert ann.ask("bob", "ready", timeout=60).body == "ready? yes"
        sent = ann.send("bob", "done", wait="settled", meta={"last": True})
        thread.join()
        message = ann.receive(60)
        assert (message.wire.reply_to, message.body) == (sent.id, "done? yes")
        message.settle()
        assert message.settled
        assert list(ann.inbox(timeout=0.01)) == []
    assert {agent.id for agent in relay.agents(status="offline")} >= {"ann", "bob"}
    assert relay.search("ready")[-1].sender == "ann"


def test_work_is_claimed_completed_and_waited_for(served: ServedRelay, relay: Relay) -> None:
    with connect(served.url, served.mint("ci")) as ci, relay.agent("fixer", tags=["fix"]) as fixer:
        with ci.events("task.*") as events:
            task = ci.post_event("red", target="tag:fix")
            assert next(events).data["taskId"] == task.id
        claimables = fixer.claimables(timeout=60)
        with pytest.raises(ZeroDivisionError), next(claimables):
            _ = 1 / 0
        with next(claimables) as work, fixer.lease("file:src/**") as lease:
            work.progress({"done": 0.5})
            work.result = {"pull": 7}
        assert (work.lost, lease.lost) == (False, False)
        assert ci.wait_for_task(task.id, timeout=60).result == {"pull": 7}


def test_whoever_is_replaced_is_stopped_and_told(relay: Relay) -> None:
    with pytest.raises(StaleInstance, match="a newer instance"), relay.agent("twice") as old:  # noqa: PT012
        relay.run(relay.client.register, AgentRegistration(id="twice", instance_id="the newer one"))
        relay.send("twice", "hello", sender="ann")
        old.receive()


def test_a_block_whose_lease_is_lost_can_see_it(relay: Relay) -> None:
    with relay.agent("holder") as me, me.lease("port:1", ttl=1) as lease:
        change = LeaseChange(key="port:1", holder="holder", lease_token=lease.token)
        relay.run(leases.release, relay.client, change)
        deadline = time.monotonic() + 60
        while not lease.lost and time.monotonic() < deadline:
            time.sleep(0.05)
        assert lease.lost


def test_the_outbox_waits_for_the_relay(served: ServedRelay, relay: Relay, tmp_path: Path) -> None:
    relay.run(relay.client.register, AgentRegistration(id="later"))
    with connect("http://127.0.0.1:1", outbox=tmp_path / "out.db") as away:
        away.post("later", "one", sender="ann")
        assert away.outbox.waiting() == 1
        with pytest.raises(TimeoutError):
            away.outbox.flush(timeout=0.01)
        with pytest.raises(ConnectionLost):
            away.agents()
    with connect(served.url, outbox=tmp_path / "out.db") as there:
        there.outbox.flush(timeout=60)
    with relay.agent("later") as later:
        assert later.receive(60).body == "one"


#: A program that was started in the background of a script ignores SIGINT, and so would all it starts.
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from trio_relay.client import leases
from trio_relay.client.sync import connect
with connect(sys.argv[1]) as relay, relay.agent("stopped") as me:
    print("there", flush=True)
    for message in me.inbox():
        pass
"""


def test_ctrl_c_ends_a_program_at_once_and_its_agent_goes_offline(served: ServedRelay, relay: Relay) -> None:
    command = [sys.executable, "-c", PROGRAM, served.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == "there\n"
            deadline = time.monotonic() + 60
            while "trio_relay_open_polls 1.0" not in urlopen(f"{served.url}/metrics").read().decode():
                assert time.monotonic() < deadline, "it never waited for a message"
            program.send_signal(signal.SIGINT)
            _, said = program.communicate(timeout=60)
        finally:
            program.kill()
    assert said.strip().endswith("KeyboardInterrupt")
    assert program.returncode == -signal.SIGINT
    (stopped,) = [agent for agent in relay.agents() if agent.id == "stopped"]
    assert stopped.status == "offline"
