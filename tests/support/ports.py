"""Ports that stay ours while nobody listens there."""

import fcntl
import os
import random
import socket
import tempfile
from contextlib import suppress
from pathlib import Path

#: Below those the system gives to clients (Linux: from 32,768), one of which would take it while a server is down.
_PORTS = range(20_000, 32_000)


def own_port() -> int:
    """A free port of the loopback that no other test gets before this process ends, whoever runs it."""
    locks = Path(tempfile.gettempdir()) / "trio-relay-test-ports"
    with suppress(PermissionError):  # another user made it
        locks.mkdir(exist_ok=True)
        locks.chmod(0o1777)
    for port in random.sample(_PORTS, len(_PORTS)):
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            lock = os.open(locks / str(port), os.O_WRONLY | os.O_CREAT, 0o666)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
                raise
            return port  # locked until this process ends
    raise AssertionError("every port is taken")
