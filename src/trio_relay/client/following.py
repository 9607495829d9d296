"""Following a message up its ladders, until it is where its sender wants it."""

import anyio

from trio_relay.client.holding import DELAYS, insist
from trio_relay.client.http import RelayClient
from trio_relay.core.ladder import FINAL, was_on
from trio_relay.core.model import Rung
from trio_relay.core.wire import Receipt, SentMessage
from trio_relay.errors import NotDelivered

#: Seconds between two looks at the receipts: at first, and after a while.
FIRST = 0.1
LOOK_EVERY = 1.0


async def reach(
    relay: RelayClient,
    message: SentMessage,
    rung: Rung,
    *,
    every: float = LOOK_EVERY,
    one_is_enough: bool = False,
) -> list[Receipt]:
    """Wait until every recipient of `message` (of a claimable: one) was seen on `rung` or above; the ladders then.

    It is looked at often at first, later `every` so many seconds.

    Raises:
        NotDelivered: it cannot get there any more.

    """
    enough = any if message.claimable or one_is_enough else all
    pause = FIRST
    while True:
        ladders = await insist(lambda: relay.receipts(message.id), DELAYS)
        if ladders and enough(_was_there(ladder, rung) for ladder in ladders):
            return ladders
        if ladders and not enough(_was_there(each, rung) or each.state not in FINAL for each in ladders):
            ended = ", ".join(f"{ladder.agent_id}: {ladder.state}" for ladder in ladders)
            raise NotDelivered(f"message {message.id} will not be {rung} ({ended})")
        await anyio.sleep(pause)
        pause = min(pause * 1.2, every)


def _was_there(ladder: Receipt, rung: Rung) -> bool:
    return was_on([step.state for step in ladder.steps], rung)
