"""Nodes of one database: who is woken, who leads, and what happens when a link or a node is lost. In virtual time."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import msgspec
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_relay.errors import Unavailable
from trio_relay.relay import nodes
from trio_relay.relay.hub import Hub
from trio_relay.relay.nodes import Node, pack
from trio_relay.store.link import Sight

NOW = 1_800_000_000_000


class FakeLink:
    def __init__(self, server: "FakeServer", name: str, on_heard: Callable[[str], None]) -> None:
        self.server, self.name, self.on_heard = server, name, on_heard
        self.broken = trio.Event()

    async def listen(self) -> None:
        await self.broken.wait()
        raise Unavailable("cut")

    async def tell(self, payloads: list[str]) -> None:
        await self._use()
        for payload in payloads:
            assert len(payload.encode()) < 8000
            self.server.told.append((trio.current_time(), payload))
            for link in list(self.server.links):
                link.on_heard(payload)

    async def look(self) -> Sight:
        await self._use()
        if self.server.leader is None:
            self.server.leader = self
        return Sight(self.server.leader is self, frozenset(self.server.sessions), NOW)

    async def _use(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.broken.is_set():
            raise Unavailable("cut")


class FakeServer:
    """What PostgreSQL does for nodes: passes on, gives the lock to one, knows whose sessions there are."""

    def __init__(self) -> None:
        self.up = True
        self.links: list[FakeLink] = []
        self.sessions: list[str] = []
        self.leader: FakeLink | None = None
        self.told: list[tuple[float, str]] = []

    @asynccontextmanager
    async def connect(self, name: str, on_heard: Callable[[str], None]) -> AsyncIterator[FakeLink]:
        await trio.lowlevel.checkpoint()
        if not self.up:
            raise Unavailable("down")
        link = FakeLink(self, name, on_heard)
        self.links.append(link)
        self.sessions.append(name)
        try:
            yield link
        finally:
            self.end(link)

    def end(self, link: FakeLink) -> None:
        if link in self.links:
            self.links.remove(link)
            self.sessions.remove(link.name)
        if self.leader is link:
            self.leader = None

    def stop(self) -> None:
        self.up = False
        for link in list(self.links):
            self.end(link)
            link.broken.set()


class Member:
    """A node in a cancel scope: cancelled, it is a process that was killed."""

    def __init__(self, server: FakeServer, name: str) -> None:
        self.hub = Hub()
        self.node = Node(name, self.hub, partial(server.connect, name), now=lambda: NOW, chance=lambda: 1.0)
        self.terms: list[tuple[str, float]] = []
        self.process = trio.CancelScope()

    async def run(self) -> None:
        with self.process:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.node.keep_linked)
                nursery.start_soon(self.node.lead, self.duties)

    async def duties(self) -> None:
        self.terms.append(("began", trio.current_time()))
        try:
            await trio.sleep_forever()
        finally:
            self.terms.append(("ended", trio.current_time()))

    async def rung(self, name: str) -> float:
        """When the bell of `name` next rings."""
        with self.hub.listening(name) as bell:
            await bell.wait()
        return trio.current_time()


@asynccontextmanager
async def running(*members: Member) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        for member in members:
            nursery.start_soon(member.run)
            await wait_all_tasks_blocked()
        yield
        nursery.cancel_scope.cancel()


async def test_what_one_node_tells_rings_on_the_others_and_only_there(autojump_clock: MockClock) -> None:
    server = FakeServer()
    a, b = Member(server, "a"), Member(server, "b")
    async with running(a, b):
        with a.hub.listening("bob") as own, b.hub.listening("bob") as far, b.hub.listening("cat") as other:
            a.node.tell({"bob"})
            await far.wait()
            assert trio.current_time() == 0
            assert not own.is_set(), "the node itself has rung its own bells at the commit"
            assert not other.is_set()


async def test_what_gathers_while_one_is_told_is_told_together(autojump_clock: MockClock) -> None:
    server = FakeServer()
    a, b = Member(server, "a"), Member(server, "b")
    async with running(a, b):
        server.told.clear()
        a.node.tell({"first"})
        await wait_all_tasks_blocked()
        for number in range(10):
            a.node.tell({f"agent{number}"})
        await trio.sleep(nodes.GATHER * 3)
    (first, one), (second, ten) = server.told
    assert (one, first, second) == ('["a","first"]', 0, nodes.GATHER)
    assert msgspec.json.decode(ten, type=set[str]) == {"a", *(f"agent{number}" for number in range(10))}


async def test_what_a_node_did_not_live_to_tell_is_looked_for(autojump_clock: MockClock) -> None:
    server = FakeServer()
    a, b = Member(server, "a"), Member(server, "b")
    async with running(a, b):
        server.sessions.append("a")  # a transaction of a's that is still being committed
        a.process.cancel()
        with trio.move_on_after(nodes.LOOK * 3):
            await b.rung("bob")
            pytest.fail("everybody looked before all that a had done could be seen")
        server.sessions.remove("a")
        with trio.fail_after(nodes.LOOK):
            await b.rung("bob")


async def test_a_node_that_lived_less_than_a_look_is_missed_too(autojump_clock: MockClock) -> None:
    server = FakeServer()
    b = Member(server, "b")
    async with running(b):
        await trio.sleep(nodes.LOOK / 2)
        async with running(Member(server, "short")):
            pass
        with trio.fail_after(nodes.LOOK):
            await b.rung("bob")


async def test_after_its_link_was_lost_a_node_looks_and_tells_what_it_had_to_tell(
    autojump_clock: MockClock,
) -> None:
    server = FakeServer()
    a, b = Member(server, "a"), Member(server, "b")
    async with running(a, b):
        a.node.tell({"bob"})
        server.stop()  # while it is being told
        await wait_all_tasks_blocked()
        a.node.tell({"ann"})
        # Down: everybody looks from time to time all the same.
        assert await b.rung("cat") <= nodes.RELOOK
        server.up = True
        server.told.clear()
        with trio.fail_after(nodes.RELOOK):
            await b.rung("cat")
            while not {"ann", "bob"} <= {
                each for _, told in server.told for each in msgspec.json.decode(told)
            }:
                await trio.sleep(nodes.GATHER)


async def test_one_leads_and_another_takes_over_within_a_look(autojump_clock: MockClock) -> None:
    server = FakeServer()
    a, b = Member(server, "a"), Member(server, "b")
    async with running(a, b):
        await trio.sleep(10)
        assert (a.terms, b.terms) == ([("began", 0)], [])
        a.process.cancel()
        await trio.sleep(nodes.LOOK + 0.1)
    assert a.terms[1] == ("ended", 10)
    assert 10 < b.terms[0][1] <= 10 + nodes.LOOK


async def test_who_loses_its_link_leads_no_more_at_once(autojump_clock: MockClock) -> None:
    server = FakeServer()
    a = Member(server, "a")
    async with running(a):
        await trio.sleep(5.5)
        server.stop()
        await wait_all_tasks_blocked()
        assert a.terms == [("began", 0), ("ended", 5.5)]
        assert not a.node.leading
        server.up = True
        await trio.sleep(nodes.RELOOK)
        assert a.node.leading
    assert len(a.terms) == 4


async def test_what_nobody_understands_makes_everybody_look(autojump_clock: MockClock) -> None:
    server = FakeServer()
    b = Member(server, "b")
    async with running(b):
        for payload in ("hello", "[]", '{"a": 1}'):
            with b.hub.listening("bob") as bell:
                server.links[0].on_heard(payload)
                assert bell.is_set(), payload


async def test_a_clock_that_is_wrong_is_reported_once(autojump_clock: MockClock) -> None:
    server = FakeServer()
    a = Member(server, "a")
    a.node = Node("a", a.hub, partial(server.connect, "a"), now=lambda: NOW + 1500, chance=lambda: 1.0)
    with capture_logs() as logs:
        async with running(a):
            await trio.sleep(10 * nodes.LOOK)
    (warning,) = (log for log in logs if log["log_level"] == "warning")
    assert warning["ms"] == 1500


def test_many_ids_take_many_payloads() -> None:
    ids = {f"agent-{number}-ü" * 3 for number in range(5000)}
    payloads = pack("node", ids)
    assert all(len(payload.encode()) <= nodes.PAYLOAD for payload in payloads)
    told = [msgspec.json.decode(payload, type=list[str]) for payload in payloads]
    assert all(name == "node" for name, *_ in told)
    assert {each for _, *some in told for each in some} == ids
    assert len(payloads) < 40
