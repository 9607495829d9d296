"""Telling the service manager that started us how we are (sd_notify(3)): systemd then knows when the relay serves."""

import os
import socket
from contextlib import suppress


def tell_manager(state: str) -> None:
    """Send a word such as ``READY=1`` to whoever waits for it; nobody does unless ``NOTIFY_SOCKET`` is set."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    # A leading @ means the abstract name space, which the kernel writes as a NUL.
    name = f"\0{address[1:]}" if address.startswith("@") else address
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notes:
        notes.sendto(state.encode(), name)
