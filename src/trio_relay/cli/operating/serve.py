"""``trio-relay serve``: the relay in the foreground."""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import click
import trio

from trio_relay import __version__
from trio_relay.cli.operating.notify import tell_manager
from trio_relay.cli.shared.environment import server_settings
from trio_relay.cli.shared.logs import log_to_stderr
from trio_relay.cli.shared.programs import own_command
from trio_relay.core.integrations import Integration
from trio_relay.relay.serve import database_name
from trio_relay.relay.serve import serve as run_relay
from trio_relay.settings import AgentSettings, ServerSettings
from trio_relay.settings.server import postgres_url


@click.command()
@click.option("--host", help="Address to bind; default: HOST, else 127.0.0.1.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Port to bind, 0 for a free one; default: PORT, else 4850.",
)
@click.option(
    "--db",
    "db_path",
    metavar="FILE",
    help="SQLite file; default: DB_PATH, else relay.db in the user's data directory.",
)
@click.option(
    "--database",
    "database_url",
    metavar="URL",
    help="PostgreSQL, postgresql://USER@HOST/NAME, for one or several relays; default: DATABASE_URL.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="File holding the token every call must carry; default: AGENT_RELAY_TOKEN.",
)
@click.option(
    "--env-file",
    type=click.Path(path_type=Path),
    help="NAME=value lines that win over the environment; `trio-relay setup` makes one.",
)
@click.option(
    "--log-format",
    type=click.Choice(["console", "logfmt", "json"]),
    help="How log lines look; default: AGENT_RELAY_LOG_FORMAT, else by where they go.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="The least that is logged; default: AGENT_RELAY_LOG_LEVEL, else info.",
)
@click.option("--quiet", is_flag=True, help="Greet nobody: a service manager reads along.")
def serve(
    *,
    host: str | None,
    port: int | None,
    db_path: str | None,
    database_url: str | None,
    token_file: Path | None,
    env_file: Path | None,
    log_format: str | None,
    log_level: str | None,
    quiet: bool,
) -> None:
    """Run the relay.

    It stops on Ctrl-C or SIGTERM; what it has accepted is safe at every moment. Where no terminal belongs to it, SIGHUP
    has it read its integrations anew.
    """
    if db_path is not None and database_url is not None:
        raise click.UsageError("--db and --database name two databases: give one")
    if database_url is not None:
        postgres_url(database_url)
    read = partial(
        server_settings,
        env_file=env_file,
        token_file=token_file,
        host=host,
        port=port,
        db_path=db_path,
        database_url=database_url,
        log_format=log_format,
        log_level=log_level,
    )
    settings = read()
    if db_path is not None:  # said here, so it wins over DATABASE_URL
        settings = replace(settings, database_url=None)
    log_to_stderr(style=settings.log_format, level=settings.log_level)
    # Of a terminal that is closed SIGHUP says so, and the relay ends.
    reread = None if has_terminal() else lambda: read().integrations
    trio.run(partial(_serve, settings, reread, greets=not quiet))


def has_terminal() -> bool:
    """Whether a person started us in a terminal and may close it."""
    return sys.stdin is not None and sys.stdin.isatty()


async def _serve(
    settings: ServerSettings, integrations: Callable[[], tuple[Integration, ...]] | None, *, greets: bool
) -> None:
    async with trio.open_nursery() as nursery:
        urls = await nursery.start(partial(run_relay, integrations=integrations), settings)
        if greets:
            click.echo(greeting(urls[0], settings))
        tell_manager("READY=1")


def greeting(url: str, settings: ServerSettings) -> str:
    """Write what a person sees first: where it is, and what to do next."""
    program = own_command()
    home = "" if url == AgentSettings().relay_url else f"  export AGENT_RELAY_URL={url}\n"
    return f"""
trio-relay {__version__} is up. Ctrl-C stops it.

  page      {url}
  database  {database_name(settings)}
  token     {"needed by every call" if settings.token else "none needed"}

Next, in another terminal:

{home}  {program} demo      two small agents at work, in five seconds
  {program} status    how this relay is doing
  {program} --help    the rest
"""
