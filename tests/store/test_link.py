"""A node's own connection, on a real PostgreSQL that is stopped, frozen and killed."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psycopg
import pytest
import trio

from support.postgres import PostgresServer, private_server
from trio_relay.errors import Unavailable
from trio_relay.store import link as link_module
from trio_relay.store.link import Link, open_link


@dataclass
class Ear:
    link: Link
    heard: list[str] = field(default_factory=list)
    something: trio.Event = field(default_factory=trio.Event)

    async def hears(self, count: int) -> list[str]:
        while len(self.heard) < count:
            await self.something.wait()
        return self.heard

    def hear(self, payload: str) -> None:
        self.heard.append(payload)
        self.something.set()
        self.something = trio.Event()


@asynccontextmanager
async def listening(url: str, name: str) -> AsyncIterator[Ear]:
    ears: list[Ear] = []
    async with open_link(url, name, lambda payload: ears[0].hear(payload)) as link:  # noqa: PLW0108  # not yet there
        ears.append(Ear(link))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.listen)
            yield ears[0]
            nursery.cancel_scope.cancel()


async def test_what_one_tells_all_hear(postgres_url: str) -> None:
    async with listening(postgres_url, "a") as a, listening(postgres_url, "b") as b:
        with trio.fail_after(60):
            await a.link.tell(["[1]", "[2]" + "x" * 7900])
            await b.link.tell(["[3]"])
            assert sorted(map(len, await a.hears(3))) == sorted(map(len, await b.hears(3))) == [3, 3, 7903]


async def test_one_leads_and_each_sees_who_is_there(postgres_url: str) -> None:
    with trio.fail_after(60):
        async with open_link(postgres_url, "b", lambda _: None) as b:
            async with open_link(postgres_url, "a", lambda _: None) as a:
                with psycopg.connect(postgres_url, application_name="somebody else"):
                    first, second = await a.look(), await b.look()
                assert (first.leading, second.leading) == (True, False)
                assert first.present == second.present == {"a", "b"}
                assert (await a.look()).leading
            while not (sight := await b.look()).leading:
                await trio.sleep(0.01)
            assert sight.present == {"b"}


async def test_a_server_that_goes_is_noticed_by_whoever_listens_and_whoever_asks() -> None:
    with private_server() as server:
        async with open_link(server.url, "a", lambda _: None) as link:
            with trio.fail_after(60):
                async with trio.open_nursery() as nursery:

                    async def listen() -> None:
                        with pytest.raises(Unavailable):
                            await link.listen()

                    nursery.start_soon(listen)
                    await link.tell(["x"])
                    server.kill()
                for use in (link.look(), link.tell(["x"]), link.listen()):
                    with pytest.raises(Unavailable):
                        await use
                with pytest.raises(Unavailable, match="nothing listens there"):
                    async with open_link(server.url, "b", lambda _: None):
                        raise AssertionError
        server.start()


async def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with private_server() as server:
        with trio.fail_after(60):
            async with open_link(server.url, "a", lambda _: None) as link:
                monkeypatch.setattr(link_module, "PATIENCE", 0.2)
                with frozen(server), pytest.raises(Unavailable):
                    await link.look()


async def test_a_node_that_hangs_does_not_lead_for_ever(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "SILENCE", 1.0)
    with trio.fail_after(60):
        async with open_link(postgres_url, "hangs", lambda _: None) as hangs:
            assert (await hangs.look()).leading
            monkeypatch.undo()
            async with open_link(postgres_url, "lives", lambda _: None) as lives:
                while not (await lives.look()).leading:
                    await trio.sleep(0.05)
            with pytest.raises(Unavailable):
                await hangs.look()


class frozen:  # noqa: N801  # reads as a word
    """The sessions of a server do not answer while the block runs; the system still takes what is sent to them."""

    def __init__(self, server: PostgresServer) -> None:
        with psycopg.connect(server.url) as connection:
            rows = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
            )
            self._pids = [pid for (pid,) in rows if pid != connection.info.backend_pid]

    def __enter__(self) -> None:
        for pid in self._pids:
            os.kill(pid, signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        for pid in self._pids:
            os.kill(pid, signal.SIGCONT)
