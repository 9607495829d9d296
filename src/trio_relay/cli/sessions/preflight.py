"""What `codex-relay` sees to before it starts anything: a relay that answers, and versions that fit."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs
import trio

from trio_relay import __version__
from trio_relay.cli.shared.env_file import local_settings
from trio_relay.cli.shared.failures import UNREACHABLE, Failure
from trio_relay.cli.shared.programs import AS_MODULE
from trio_relay.client.http import RelayClient
from trio_relay.codex.setup.plugin import installed_version
from trio_relay.core.versions import difference
from trio_relay.core.wire import Health
from trio_relay.errors import ConnectionLost, NotFound
from trio_relay.settings import AgentSettings

_PATIENCE = 5.0
#: How long a person may think about a question before it counts as no, seconds.
_THINKING = 60.0
#: How long a relay may take to come up, seconds.
_START = 20.0
_LOOK = 0.1


def check_relay(agent: AgentSettings) -> str | None:
    """Make sure that there is a relay and that it takes our token: its version, if it tells.

    Raises `Failure` with what to do where there is none, and what the relay refuses as it says it.
    """

    async def ask() -> str | None:
        async with RelayClient.open(agent.relay_url, token=agent.token, timeout=_PATIENCE) as relay:
            await relay.cursor()
            try:
                return (await relay.call("GET", "/healthz", Health)).version
            except NotFound:
                return None  # a relay of another make

    try:
        return trio.run(ask)
    except ConnectionLost:
        raise Failure(
            f"no relay at {agent.relay_url}; start one with `trio-relay serve` in another terminal, "
            "or name another with --relay-url; --no-relay-check starts Codex without",
            UNREACHABLE,
        ) from None


def offer_relay(agent: AgentSettings, failure: Failure) -> str:
    """Offer to start a relay, where a person is at the terminal and the relay would be on this machine.

    It runs on when Codex ends. Returns what to tell the person; raises `failure` where there is nobody to ask, or
    they do not want it.
    """
    host, port = _local_address(agent.relay_url)
    if host is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise failure
    if not _confirmed(f"codex-relay: no relay at {agent.relay_url}. Start one now? [Y/n] "):
        raise failure
    log = platformdirs.user_state_path("trio-relay", appauthor=False) / "relay.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:  # noqa: PTH123  # a mode
        process = subprocess.Popen(  # noqa: S603  # this program
            [sys.executable, *AS_MODULE, "serve", "--host", host, "--port", str(port), *_settings(agent)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    _wait_for(agent, process, log)
    return (
        f"a relay runs at {agent.relay_url}, also after Codex; `kill {process.pid}` stops it; its log: {log}"
    )


def _settings(agent: AgentSettings) -> list[str]:
    """Say where the settings are, if this is the relay that was set up on this machine."""
    file = local_settings(agent.relay_url)
    return [] if file is None else ["--env-file", str(file)]


def _local_address(url: str) -> tuple[str | None, int]:
    parts = urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost", "::1"}
    return (parts.hostname if local else None), parts.port or 80


def _confirmed(question: str) -> bool:
    """Ask a person; no answer in a minute, or none to come, is a no."""
    sys.stderr.write(question)
    sys.stderr.flush()
    ready, _, _ = select.select([sys.stdin], [], [], _THINKING)
    answer = sys.stdin.readline() if ready else ""
    if not answer.endswith("\n"):
        sys.stderr.write("\n")
        return False
    return answer.strip().lower() in {"", "y", "yes"}


def _wait_for(agent: AgentSettings, process: "subprocess.Popen[bytes]", log: Path) -> None:
    async def answers() -> None:
        async with RelayClient.open(agent.relay_url, token=agent.token, timeout=_PATIENCE) as relay:
            with trio.fail_after(_START):
                while not await relay.ready():
                    if process.poll() is not None:
                        raise Failure(f"the relay did not start: {_last_line(log)}")
                    await trio.sleep(_LOOK)

    try:
        trio.run(answers)
    except trio.TooSlowError:
        process.terminate()
        raise Failure(f"the relay did not answer in {_START:g} s; its log: {log}") from None


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "it said nothing")


def differences(server_version: str | None, codex_home: Path) -> Iterator[str]:
    """Say where the relay or the plugin in Codex is of another version than this program, and what mends it.

    The sidecar is always of this one: the launcher starts it out of the same installation.
    """
    if (found := difference(server_version, __version__)) is not None:
        yield found
    plugin = installed_version(codex_home)
    if plugin not in {None, __version__}:
        yield f"the plugin in Codex is {plugin}, this is {__version__}: run `trio-relay install codex`"
