"""``trio-relay sidecar codex|claude``: the process that connects one session to the relay."""

import os

import click
import trio

from trio_relay.cli.shared.environment import agent_settings, claude_settings, sidecar_settings
from trio_relay.cli.shared.failures import Group
from trio_relay.cli.shared.logs import log_to_stderr


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
    from trio_relay.sidecar.run import run_sidecar  # noqa: PLC0415  # --help stays quick

    agent, settings = agent_settings(), sidecar_settings()
    log_to_stderr()
    context.exit(trio.run(run_sidecar, agent, settings))


@sidecar.command(short_help="Connect the Claude Code session this is run in.")
@click.option("--monitor", is_flag=True, help="Announce messages on standard output, one line each.")
@click.pass_context
def claude(context: click.Context, *, monitor: bool) -> None:
    """Connect the Claude Code session this is run in; its plugin does that for you.

    It ends when Claude Code does. Without --monitor the plugin's hooks fetch what is to be announced.
    """
    from functools import partial  # noqa: PLC0415

    from trio_relay.sidecar.claude.run import run_keeper  # noqa: PLC0415
    from trio_relay.sidecar.claude.world import real_world  # noqa: PLC0415

    agent, settings = agent_settings(), claude_settings()
    world = real_world(agent, os.environ)
    log_to_stderr()
    context.exit(trio.run(partial(run_keeper, agent, settings, world, monitor=monitor)))
