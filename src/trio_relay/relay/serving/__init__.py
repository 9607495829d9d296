"""Serve our app with hypercorn's HTTP/1.1 and WebSocket machinery, hardened.

hypercorn 0.18 on trio parses and frames well, but its connection handling cannot be exposed: each fact below was
seen with the stock server, and each has a test of the same name in ``tests/relay``.

1.  Only ``OSError`` is caught per connection. Anything else unwinds the server's nursery and the process exits, so one
    byte after a WebSocket upgrade request stops the server for everybody (pgjones/hypercorn#225, #177).
    Here: `request_check` refuses what the parser lets through and hypercorn trips over, and `Connection` keeps
    any other failure to itself.
2.  The keep-alive timer is never armed after a request served by quart-trio: hypercorn says ``http.disconnect`` before
    it has recycled the connection, quart-trio cancels the task that is doing the recycling, and idle connections
    stay for ever. Here: `AppInbox` tells the app without yielding, so the recycling always finishes first.
3.  Sending is shielded and unbounded: a peer that stops reading holds its task, and the shutdown, for ever.
    Here: every write must make progress within ``send_timeout``, and stopping cuts what is left.
4.  Sending to a closed WebSocket is a no-op without a checkpoint, so a handler that only sends spins at 100 % CPU.
    Here: it yields.
5.  ``websocket_max_message_size`` answers 1009 but goes on buffering, and permessage-deflate is always accepted (65 KB
    become 245 MB). Here: the connection ends at the limit and compression is never offered.
6.  Open streams do not end on shutdown, and idle connections delay it. Here: the app is told first (``on_stop``),
    idle connections close at once, the rest has ``graceful_timeout``.
7.  HTTP/2 over clear text cannot be turned off. Here: ``Upgrade: h2c`` is ignored, as RFC 9110 allows, and the
    HTTP/2 preface is answered with 505.
8.  The header limit counts incomplete input only: 44 KB in one segment pass. Here: what has arrived is counted too.

Nothing is monkeypatched: our connection drives subclasses of hypercorn's protocol and stream classes. They touch
its internals, hence ``hypercorn==0.18.*``.
"""

from trio_relay.relay.serving.config import ServingConfig
from trio_relay.relay.serving.server import serve_app, tune_gc

__all__ = ["ServingConfig", "serve_app", "tune_gc"]
