"""``trio-relay daemon``: the relay as a service that is there whenever its person is logged in, or always."""

import getpass
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click

from trio_relay import __version__
from trio_relay.cli.operating.services import (
    Command,
    Service,
    Wish,
    env_file_of,
    is_ours,
    launchd,
    shown,
    systemd,
)
from trio_relay.cli.shared.calling import examples, json_option
from trio_relay.cli.shared.env_file import env_file as usual_env_file
from trio_relay.cli.shared.env_file import read_env_file
from trio_relay.cli.shared.failures import BAD_INPUT, FAILED, REFUSED, Failure, Group
from trio_relay.cli.shared.programs import AS_MODULE, lasting_command, own_command
from trio_relay.cli.shared.terminal import echo_json, printable_text
from trio_relay.errors import Invalid, RelayError

#: Where systemd notes whose services go on when nobody is logged in.
LINGER = Path("/var/lib/systemd/linger")
#: Seconds a command of the service manager may take: a relay that starts first migrates its database.
_PATIENCE = 900

#: What systemd's "Failed to connect to bus" means for a person.
_NO_SESSION = "systemd has no session of this user: log in as this user, not by su or sudo"

_ENV_FILE = click.option(
    "--env-file",
    type=click.Path(path_type=Path),
    help="The settings of the relay; default: the file that `trio-relay setup` makes.",
)
_DRY_RUN = click.option("--dry-run", is_flag=True, help="Print every file and command, and do nothing.")


@click.group(cls=Group)
def daemon() -> None:
    """Have the relay run as a service of yours: systemd user services, launchd.

    `trio-relay setup` comes first. Elsewhere `install` says which command to have started.
    """


@daemon.command(
    short_help="Install the service, and start it.",
    epilog=examples("trio-relay daemon install", "trio-relay daemon install --dry-run"),
)
@_ENV_FILE
@_DRY_RUN
@click.option("--force", is_flag=True, help="Replace a service file that is not of this program.")
@json_option
def install(*, env_file: Path | None, dry_run: bool, force: bool, as_json: bool) -> None:
    """Write the service file, and have the relay started, now and at every login.

    Repeat it after the program has moved; an upgrade in place takes only `restart`.
    """
    wish = _wish(env_file)
    read_env_file(wish.env_file)  # said now, rather than in a log
    service = _service(wish)
    present = _present(service)
    if present is not None and not is_ours(present) and not force:
        raise Failure(f"{service.file} is not of this program; --force replaces it", REFUSED)
    if dry_run:
        _show(service, as_json=as_json)
        return
    made = _write(service)
    try:
        _run(service, service.install)
    except Failure as failed:
        _put_back(service, present, made)
        raise Failure(
            f"{failed.message}; nothing is installed. Without a service: {shlex.join(wish.whole)}",
            failed.exit_code,
        ) from None
    if as_json:
        _echo_done(service, "install")
        return
    click.echo(
        f"Installed: {service.file}\nThe relay is started; {own_command()} daemon status tells how it is."
    )
    for line in _about_login(service):
        click.echo(line)


@daemon.command(short_help="Remove the service; settings and database stay.")
@_DRY_RUN
@click.option("--force", is_flag=True, help="Remove a service file that is not of this program.")
@json_option
def uninstall(*, dry_run: bool, force: bool, as_json: bool) -> None:
    """Stop the relay and remove the service file. Settings, database and logs stay."""
    service = _service(_wish(None, must_exist=False))
    present = _present(service)
    if present is None:
        if as_json:
            _echo_done(service, None)
        else:
            click.echo("Nothing is installed.", err=True)
        return
    if not is_ours(present) and not force:
        raise Failure(f"{service.file} is not of this program; --force removes it", REFUSED)
    if dry_run:
        commands = [
            *shown(service.uninstall),
            shlex.join(["rm", str(service.file)]),
            *shown(service.after_removal),
        ]
        if as_json:
            _echo_done(service, None, commands=commands)
        else:
            click.echo("\n".join(commands))
        return
    _run(service, service.uninstall)
    _remove(service)
    _run(service, service.after_removal)
    if as_json:
        _echo_done(service, "uninstall")
        return
    click.echo(f"Uninstalled. The settings ({usual_env_file()}) and the database stay.")


