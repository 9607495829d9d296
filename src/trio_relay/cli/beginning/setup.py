"""``trio-relay setup``: the settings of a relay on this machine, made once, in a file that serve and the daemon read."""

import secrets
import shlex
import sys
from pathlib import Path

import click

from trio_relay.cli.shared.calling import examples
from trio_relay.cli.shared.env_file import env_file, env_line, read_env_file
from trio_relay.cli.shared.failures import BAD_INPUT, Failure
from trio_relay.cli.shared.programs import own_command

#: Shown in the place of the token.
HIDDEN = "(a new token of 43 characters)"
KEPT = "(the token that is there now)"
#: And of every other setting: some hold tokens and passwords.
UNCHANGED = "(as it is now)"


@click.command(epilog=examples("trio-relay setup", "trio-relay setup --host 10.0.0.5 --yes"))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to bind.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=4850,
    show_default=True,
    metavar="PORT",
    help="Port to bind.",
)
@click.option("--db", "db_path", metavar="FILE", help="SQLite file; default: in the user's data directory.")
@click.option("--new-token", is_flag=True, help="With --force: a new token; default: the one there is stays.")
@click.option("--force", is_flag=True, help="Replace the file if there is one.")
@click.option("--dry-run", is_flag=True, help="Print the file, and write nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def setup(
    *, host: str, port: int, db_path: str | None, new_token: bool, force: bool, dry_run: bool, yes: bool
) -> None:
    """Set up the relay of this machine: an address, a database, a token of its own.

    They stand in one file, readable by you alone; the commands here find the token in it. The relay reads it when it
    is started with `--env-file`, as `trio-relay daemon install` does.
    """
    path = env_file()
    before = read_env_file(path) if path.exists() and force else {}
    if path.exists() and not force and not dry_run:
        raise Failure(f"{path} is there already; --force replaces it", BAD_INPUT)
    kept = None if new_token else before.get("AGENT_RELAY_TOKEN")
    database = Path(db_path).expanduser().absolute() if db_path is not None else _database()
    lines = {"HOST": host, "PORT": str(port), "DB_PATH": str(database)}
    more = {name: value for name, value in before.items() if name not in lines}
    others = dict.fromkeys(more, UNCHANGED)
    shown = _content(lines | others | {"AGENT_RELAY_TOKEN": KEPT if kept else HIDDEN})
    click.echo(f"{path}:\n\n{_indented(shown)}", nl=False)
    if host not in {"127.0.0.1", "localhost", "::1"}:
        click.echo("\nOther machines reach it there. It speaks plain HTTP: see docs/security.md.")
    if dry_run:
        return
    if not yes:
        _ask()
    token = kept or secrets.token_urlsafe(32)
    _write(path, _content(lines | more | {"AGENT_RELAY_TOKEN": token}))
    click.echo(_next(path, host, port))


def _database() -> Path:
    from trio_relay.relay.serve import database_path  # noqa: PLC0415  # --help stays quick
    from trio_relay.settings import ServerSettings  # noqa: PLC0415

    return database_path(ServerSettings()).absolute()


def _content(values: dict[str, str]) -> str:
    head = (
        "# Settings of the relay on this machine, made by `trio-relay setup`: NAME=value, one a line.\n"
        "# It holds the token: keep it to yourself. All names: docs/settings.md.\n"
    )
    return head + "".join(f"{env_line(name, value)}\n" for name, value in values.items())


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.splitlines())


def _ask() -> None:
    if not sys.stdin.isatty():
        raise Failure("nobody can be asked here: say --yes", BAD_INPUT)
    if not click.confirm("Write it?", default=True):
        raise Failure("nothing was written")


def _write(path: Path, content: str) -> None:
    from trio_relay.home import files  # noqa: PLC0415  # --help stays quick

    files.make_directories(path.parent, 0o700)
    files.write(path, content.encode(), 0o600)


def _next(path: Path, host: str, port: int) -> str:
    program = own_command()
    local = host in {"127.0.0.1", "localhost", "0.0.0.0"}  # noqa: S104  # what a bind may say
    url = f"http://{'127.0.0.1' if local else f'[{host}]' if ':' in host else host}:{port}"
    named = "" if url == "http://127.0.0.1:4850" else f"  export AGENT_RELAY_URL={url}\n"
    return f"""
Written. Next, either of

  {program} daemon install     the relay as a service of yours, from now on
  {program} serve --env-file {shlex.quote(str(path))}

{named}The commands here find the token by themselves. For another machine: {program} invite"""
