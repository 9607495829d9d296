"""trio-relay: a message room for coding-agent sessions."""

__version__ = "0.1.0"