@daemon.command(short_help="Say how the service is.")
@json_option
def status(*, as_json: bool) -> None:
    """Say whether the service is installed and runs, and whether the relay answers. Exit code 1: it does not."""
    service = _service(_wish(None, must_exist=False))
    present = _present(service)
    installed = present is not None
    running = installed and service.is_running(_call(service.state).stdout)
    version = _answering_version(_url(service, present)) if running and present is not None else None
    if as_json:
        where = {"file": str(service.file), "manager": service.kind}
        echo_json({"installed": installed, "running": running, "version": version, **where})
    else:
        click.echo(f"service  {service.file if installed else 'not installed'}")
        click.echo(f"relay    {_how_it_is(installed=installed, running=running, version=version)}")
        if version is not None and version != __version__:
            click.echo(f"         this program is {__version__}: {own_command()} daemon restart")
    if not (running and version is not None):
        raise click.exceptions.Exit(FAILED)


@daemon.command()
@click.option(
    "-n", "--lines", type=click.IntRange(1, 100_000), default=100, show_default=True, help="So many."
)
@click.option("-f", "--follow", is_flag=True, help="Go on as lines are written.")
def logs(*, lines: int, follow: bool) -> None:
    """Show the end of the relay's log."""
    command = _installed().logs(lines, follow=follow)
    try:
        code = subprocess.run(command, check=False).returncode  # noqa: S603  # ours
    except FileNotFoundError:
        raise Failure(f"there is no {command[0]} here") from None
    raise click.exceptions.Exit(code)


def _verb(name: str, about: str, done: str) -> None:
    @daemon.command(name, help=about, short_help=about.partition(":")[0].partition(",")[0].rstrip(".") + ".")
    @json_option
    def verb(*, as_json: bool) -> None:
        service = _installed()
        _run(service, getattr(service, name))
        if as_json:
            _echo_done(service, name)
        else:
            click.echo(done)


_verb("start", "Start the relay.", "Started.")
_verb("stop", "Stop the relay, until it is started or the machine is.", "Stopped.")
_verb("restart", "Stop the relay and start it: after an upgrade, or a change of its settings.", "Restarted.")
_verb("enable", "Have the relay started at every login.", "Enabled: it starts at every login.")
_verb(
    "disable",
    "Do not have the relay started at login, while it goes on until it is stopped.",
    "Disabled: it does not start at login.",
)


def _wish(env_file: Path | None, *, must_exist: bool = True) -> Wish:
    file = (env_file or usual_env_file()).expanduser().absolute()
    if must_exist and not file.exists():
        how = f"run `{own_command()} setup` first, or name one with --env-file"
        raise Failure(f"there are no settings at {file}: {how}", BAD_INPUT)
    return Wish(tuple(lasting_command() if must_exist else [sys.executable, *AS_MODULE]), file)


