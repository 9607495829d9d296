"""What is on a channel the agent does not hear is settled as skipped, once, and never delivered."""

import pytest

from support.sidecar import Stage
from trio_relay.core.model import Rung
from trio_relay.settings import AgentSettings

HEARS_OPS = AgentSettings(channels=("ops",))


@pytest.mark.parametrize("claimable", [False, True])
async def test_a_filtered_message_is_skipped_and_not_polled_again(stage: Stage, claimable: bool) -> None:
    async with stage.sidecar(agent=HEARS_OPS) as bob:
        filtered = await stage.send(bob.agent_id, "for developers", channel="dev", claimable=claimable)
        await stage.until(filtered.id, bob.agent_id, Rung.SETTLED)
        wanted = [
            await stage.send(bob.agent_id, "for all"),
            await stage.send(bob.agent_id, "x", channel="ops"),
        ]
        for sent in wanted:
            await stage.until(sent.id, bob.agent_id, Rung.SETTLED)
        evidence = (await stage.evidence(filtered.id, bob.agent_id))["settled"]
        assert evidence == {"skipped": "channel", "channel": "dev"}
        assert await stage.relay.inbox(bob.agent_id) == []
        assert (await stage.relay.message(filtered.id)).claimed_by is None
    async with stage.sidecar(agent=HEARS_OPS) as again:
        last = await stage.send(again.agent_id, "and again for all")
        await stage.until(last.id, again.agent_id, Rung.SETTLED)
        said = stage.fake.thread(again.thread_id).client_ids
    assert [int(number) for ids in said for number in ids.removeprefix("relay:").split(",")] == [
        *(sent.id for sent in wanted),
        last.id,
    ]


async def test_a_fan_out_on_another_channel_does_not_even_reach_the_inbox(stage: Stage) -> None:
    async with stage.sidecar(agent=HEARS_OPS) as bob:
        for target in ("broadcast", "cap:chat"):
            sent = await stage.send(target, "for developers", channel="dev")
            assert bob.agent_id not in [each.agent_id for each in sent.recipients]
        heard = await stage.send("broadcast", "for operators", channel="ops")
        assert [each.agent_id for each in heard.recipients] == [bob.agent_id]
        await stage.until(heard.id, bob.agent_id, Rung.SETTLED)
        assert await stage.relay.inbox(bob.agent_id, unread=False) != []
        assert stage.fake.thread(bob.thread_id).client_ids == [f"relay:{heard.id}"]
