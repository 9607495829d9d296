"""``trio-relay mcp``: the relay's tools for an MCP client that starts its servers itself."""

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from trio_relay.cli.shared.calling import relay_option
from trio_relay.cli.shared.failures import Command

if TYPE_CHECKING:
    from trio_relay.mcp.speaker import Origin
    from trio_relay.settings import AgentSettings


@click.command(cls=Command)
@click.option(
    "--agent",
    metavar="AGENT",
    help="Who speaks; default: the agent of the session this is started in, else your mailbox, user@host.",
)
@relay_option
def mcp(*, agent: str | None, relay_url: str | None) -> None:
    """Serve the relay's tools over standard input and output, to one MCP client.

    Who speaks is settled here and not by the model: see docs/mcp.md. The relay need not be up when this starts.
    """
    import signal  # noqa: PLC0415  # --help stays quick

    import trio  # noqa: PLC0415

    from trio_relay.cli.shared.environment import agent_settings, own_agent_id  # noqa: PLC0415
    from trio_relay.cli.shared.logs import log_to_stderr  # noqa: PLC0415
    from trio_relay.cli.shared.started_in import sessions_of  # noqa: PLC0415
    from trio_relay.core.targets import check_agent_id  # noqa: PLC0415
    from trio_relay.mcp.speaker import origin_of  # noqa: PLC0415

    if agent is not None:
        check_agent_id(agent)
    settings = agent_settings(relay_url=relay_url)
    log_to_stderr()
    # The thread that reads standard input cannot be told to stop: Ctrl-C ends the process.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    mailbox = own_agent_id()

    def origin(meta: Mapping[str, Any] | None) -> "Origin":
        """The session may be another one by now (Claude Code's /clear): it is looked up anew for each call."""
        return origin_of(meta, sessions=sessions_of(os.environ), named=agent, mailbox=mailbox)

    trio.run(_serve, settings, origin)


async def _serve(settings: "AgentSettings", origin: "Callable[[Mapping[str, Any] | None], Origin]") -> None:
    from trio_relay.client.http import RelayClient  # noqa: PLC0415
    from trio_relay.mcp.server import serve_stdio  # noqa: PLC0415

    async with RelayClient.open(settings.relay_url, token=settings.token) as relay:
        await serve_stdio(relay, origin)
