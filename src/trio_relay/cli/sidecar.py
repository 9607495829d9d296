"""``trio-relay sidecar codex``: the process that connects one Codex thread to the relay."""

import click
import trio

from trio_relay.cli.environment import agent_settings, sidecar_settings
from trio_relay.cli.failures import Group
from trio_relay.cli.logs import log_to_stderr
from trio_relay.sidecar.run import run_sidecar


@click.group(cls=Group)
def sidecar() -> None:
    """Connect an agent's session to the relay."""


@sidecar.command()
@click.pass_context
def codex(context: click.Context) -> None:
    """Connect a Codex app-server that already runs.

    Everything is set in the environment (CODEX_APP_SERVER_URL and the rest: docs/settings.md). `codex-relay` starts
    this for you, with the app-server. Exit code 3: a newer instance has taken over this agent.
    """
    agent, settings = agent_settings(), sidecar_settings()
    log_to_stderr()
    context.exit(trio.run(run_sidecar, agent, settings))
