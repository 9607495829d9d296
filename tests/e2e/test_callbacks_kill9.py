"""A relay that is killed while it calls back tells the receiver again after its restart, under the same id."""

import json
from contextlib import suppress
from functools import partial
from pathlib import Path

import httpx2
import trio

from support.commands import clean_environment, serving_relay
from support.raw_receiver import read_request, receiver


async def test_killed_between_sending_and_noting_it_sends_again(tmp_path: Path) -> None:
    heard_send, heard = trio.open_memory_channel[str](10)
    killed = trio.Event()

    async def take(stream: trio.SocketStream) -> None:
        head, _ = await read_request(stream)
        await heard_send.send(dict(head.headers)[b"x-trio-relay-delivery"].decode())
        await killed.wait()
        with suppress(trio.BrokenResourceError):  # the one that was killed hears nothing
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with receiver(take) as hook:
        integrations = json.dumps([{"name": "ci", "token": "ci-token", "callbackUrl": hook}])
        env = clean_environment(tmp_path, AGENT_RELAY_INTEGRATIONS=integrations)
        start = partial(serving_relay, "--db", str(tmp_path / "relay.db"), env=env, cwd=tmp_path)

        with start() as relay:
            async with httpx2.AsyncClient(base_url=relay.url, trust_env=False, timeout=60) as http:
                event = {"type": "build", "title": "red", "target": "tag:ops"}
                headers = {"Authorization": "Bearer ci-token"}
                made = await http.post("/api/integrations/events", json=event, headers=headers)
                assert made.status_code == 201
            with trio.fail_after(60):
                first = await heard.receive()
            relay.process.kill()
            relay.process.wait()
        killed.set()
        with start() as relay, trio.fail_after(60):
            assert await heard.receive() == first
