"""64 clients race for claimables over real connections: each is claimed once, and nobody starves.

``RACE_WORK=1000`` is the long form.
"""

import os
import random
import statistics
from collections import Counter
from pathlib import Path

import trio

from support.relay_process import relay_process
from trio_relay.client import RelayClient
from trio_relay.core.wire import AgentRegistration, InboxMessage, SendRequest
from trio_relay.errors import Conflict

CLIENTS = 64
WORK = int(os.environ.get("RACE_WORK", "300"))


async def test_each_claimable_is_claimed_once(tmp_path: Path) -> None:
    won: Counter[str] = Counter()
    claims: list[tuple[int, str, int]] = []
    everything_claimed = trio.Event()

    async def race(url: str, name: str, *, task_status: trio.TaskStatus[None]) -> None:
        async with RelayClient.open(url, timeout=60) as relay:
            await relay.register(AgentRegistration(id=name, tags=["racer"], ready=True))
            task_status.started()
            rng = random.Random(name)
            while True:
                # What others completed leaves the inbox; all look at the same few, and one of them wins each.
                found: list[InboxMessage] = await relay.inbox(name, wait=10, limit=16)
                if not found:
                    continue
                message = rng.choice(found)
                try:
                    claimed = await relay.claim(message.id, name)
                except Conflict as lost:
                    assert lost.code in {"claimed", "completed"}
                    continue
                claims.append((message.id, name, claimed.lease_epoch))
                won[name] += 1
                await relay.complete(message.id, name, claimed.lease_token)
                if len(claims) >= WORK:
                    everything_claimed.set()

    async with relay_process(tmp_path) as (_, url):
        with trio.fail_after(120):
            async with trio.open_nursery() as racers, RelayClient.open(url, timeout=60) as sender:
                for number in range(CLIENTS):
                    await racers.start(race, url, f"racer-{number:02}")
                async with trio.open_nursery() as senders:
                    for number in range(WORK):
                        request = SendRequest(sender="ci", to="tag:racer", body=str(number), claimable=True)
                        senders.start_soon(sender.send, request)
                        if number % 20 == 0:
                            await trio.lowlevel.checkpoint()
                await everything_claimed.wait()
                racers.cancel_scope.cancel()
            async with RelayClient.open(url) as relay:
                stats = await relay.stats()
    assert len(claims) == WORK
    assert len({message_id for message_id, _, _ in claims}) == WORK, "something was claimed twice"
    assert {epoch for _, _, epoch in claims} == {1}
    assert stats.messages == WORK
    shares = sorted(won[f"racer-{number:02}"] for number in range(CLIENTS))
    print(f"claims a client: least {shares[0]}, median {statistics.median(shares)}, most {shares[-1]}")
