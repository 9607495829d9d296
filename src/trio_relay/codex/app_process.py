"""Keep an app-server running: start it, learn its address, and start it again where it was when it dies.

Codex 0.169 prints the address it listens on to stderr (``listening on: ws://127.0.0.1:PORT``), which is how port 0
becomes a known port. A TUI whose server dies tries for two minutes to come back to the same address, and resumes its
thread by itself; so does the sidecar. Starting the server again on the same port is therefore all it takes.
"""

import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from typing import IO

import structlog
import trio

from trio_relay.codex.arguments import app_server_command
from trio_relay.codex.processes import Command, leashed
from trio_relay.codex.run_directory import RunDirectory
from trio_relay.errors import RelayError

log = structlog.get_logger("trio_relay.launcher")

_ADDRESS = re.compile(rb"listening on: (ws://[0-9.]+:([0-9]+))\s")
#: An app-server that ran this long was well: the pauses before the next starts begin anew. Seconds.
_STABLE_AFTER = 60.0


class AppServerFailed(RelayError):  # noqa: N818  # named for what happened
    """The app-server ended before it listened; the detail holds its last words."""

    default_code = "app_server_failed"


async def keep_app_server(
    codex: str,
    environment: dict[str, str],
    cwd: str,
    run: RunDirectory,
    *,
    port: int,
    delays: Callable[[], Iterator[float]],
    overrides: Sequence[str] = (),
    task_status: trio.TaskStatus[str],
) -> None:
    """Run an app-server on `port` (0: any that is free) until cancelled; `started` with its address.

    `overrides` are ``-c`` arguments for it.

    Raises `AppServerFailed` when the first one does not come up.
    """
    started = False

    def listening(url: str, at: int) -> None:
        nonlocal started, port
        port = at
        log.info("app-server listens", url=url)
        if not started:
            started = True
            task_status.started(url)

    while True:
        for delay in delays():
            await trio.sleep(delay)
            arguments = app_server_command(
                codex, port=port, token_file=str(run.token_file), overrides=overrides
            )
            began = trio.current_time()
            code = await _run(Command(arguments, environment, cwd), run, listening)
            if not started:
                raise AppServerFailed(
                    f"codex app-server ended with code {code}: {run.last_words('app-server')}"
                )
            log.warning("app-server ended; starting it again", code=code)
            if trio.current_time() - began >= _STABLE_AFTER:
                break


async def _run(command: Command, run: RunDirectory, listening: Callable[[str, int], None]) -> int:
    with run.log("app-server").open("ab", buffering=0) as file:
        async with leashed(command, stdout=file, stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            await _copy(process.stderr, file, listening)
            return await process.wait()


async def _copy(
    stderr: trio.abc.ReceiveStream, file: IO[bytes], listening: Callable[[str, int], None]
) -> None:
    """Write what the server says to its log, and tell the address when it comes by."""
    seen = b""
    looking = True
    async for piece in stderr:
        file.write(piece)
        if looking:
            seen += piece
            if match := _ADDRESS.search(seen):
                looking = False
                listening(match[1].decode(), int(match[2]))
