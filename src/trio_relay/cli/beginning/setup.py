"""``trio-relay setup``: the settings of a relay on this machine, made once, in a file that serve and the daemon read."""

import secrets
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from trio_relay.cli.shared.calling import examples, json_option
from trio_relay.cli.shared.env_file import env_file, env_line, read_env_file
from trio_relay.cli.shared.failures import BAD_INPUT, Failure
from trio_relay.cli.shared.programs import own_command
from trio_relay.cli.shared.terminal import echo_json

#: Shown in the place of the token.
HIDDEN = "(a new token of 43 characters)"
KEPT = "(the token that is there now)"
#: And of every other setting: some hold tokens and passwords.
UNCHANGED = "(as it is now)"
GIVEN = "(as given)"


@click.command(epilog=examples("trio-relay setup", "trio-relay setup --host 10.0.0.5 --yes"))
@click.option("--host", metavar="HOST", help="Address to bind; default: as it is set up, else 127.0.0.1.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="Port to bind; default: as it is set up, else 4850.",
)
@click.option(
    "--db",
    "db_path",
    metavar="FILE",
    help="SQLite file; default: the database that is set up, else one in the user's data directory.",
)
@click.option(
    "--database",
    "database_url",
    metavar="URL",
    help="A PostgreSQL in its place, postgresql://USER@HOST/NAME; a password is better put into the file.",
)
@click.option("--new-token", is_flag=True, help="With --force: a new token; default: the one there is stays.")
@click.option("--force", is_flag=True, help="Change the file if there is one; what is not named stays.")
@click.option("--dry-run", is_flag=True, help="Print the file, and write nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def setup(
    *,
    host: str | None,
    port: int | None,
    db_path: str | None,
    database_url: str | None,
    new_token: bool,
    force: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Set up the relay of this machine: an address, a database, a token of its own.

    They stand in one file, readable by you alone; the commands here find the token in it. The relay reads it when it
    is started with `--env-file`, as `trio-relay daemon install` does.
    """
    _check(db_path, database_url, asks=not (dry_run or yes), as_json=as_json)
    path = env_file()
    before = read_env_file(path) if path.exists() and force else {}
    if path.exists() and not force and not dry_run:
        raise Failure(f"{path} is there already; --force changes it", BAD_INPUT)
    kept = None if new_token else before.get("AGENT_RELAY_TOKEN")
    address = {
        "HOST": host or before.get("HOST") or "127.0.0.1",
        "PORT": str(port or before.get("PORT") or 4850),
    }
    database = _database(before, db_path, database_url)
    more = {name: value for name, value in before.items() if name not in _OURS}
    hidden = dict.fromkeys(more, UNCHANGED) | {"AGENT_RELAY_TOKEN": KEPT if kept else HIDDEN}
    if "DATABASE_URL" in database:  # it may hold a password
        hidden["DATABASE_URL"] = GIVEN if database_url is not None else UNCHANGED
    if not as_json:
        click.echo(f"{path}:\n\n{_indented(_content(address | database | hidden))}", nl=False)
        if address["HOST"] not in {"127.0.0.1", "localhost", "::1"}:
            click.echo("\nOther machines reach it there. It speaks plain HTTP: see docs/security.md.")
    if not dry_run:
        if not yes:
            _ask()
        token = kept or secrets.token_urlsafe(32)
        _write(path, _content(address | database | more | {"AGENT_RELAY_TOKEN": token}))
    if as_json:
        where = {"url": _url(address["HOST"], address["PORT"]), "database": database.get("DB_PATH")}
        echo_json({"file": str(path), "written": not dry_run, **where})
    elif not dry_run:
        click.echo(_next(path, _url(address["HOST"], address["PORT"])))


#: What `setup` says itself; every other setting of the file stays as it is.
_OURS = frozenset({"HOST", "PORT", "DB_PATH", "DATABASE_URL", "AGENT_RELAY_TOKEN"})


def _check(db_path: str | None, database_url: str | None, *, asks: bool, as_json: bool) -> None:
    from trio_relay.settings.server import postgres_url  # noqa: PLC0415  # --help stays quick

    if db_path is not None and database_url is not None:
        raise click.UsageError("--db or --database: not both")
    if database_url is not None:
        postgres_url(database_url)
    if as_json and asks:
        raise click.UsageError("--json asks nothing: say --yes, or --dry-run")


def _database(before: Mapping[str, str], db_path: str | None, database_url: str | None) -> dict[str, str]:
    """Say which database it is to be: as asked for, else as it was.

    The relay takes a PostgreSQL before a file where both are named, so what is not meant any more may not stay.
    """
    if database_url is not None:
        return {"DATABASE_URL": database_url}
    if db_path is not None:
        return {"DB_PATH": str(Path(db_path).expanduser().absolute())}
    if before.get("DATABASE_URL"):
        return {"DATABASE_URL": before["DATABASE_URL"]}
    return {"DB_PATH": before.get("DB_PATH") or str(_usual_database())}


def _usual_database() -> Path:
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


def _url(host: str, port: str) -> str:
    """Say where the commands of this machine reach a relay that binds this."""
    host = {"localhost": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _next(path: Path, url: str) -> str:
    program = own_command()
    named = "" if url == "http://127.0.0.1:4850" else f"  export AGENT_RELAY_URL={url}\n"
    return f"""
Written. Next, either of

  {program} daemon install     the relay as a service of yours, from now on
  {program} serve --env-file {shlex.quote(str(path))}

{named}The commands here find the token by themselves. For another machine: {program} invite"""
