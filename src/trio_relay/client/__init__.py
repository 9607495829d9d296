"""The client library: `connect`, and what can be done from there; on trio and on asyncio.

```
relay.py      `connect` and `Relay`: what a program can do with a relay
agent.py      `AgentSession`: an agent in the room while a block runs; presence.py keeps it there
received.py   a message in hand, and when it is done with; arrivals.py what nobody has taken up yet
outbox.py     what was said while the relay was away
work.py       claims and leases, as cancel scopes with a moving deadline
http.py       `RelayClient`: one method an API call; admin, approvals, events, leases, pairs, tasks: further calls
sync.py       all of that without an event loop; portal.py is the way to the loop behind it
connection.py the HTTP library; plain.py does without one, for commands; problems.py what a refusal is
```
"""

from typing import TYPE_CHECKING, Any

from trio_relay.client.http import RelayClient

if TYPE_CHECKING:
    from trio_relay.client.agent import AgentSession
    from trio_relay.client.received import Received
    from trio_relay.client.relay import Relay, connect
    from trio_relay.client.work import Work

__all__ = ["AgentSession", "Received", "Relay", "RelayClient", "Work", "connect"]
_HOMES = {
    "AgentSession": "agent",
    "Received": "received",
    "Relay": "relay",
    "Work": "work",
    "connect": "relay",
}


def __getattr__(name: str) -> Any:
    # Our own commands import `RelayClient` from here, and must start quickly.
    from importlib import import_module  # noqa: PLC0415  # as above

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
