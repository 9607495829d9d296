"""Whatever is sent to it, the server lives, answers the next client, and does not grow.

``HOSTILE_ROUNDS=6`` looks longer for growth.
"""

import os
from collections.abc import Iterator

import pytest
import trio

from support.hostile_requests import ALL, BY_NAME, NOTHING, Hostile
from support.raw_http import raw_client
from support.serving import ServerProcess, server_process

#: Resident memory may rise by this much over all rounds (bytes): allocators keep what they got.
GROWTH = 15 * 1024 * 1024
WARM_UP_ROUNDS, ROUNDS = 1, int(os.environ.get("HOSTILE_ROUNDS", "2"))


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with server_process("ours") as process:
        yield process


async def attack(url: str, hostile: Hostile) -> int | None:
    """Send it; answer the status of the first response, `NOTHING` for none, None where nobody looked."""
    async with raw_client(url) as client:
        if hostile.websocket:
            assert (await client.open_websocket("/ws")).status == 101
        if hostile.then in {"close", "reset"}:
            await client.send_anyway(hostile.sent)
            if hostile.then == "reset":
                client.reset()
            return None
        status: list[int] = [101] if hostile.websocket else []

        async def read() -> None:
            try:
                if not hostile.websocket:
                    answer = await client.read_answer()
                    status.append(answer.status)
                    if answer.status >= 400 and answer.headers.get("connection") == "close":
                        answer.problem()
                if hostile.websocket or hostile.then == "half-close":
                    await client.read_to_end()
            except EOFError:
                status.append(NOTHING)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await client.send_anyway(hostile.sent)
            if hostile.then == "half-close":
                await client.stream.send_eof()
        return status[0]


async def lives(server: ServerProcess) -> bool:
    async with raw_client(server.url) as client:
        return server.alive and (await client.get("/")).json() == {"hello": "world"}


def test_the_names_tell_the_cases_apart() -> None:
    assert len(BY_NAME) == len(ALL) > 51


@pytest.mark.parametrize("hostile", ALL, ids=lambda hostile: hostile.name)
async def test_the_server_bears(server: ServerProcess, hostile: Hostile) -> None:
    with trio.fail_after(60):
        status = await attack(server.url, hostile)
        assert status is None or status in hostile.answers
        assert await lives(server)


async def test_its_memory_does_not_grow(server: ServerProcess) -> None:
    async def everything() -> None:
        for hostile in ALL:
            await attack(server.url, hostile)

    with trio.fail_after(300):
        for _ in range(WARM_UP_ROUNDS):
            await everything()
        before = server.resident
        for _ in range(ROUNDS):
            await everything()
        assert await lives(server)
        assert server.resident - before < GROWTH


@pytest.mark.parametrize(
    "name",
    [
        "websocket: one byte too early",
        "websocket: extension not ASCII",
        "websocket: protocol not ASCII",
        "websocket: connection not ASCII",
        "h2c: short settings",
        "h2: CONNECT without a path",
    ],
)
async def test_the_stock_server_does_not_bear(name: str) -> None:
    """That is what the hardening is for, and it shows that these tests can fail (pgjones/hypercorn#225)."""
    with server_process("stock") as server:
        assert await lives(server)
        async with raw_client(server.url) as client:
            await client.send_anyway(BY_NAME[name].sent)
            await client.read_to_end()
        assert server.wait(30) == 1
