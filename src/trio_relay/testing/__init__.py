"""A relay for the tests of programs that use one: the real relay, on a database that lasts as long as the test.

`open_relay` runs it inside a trio test, in virtual time if the test is. `serve_relay` runs it in a thread, on a port
of the loopback interface, for asyncio, for synchronous code and for other processes. `trio_relay.testing.pytest` has
both as fixtures.
"""

from trio_relay.testing.inside import InsideRelay, open_relay
from trio_relay.testing.served import ServedRelay, serve_relay

__all__ = ["InsideRelay", "ServedRelay", "open_relay", "serve_relay"]
