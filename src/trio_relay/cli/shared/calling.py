"""How the commands that talk to a relay find it and call it."""

import os
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import click

from trio_relay.cli.shared.progress import patience
from trio_relay.cli.shared.terminal import printable
from trio_relay.errors import ConnectionLost

if TYPE_CHECKING:
    from trio_relay.client.http import RelayClient

_ANYWHERE = "start one with `trio-relay serve`, or set AGENT_RELAY_URL"
#: Codex's sandbox has no network, not even to this machine (0.169); the relay's tools are exempt.
_IN_CODEX = (
    "if it is up, it is Codex's sandbox that closes the network: use the relay's tools (send_message, reply, pair), "
    "or have this command run outside it"
)
Result = TypeVar("Result")
Function = TypeVar("Function", bound=Callable[..., Any])


def relay_option(function: Function) -> Function:
    """Add ``--relay-url``."""
    return click.option("--relay-url", metavar="URL", help="The relay; default: AGENT_RELAY_URL.")(function)


def json_option(function: Function) -> Function:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def examples(*lines: str) -> str:
    """Write the end of a command's help: what people type. Lines of at most 76 characters stay as they are."""
    return "\n".join(["\b", "Examples:" if len(lines) > 1 else "Example:", *(f"  {line}" for line in lines)])


def call_relay(
    relay_url: str | None,
    work: "Callable[[RelayClient], Coroutine[Any, Any, Result]]",
    *,
    waits: bool = False,
) -> Result:
    """Run `work` with an open client.

    What only calls needs no event loop and is done in half the time; what also `waits` (for signals, for several
    things at once) gets one.
    """
    from trio_relay.cli.shared.environment import agent_settings  # noqa: PLC0415  # --help stays quick

    settings = agent_settings(relay_url=relay_url)
    try:
        if waits:
            return _in_a_loop(settings.relay_url, settings.token, work)
        from trio_relay.client.plain import PlainRelay, finished  # noqa: PLC0415  # --help stays quick

        with (
            PlainRelay.at(settings.relay_url, settings.token) as relay,
            patience(f"Waiting for the relay at {printable(settings.relay_url)} ..."),
        ):
            return finished(work(relay))
    except ConnectionLost as lost:
        if lost.code != ConnectionLost.default_code:
            raise
        hint = _IN_CODEX if "CODEX_THREAD_ID" in os.environ else _ANYWHERE
        raise ConnectionLost(f"{lost.detail}; {hint}") from None


def _in_a_loop(
    url: str, token: str | None, work: "Callable[[RelayClient], Coroutine[Any, Any, Result]]"
) -> Result:
    import trio  # noqa: PLC0415  # only where something is waited for

    from trio_relay.client.http import RelayClient  # noqa: PLC0415

    async def call() -> Result:
        async with RelayClient.open(url, token=token) as relay:
            return await work(relay)

    return trio.run(call)
