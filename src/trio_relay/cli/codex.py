"""``codex-relay``: Codex in this terminal, with messages from the relay arriving in it."""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trio_relay import __version__
from trio_relay.cli.shared.failures import Command, Failure, Group

if TYPE_CHECKING:
    from trio_relay.codex.launcher import Launch, Outcome
    from trio_relay.core.approval import Permissions
    from trio_relay.settings import AgentSettings, SidecarSettings

#: As a shell says it when a program is not there.
COMMAND_NOT_FOUND = 127
_LISTEN = re.compile(r"ws://127\.0\.0\.1:(\d{1,5})/?")
# -P: a module of the user's project must not stand in for one of ours.
_SIDECAR = ("-P", "-m", "trio_relay", "sidecar", "codex")


def _port(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int:
    if value is None:
        return 0
    found = _LISTEN.fullmatch(value)
    if found is None or int(found[1]) > 65535:
        raise click.BadParameter("expected ws://127.0.0.1:PORT (port 0: any that is free)")
    return int(found[1])


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--relay-url", metavar="URL", help="The relay; default: AGENT_RELAY_URL.")
@click.option(
    "--listen",
    "port",
    metavar="ws://127.0.0.1:PORT",
    callback=_port,
    help="The app-server's address; default: a free port.",
)
@click.option(
    "--thread-mode",
    type=click.Choice(["auto", "resume", "start"]),
    help="start: a new thread; resume: the one in CODEX_THREAD_ID, else the last one here; auto: resume if CODEX_THREAD_ID is set.",
)
@click.option("--profile", metavar="NAME", help="Profile of this agent; default: AGENT_RELAY_PROFILE.")
@click.option("--headless", is_flag=True, help="No TUI: run until a signal comes, and log to stderr.")
@click.option(
    "--no-relay-check", is_flag=True, help="Start also when the relay cannot be reached; it is joined later."
)
@click.option(
    "--as-codex",
    is_flag=True,
    help="Stand in for `codex`, as the alias does: what opens no session goes to Codex itself.",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.argument("codex_args", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def start(
    context: click.Context,
    *,
    relay_url: str | None,
    port: int,
    thread_mode: str | None,
    profile: str | None,
    headless: bool,
    no_relay_check: bool,
    as_codex: bool,
    codex_args: tuple[str, ...],
) -> None:
    """Start Codex, connected to the relay.

    What comes after `--` goes to Codex as it is. Unless it chooses permissions, Codex works in its workspace without
    asking: --ask-for-approval never --sandbox workspace-write. The exit code is Codex's.
    """
    from trio_relay.cli.sessions.session_tools import session_tools  # noqa: PLC0415
    from trio_relay.cli.shared.environment import agent_settings, sidecar_settings  # noqa: PLC0415  # --help stays quick

    if as_codex and not headless:
        _leave_to_codex(codex_args)
    agent = agent_settings(relay_url=relay_url, profile=profile)
    plan = _plan(
        agent, sidecar_settings(thread_mode=thread_mode), port=port, headless=headless, codex_args=codex_args
    )
    if not headless and not sys.stdin.isatty():
        raise click.UsageError("Codex needs a terminal; --headless runs without one")
    if not no_relay_check:
        _see_to_relay(agent, plan.environment, needed=not as_codex)
    with session_tools(agent, os.environ) as tools:
        outcome = _run(replace(plan, tools=tools))
    if outcome.thread_id is not None and not headless:
        # Codex says that work continues and names commands for it: neither is so, its app-server ends with it.
        outcome.notices.append(
            f"nothing of this session runs any more; to come back to it: codex-relay -- resume {outcome.thread_id}"
        )
    for notice in outcome.notices:
        _say(notice)
    context.exit(outcome.exit_code)


def _say(text: str) -> None:
    from trio_relay.cli.shared.terminal import printable  # noqa: PLC0415

    click.echo(f"codex-relay: {printable(text)}", err=True)


def _plan(
    agent: "AgentSettings",
    sidecar: "SidecarSettings",
    *,
    port: int,
    headless: bool,
    codex_args: tuple[str, ...],
) -> "Launch":
    import random  # noqa: PLC0415

    from trio_relay.codex.arguments import read_codex_arguments  # noqa: PLC0415
    from trio_relay.codex.launcher import Launch  # noqa: PLC0415

    environment = dict(os.environ)
    environment["AGENT_RELAY_URL"] = agent.relay_url
    if agent.profile is not None:
        environment["AGENT_RELAY_PROFILE"] = agent.profile
    if sidecar.state_path is not None:
        environment["AGENT_RELAY_CODEX_STATE_PATH"] = sidecar.state_path
    mode, thread_id = sidecar.thread_mode, sidecar.thread_id
    resume = mode == "resume" or (mode == "auto" and thread_id is not None)
    if resume and headless and thread_id is None and sidecar.state_path is None:
        raise click.UsageError("--headless --thread-mode resume needs the thread in CODEX_THREAD_ID")
    if headless and codex_args:
        raise click.UsageError("--headless starts no TUI that could take Codex arguments")
    default = _default_permissions(agent, sidecar)
    arguments = read_codex_arguments(codex_args, default)
    if resume and not headless and arguments.command is None:
        arguments = read_codex_arguments(("resume", thread_id or "--last", *codex_args), default)
    return Launch(
        codex=_find_codex(environment),
        arguments=arguments,
        sidecar=(sys.executable, *_SIDECAR),
        environment=environment,
        cwd=str(Path.cwd()),
        chance=random.random,
        headless=headless,
        port=port,
        thread_mode="resume" if resume else mode,
        thread_id=thread_id if resume else None,
    )


def _find_codex(environment: dict[str, str]) -> str:
    from trio_relay.codex.find import find_codex  # noqa: PLC0415
    from trio_relay.errors import NotFound  # noqa: PLC0415

    try:
        return find_codex(environment.get("PATH", os.defpath))
    except NotFound as error:
        raise Failure(error.detail, COMMAND_NOT_FOUND) from None


def _default_permissions(agent: "AgentSettings", sidecar: "SidecarSettings") -> "Permissions":
    """The permissions where the user's arguments choose none: the environment's, else those of the approval mode."""
    from trio_relay.core.approval import Permissions, parse_approval, permissions  # noqa: PLC0415

    mode, warning = parse_approval(agent.approval or _profile_approval(agent))
    if warning:
        _say(f"warning: {warning}")
    of_mode = permissions(mode)
    return Permissions(sidecar.approval_policy or of_mode.approval_policy, sidecar.sandbox or of_mode.sandbox)


def _profile_approval(agent: "AgentSettings") -> str | None:
    """The approval mode of the named profile. What is wrong with the profile is said; Codex starts all the same."""
    from trio_relay.settings.profiles import find_profile  # noqa: PLC0415

    named = find_profile(agent)
    for problem in named.problems:
        _say(f"warning: {problem}")
    return None if named.profile is None else named.profile.approval


def _leave_to_codex(codex_args: tuple[str, ...]) -> None:
    """Become Codex itself where there is no session to join, or no person at the terminal."""
    from trio_relay.codex.as_codex import is_for_codex_alone  # noqa: PLC0415

    if is_for_codex_alone(codex_args) or not (sys.stdin.isatty() and sys.stdout.isatty()):
        program = _find_codex(dict(os.environ))
        os.execv(program, [program, *codex_args])  # noqa: S606  # the Codex that was found


def _see_to_relay(agent: "AgentSettings", environment: Mapping[str, str], *, needed: bool) -> None:
    """Have a relay, started now if the person wants that, and say where versions differ.

    Where it is not `needed`, Codex starts all the same and joins the relay once there is one.
    """
    from trio_relay.cli.sessions.preflight import check_relay, differences, offer_relay  # noqa: PLC0415
    from trio_relay.errors import RelayError  # noqa: PLC0415

    version = None
    try:
        try:
            version = check_relay(agent)
        except Failure as failure:
            _say(offer_relay(agent, failure))
            version = check_relay(agent)
    except (Failure, RelayError) as problem:
        if needed:
            raise
        reason = problem.message if isinstance(problem, Failure) else problem.detail
        _say(f"{reason}\nCodex starts without the relay, and joins it once that is mended")
    codex_home = Path(environment.get("CODEX_HOME") or Path.home() / ".codex")
    for difference in differences(version, codex_home):
        _say(difference)


def _run(plan: "Launch") -> "Outcome":
    import platformdirs  # noqa: PLC0415
    import trio  # noqa: PLC0415

    from trio_relay.cli.shared.logs import log_to_file, log_to_stderr  # noqa: PLC0415
    from trio_relay.codex.launcher import launch  # noqa: PLC0415
    from trio_relay.codex.run_directory import run_directory  # noqa: PLC0415

    with run_directory(platformdirs.user_state_path("trio-relay") / "runs") as run:
        if plan.headless:
            log_to_stderr()
            return trio.run(launch, plan, run)
        with run.log("launcher").open("a", encoding="utf-8") as file:
            log_to_file(file)  # the terminal belongs to the TUI alone
            return trio.run(launch, plan, run)


class _Tools(Group):
    """The commands of ``agent-relay-codex``; those beside `start` are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *_SETUP]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _SETUP:
            return super().get_command(ctx, cmd_name)
        module, function = _SETUP[cmd_name]
        command: click.Command = getattr(import_module(f"trio_relay.cli.{module}"), function)
        return command


#: Commands of ``agent-relay-codex``, and where they are.
_SETUP = {
    "install": ("beginning.install", "install_codex"),
    "uninstall": ("beginning.install", "uninstall_codex"),
    "alias": ("beginning.install", "alias"),
    "doctor": ("beginning.doctor", "doctor"),
}


@click.group(cls=_Tools, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def codex_tools() -> None:
    """Codex and the relay."""


codex_tools.add_command(start, "start")


def main() -> None:
    """Console script ``codex-relay``."""
    start()


def agent_relay_codex() -> None:
    """Console script ``agent-relay-codex``."""
    codex_tools()