def _service(wish: Wish) -> Service:
    """Say how services are had here.

    Raises:
        Failure: in no way this program knows.

    """
    if sys.platform == "darwin" and shutil.which("launchctl"):
        return launchd(wish, Path.home(), os.getuid())
    if shutil.which("systemctl"):
        return systemd(wish, Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"))
    raise Failure(
        "neither systemd nor launchd is here; have whatever starts programs on this machine start this:\n"
        f"  {shlex.join(wish.whole)}"
    )


def _installed() -> Service:
    service = _service(_wish(None, must_exist=False))
    if _present(service) is None:
        raise Failure(f"there is no service: run `{own_command()} daemon install`", REFUSED)
    return service


def _present(service: Service) -> bytes | None:
    from trio_relay.home import files  # noqa: PLC0415  # --help stays quick

    return files.read(service.file)


def _show(service: Service, *, as_json: bool) -> None:
    if as_json:
        _echo_done(service, None, content=service.content.decode(), commands=shown(service.install))
        return
    click.echo(f"{service.file}:\n")
    click.echo("".join(f"  {line}\n" for line in service.content.decode().splitlines()))
    click.echo("\n".join(shown(service.install)))


def _echo_done(service: Service, done: str | None, **more: str | list[str]) -> None:
    """Print what was done to the service (None: nothing) as JSON."""
    echo_json({"done": done, "file": str(service.file), "manager": service.kind, **more})


def _write(service: Service) -> list[Path]:
    """Write the file; answer the directories that had to be made for it."""
    from trio_relay.home import files  # noqa: PLC0415  # --help stays quick

    made = files.make_directories(service.file.parent)
    if service.log_file is not None:
        files.make_directories(service.log_file.parent, 0o700)
    files.write(service.file, service.content, 0o644)
    return made


def _put_back(service: Service, present: bytes | None, made: list[Path]) -> None:
    from trio_relay.home import files  # noqa: PLC0415  # --help stays quick

    if present is not None:
        files.write(service.file, present, 0o644)
        return
    service.file.unlink(missing_ok=True)
    files.remove_empty(made)


def _remove(service: Service) -> None:
    from trio_relay.home import files  # noqa: PLC0415  # --help stays quick

    service.file.unlink(missing_ok=True)
    parents = [service.file.parent] if service.kind == "launchd" else list(service.file.parents)[:3]
    files.remove_empty(parents)


def _run(service: Service, commands: tuple[Command, ...]) -> None:
    for each in commands:
        done = _call(each)
        if done.returncode != 0 and each not in service.may_fail:
            said = " ".join(printable_text(done.stderr or done.stdout).split())
            hint = f"; {_NO_SESSION}" if "connect to bus" in said else ""
            raise Failure(
                f"`{shlex.join(each)}` failed ({done.returncode}): {said or 'it said nothing'}{hint}"
            )


def _call(command: Command) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603  # ours
            command, capture_output=True, text=True, errors="replace", check=False, timeout=_PATIENCE
        )
    except FileNotFoundError:
        raise Failure(f"there is no {command[0]} here") from None
    except subprocess.TimeoutExpired:
        raise Failure(f"`{shlex.join(command)}` did not end within {_PATIENCE} s") from None


def _about_login(service: Service) -> list[str]:
    """Say, where it is so, that the relay ends with the last login."""
    user = getpass.getuser()
    if service.kind != "systemd" or (LINGER / user).exists():
        return []
    return [
        "It runs while you are logged in. To have it run always:",
        f"  loginctl enable-linger {shlex.quote(user)}",
    ]


def _answering_version(url: str) -> str | None:
    """Ask the relay at `url` for its version; None: none answers."""
    import trio  # noqa: PLC0415  # --help stays quick

    from trio_relay.client.http import RelayClient  # noqa: PLC0415
    from trio_relay.core.wire import Health  # noqa: PLC0415

    async def ask() -> str | None:
        async with RelayClient.open(url, timeout=5.0) as relay:
            return (await relay.call("GET", "/healthz", Health)).version

    try:
        return trio.run(ask)
    except RelayError:
        return None


def _url(service: Service, present: bytes) -> str:
    try:
        values = read_env_file(env_file_of(service.kind, present) or usual_env_file())
    except Invalid:
        values = {}
    host = values.get("HOST") or "127.0.0.1"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # what a bind may say
    return f"http://{f'[{host}]' if ':' in host else host}:{values.get('PORT') or 4850}"


def _how_it_is(*, installed: bool, running: bool, version: str | None) -> str:
    if not installed:
        return f"{own_command()} daemon install has it run from now on"
    if not running:
        return f"does not run; {own_command()} daemon logs says why, perhaps"
    return f"runs, version {version}" if version is not None else "runs, and does not answer yet"
