"""The relay as a process: SIGTERM leaves nobody waiting."""

import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from support.commands import clean_environment, serving_relay
from support.raw_http import Answer, RawClient, raw_client, request
from trio_relay.client import RelayClient
from trio_relay.core.wire import AgentRegistration

POLLS = 50
OWN_HOST = "Host: localhost"


def get(path: str) -> bytes:
    """A GET that a relay without a token answers: it names this machine."""
    return request("GET", path).replace(b"Host: relay.test", OWN_HOST.encode())


async def until_open(client: RawClient, polls: int) -> None:
    """Ask the relay, until it says so."""
    line = f"\ntrio_relay_open_polls {float(polls)}\n".encode()
    while True:
        await client.send(get("/metrics"))
        if line in (await client.read_answer()).body:
            return


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_answers_every_open_poll_and_ends_the_process(
    tmp_path: Path, number: signal.Signals
) -> None:
    answers: list[Answer] = []

    async def answer(client: RawClient) -> None:
        answers.append(await client.read_answer())

    with serving_relay(env=clean_environment(tmp_path), cwd=tmp_path) as relay, trio.fail_after(60):
        async with (
            RelayClient.open(relay.url) as room,
            AsyncExitStack() as clients,
            trio.open_nursery() as nursery,
        ):
            polls = [await clients.enter_async_context(raw_client(relay.url)) for _ in range(POLLS)]
            for count, client in enumerate(polls):
                await room.register(AgentRegistration(id=f"agent-{count}"))
                await client.send(get(f"/api/messages?for=agent-{count}&wait=60"))
                nursery.start_soon(answer, client)
            events = await clients.enter_async_context(raw_client(relay.url))
            await events.send(get("/api/events"))
            await events.stream.receive_some()
            idle = await clients.enter_async_context(raw_client(relay.url))
            await until_open(idle, POLLS)

            relay.process.send_signal(number)
            assert b"0\r\n\r\n" in await events.read_to_end()
            assert await idle.read_to_end() == b""
            code = await trio.to_thread.run_sync(relay.process.wait)
        assert [(one.status, one.body) for one in answers] == [(200, b"[]")] * POLLS
        assert code == 0
