"""What a server is run with, and the same in hypercorn's words."""

import logging
from dataclasses import dataclass

from hypercorn.config import Config


@dataclass(frozen=True, slots=True)
class ServingConfig:
    """Limits and time limits of one server. Durations in seconds, sizes in bytes.

    `keep_alive_timeout` stays well above what clients keep their idle connections (5 s in ours): equal values lose
    about a fifth of the POSTs that follow a pause, because both sides close at the same moment.
    """

    host: str = "127.0.0.1"
    #: 0 lets the system choose; the URLs handed to ``task_status.started`` tell which.
    port: int = 4850
    backlog: int = 2048
    #: Connections beyond this are answered 503 and closed.
    max_connections: int = 10_000
    #: How long a connection may stay open between two requests.
    keep_alive_timeout: float = 75.0
    #: From the first byte of a request head to its last.
    header_timeout: float = 10.0
    #: A peer that takes nothing for this long is dropped.
    send_timeout: float = 10.0
    #: How long we go on reading, to throw away, what a client still sends after our last answer.
    linger_timeout: float = 2.0
    #: How long open requests may take to end once the server is told to stop.
    graceful_timeout: float = 1.0
    #: Request line and headers together.
    max_header: int = 16_384
    #: One WebSocket message.
    max_message: int = 1_048_576
    #: Between two WebSocket pings; a peer silent for two of them is dropped.
    ping_interval: float = 20.0

    def for_hypercorn(self) -> Config:
        """Build the configuration that hypercorn's protocol classes read."""
        config = Config()
        config.accesslog = None
        config.errorlog = logging.getLogger("trio_relay.http")
        config.include_server_header = False
        config.h11_max_incomplete_size = self.max_header
        config.websocket_max_message_size = self.max_message
        config.websocket_ping_interval = self.ping_interval
        config.shutdown_timeout = 5.0
        return config
