"""What has arrived and was not handed off yet: how long it waits for company, and who goes next."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from trio_relay.core.batching import Standing, asked_delivery, next_batch, travels_alone
from trio_relay.core.model import Delivery
from trio_relay.core.timing import due_at
from trio_relay.core.wire import InboxMessage


@dataclass(frozen=True, slots=True)
class _Arrival:
    message: InboxMessage
    at: float


class Arrivals:
    """Messages that wait for their first hand-off, oldest first. Times are trio's; `digest_window` in seconds."""

    def __init__(self, digest_window: float) -> None:
        self._digest_window = digest_window
        self._last_digest = float("-inf")
        self._waiting: list[_Arrival] = []

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def messages(self) -> list[InboxMessage]:
        """Everything that waits."""
        return [arrival.message for arrival in self._waiting]

    def put(self, message: InboxMessage, now: float) -> None:
        """Take one in."""
        self._waiting.append(_Arrival(message, now))
        self._waiting.sort(key=lambda arrival: arrival.message.inbox_seq)

    def drop(self, message_ids: Collection[int]) -> None:
        """Forget some: they have lost their point."""
        self._waiting = [one for one in self._waiting if one.message.id not in message_ids]

    def take(
        self, now: float, standing: Standing, *, window: float
    ) -> tuple[tuple[InboxMessage, ...], float]:
        """Take out what goes next, or say until when to wait for it (maybe for ever).

        `window`: the longest a burst may gather. Digests gather until the oldest has waited their window and the last
        ones are a window ago; along with a batch that begins a turn anyway they go earlier.
        """
        digests_due = self._digests_due()
        standing = replace(standing, digests_due=digests_due <= now)
        later = float("inf") if standing.active else digests_due
        batch = next_batch(self.messages, standing)
        if not batch:
            return (), later
        chosen = {message.id for message in batch}
        ordinary = [
            one.at
            for one in self._waiting
            if one.message.id in chosen and asked_delivery(one.message) is not Delivery.DIGEST
        ]
        if ordinary and not travels_alone(batch[0]):
            due = due_at(min(ordinary), max(ordinary), active=standing.active, window=window)
            if due > now:
                return (), min(later, due)
        if any(asked_delivery(message) is Delivery.DIGEST for message in batch):
            self._last_digest = now
        self.drop(chosen)
        return batch, now

    def _digests_due(self) -> float:
        for one in self._waiting:
            if asked_delivery(one.message) is Delivery.DIGEST:
                return max(one.at, self._last_digest) + self._digest_window
        return float("inf")
