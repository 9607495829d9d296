"""An app-server of our own for a few questions, ended with the block. It works on the user's real configuration."""

import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from trio_relay.codex.app_process import AppServerFailed, keep_app_server
from trio_relay.codex.app_server import AppServer, open_app_server
from trio_relay.codex.run_directory import run_directory
from trio_relay.core.timing import backoff

#: How long it may take to come up: Codex prepares its databases when it starts in a home for the first time. Seconds.
_START = 30.0


@asynccontextmanager
async def private_app_server(
    codex: str, environment: Mapping[str, str], *, overrides: Sequence[str] = ()
) -> AsyncGenerator[AppServer]:
    """Start an app-server on a free loopback port, in an empty directory, and connect to it.

    `overrides` are ``-c`` arguments for it. Raises `AppServerFailed` when it does not come up.
    """
    with tempfile.TemporaryDirectory(prefix="trio-relay-") as directory:
        parent = Path(directory)
        with run_directory(parent / "run") as run:
            failure: AppServerFailed | None = None
            async with trio.open_nursery() as nursery:
                keep = partial(
                    keep_app_server,
                    codex,
                    dict(environment),
                    str(parent),
                    run,
                    port=0,
                    overrides=overrides,
                    delays=lambda: backoff(0.2, 1.0, lambda: 0.5),
                )
                url = None
                with trio.move_on_after(_START):
                    try:
                        url = await nursery.start(keep)
                    except AppServerFailed as error:
                        failure = error
                if url is not None:
                    async with open_app_server(url, token=run.token_file.read_text()) as server:
                        yield server
                elif failure is None:
                    failure = AppServerFailed(
                        f"codex app-server did not come up in {_START:g} s: {run.last_words('app-server')}"
                    )
                nursery.cancel_scope.cancel()
            if failure is not None:
                raise failure
