"""``trio-relay serve`` as a process of its own."""

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from support.ports import own_port

_URL = re.compile(rb"http://127\.0\.0\.1:\d+")


@asynccontextmanager
async def relay_process(path: Path, port: int = 0) -> AsyncIterator[tuple[int, str]]:
    """Run ``trio-relay serve`` with a store in `path`, on a `port` of ours or another: its process id and URL."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AGENT_RELAY_")}
    with (path / "relay.log").open("wb") as log:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "trio_relay", "serve"],
            env=kept
            | {"PORT": str(port or own_port()), "DB_PATH": str(path / "relay.db"), "HOME": str(path)},
            stdout=subprocess.PIPE,
            stderr=log,
        )
        try:
            assert process.stdout is not None
            said = b""
            while not (found := _URL.search(said + b" ")):
                piece = await process.stdout.receive_some()
                assert piece, f"the relay ended: {(path / 'relay.log').read_text()}"
                said += piece
            yield process.pid, found.group().decode()
        finally:
            with trio.CancelScope(shield=True):
                process.terminate()
                await process.wait()
