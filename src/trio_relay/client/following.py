"""Following a message up its ladders, until it is where its sender wants it."""

from collections.abc import Sequence

import anyio

from trio_relay.client.holding import DELAYS, insist
from trio_relay.client.http import RelayClient
from trio_relay.core.ladder import FINAL, was_on
from trio_relay.core.model import Rung
from trio_relay.core.wire import Receipt, SentMessage
from trio_relay.errors import NotDelivered

#: How often receipts are read, seconds.
LOOK_EVERY = 0.1


async def reach(
    relay: RelayClient, message: SentMessage, rung: Rung, every: float = LOOK_EVERY
) -> list[Receipt]:
    """Wait until every recipient of `message` (of a claimable: one) was seen on `rung` or above; the ladders then.

    It is looked at `every` so many seconds.

    Raises:
        NotDelivered: it cannot get there any more.

    """
    while True:
        ladders = await insist(lambda: relay.receipts(message.id), DELAYS)
        if ladders and _all(ladders, message, rung, over=False):
            return ladders
        if ladders and not _all(ladders, message, rung, over=True):
            ended = ", ".join(f"{ladder.agent_id}: {ladder.state}" for ladder in ladders)
            raise NotDelivered(f"message {message.id} will not be {rung} ({ended})")
        await anyio.sleep(every)


def _all(ladders: Sequence[Receipt], message: SentMessage, rung: Rung, *, over: bool) -> bool:
    """Whether enough recipients were there; with `over`, or may still get there."""
    enough = any if message.claimable else all
    return enough(
        was_on([step.state for step in ladder.steps], rung) or (over and ladder.state not in FINAL)
        for ladder in ladders
    )
