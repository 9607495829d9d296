"""Which messages an agent listens to: the channel filter."""

from collections.abc import Collection


def wants(channels: Collection[str], channel: str | None) -> bool:
    """Say whether an agent that listens to `channels` gets a message sent on `channel`.

    No channels configured: everything. A message on no channel: always. Else it must be one of them.
    """
    return not channels or channel is None or channel in channels
