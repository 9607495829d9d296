"""``trio-relay serve``: the relay in the foreground."""

import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import click
import trio

from trio_relay import __version__
from trio_relay.cli.environment import server_settings
from trio_relay.cli.logs import log_to_stderr
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
def serve(
    *,
    host: str | None,
    port: int | None,
    db_path: str | None,
    database_url: str | None,
    token_file: Path | None,
) -> None:
    """Run the relay.

    It stops on Ctrl-C or SIGTERM; what it has accepted is safe at every moment.
    """
    if db_path is not None and database_url is not None:
        raise click.UsageError("--db and --database name two databases: give one")
    if database_url is not None:
        postgres_url(database_url)
    settings = server_settings(
        token_file=token_file, host=host, port=port, db_path=db_path, database_url=database_url
    )
    if db_path is not None:  # said here, so it wins over DATABASE_URL
        settings = replace(settings, database_url=None)
    log_to_stderr()
    trio.run(_serve, settings)


async def _serve(settings: ServerSettings) -> None:
    async with trio.open_nursery() as nursery:
        urls = await nursery.start(run_relay, settings)
        click.echo(greeting(urls[0], settings))


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


def own_command() -> str:
    """Say how to call this program from a shell here: by name where that finds us, else by path."""
    beside = Path(sys.executable).with_name("trio-relay")
    found = shutil.which("trio-relay")
    if found and Path(found).resolve() == beside.resolve():
        return "trio-relay"
    if not beside.exists():
        return shlex.join([sys.executable, "-m", "trio_relay"])
    shortened = beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside
    return shlex.quote(str(shortened))
