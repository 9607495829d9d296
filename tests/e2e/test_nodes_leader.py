"""The node that keeps house and sends the callbacks is killed: another one does so within seconds."""

import json
from collections import Counter
from contextlib import suppress
from pathlib import Path

import httpx2
import trio

from support.nodes import NodeProcess, cluster, metric
from support.raw_receiver import read_request, receiver
from trio_relay.client import RelayClient
from trio_relay.core.wire import AgentRegistration, SendRequest

EVENTS = 10


async def leader_of(nodes: list[NodeProcess]) -> NodeProcess:
    while True:
        leading = [node for node in nodes if await metric(node.url, "trio_relay_leading") == 1]
        if leading:
            (leader,) = leading
            return leader
        await trio.sleep(0.02)


async def test_callbacks_and_expiry_go_on_when_their_node_is_killed(
    tmp_path: Path, postgres_url: str
) -> None:
    heard: Counter[str] = Counter()
    first_heard, killed = trio.Event(), trio.Event()
    deliveries: list[str] = []

    async def take(stream: trio.SocketStream) -> None:
        head, _ = await read_request(stream)
        delivery = dict(head.headers)[b"x-trio-relay-delivery"].decode()
        heard[delivery] += 1
        deliveries.append(delivery)
        first_heard.set()
        await killed.wait()  # the first one is on its way when its sender dies
        with suppress(trio.BrokenResourceError):  # the one that was killed hears nothing
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async def happen(node: NodeProcess, number: int) -> None:
        event = {"type": "build", "title": f"red {number}", "target": "tag:ops"}
        async with httpx2.AsyncClient(base_url=node.url, trust_env=False, timeout=60) as http:
            answer = await http.post(
                "/api/integrations/events", json=event, headers={"Authorization": "Bearer ci-token"}
            )
        assert answer.status_code == 201

    async with receiver(take) as hook:
        integrations = json.dumps([{"name": "ci", "token": "ci-token", "callbackUrl": hook}])
        with trio.fail_after(120):
            async with cluster(tmp_path, postgres_url, 2, AGENT_RELAY_INTEGRATIONS=integrations) as nodes:
                leader = await leader_of(nodes)
                (other,) = (node for node in nodes if node is not leader)
                async with RelayClient.open(other.url, timeout=30) as relay:
                    await happen(other, 0)
                    await first_heard.wait()
                    # Work whose holder will never be heard of again, and messages that run out.
                    await relay.register(AgentRegistration(id="worker"))
                    work = await relay.send(SendRequest(sender="x", to="worker", body="work", claimable=True))
                    await relay.claim(work.id, "worker", ttl_ms=1000)
                    await leader.kill()
                    killed.set()
                    assert await leader_of([other]) is other
                    for number in range(1, EVENTS):
                        await happen(other, number)
                    while len(heard) < EVENTS:
                        await trio.sleep(0.02)
                    while (await relay.message(work.id)).claimed_by is not None:
                        await trio.sleep(0.02)
                    # Back as a follower: nothing is sent twice because there are two.
                    await leader.start()
                    assert await metric(leader.url, "trio_relay_leading") == 0
                    for number in range(EVENTS, 2 * EVENTS):
                        await happen(nodes[number % 2], number)
                    while len(heard) < 2 * EVENTS:
                        await trio.sleep(0.02)
    assert deliveries[0] == deliveries[1], "what was on its way is sent again first, under the same id"
    assert [count for _, count in heard.most_common()] == [2] + [1] * (2 * EVENTS - 1)
