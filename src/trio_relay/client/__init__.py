"""The client side: `RelayClient`, one method an API call."""

from trio_relay.client.http import RelayClient

__all__ = ["RelayClient"]
