"""``trio-relay attach codex``: connect a plain ``codex`` that already runs, through the daemon its terminals share."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trio_relay.cli.shared.failures import UNREACHABLE, Command, Failure, Group

if TYPE_CHECKING:
    from trio_relay.codex.daemon import Found

#: Where Codex 0.169 puts the socket of its daemon, below CODEX_HOME.
_SOCKET = Path("app-server-control") / "app-server-control.sock"


@click.group(cls=Group)
def attach() -> None:
    """Connect a session that already runs."""


@attach.command(cls=Command, short_help="Connect the plain codex of this directory.")
@click.option(
    "--thread", "thread_id", metavar="ID", help="Stay with this thread; default: follow yours here."
)
@click.option("--profile", metavar="NAME", help="Profile of this agent; default: AGENT_RELAY_PROFILE.")
@click.option("--relay-url", metavar="URL", help="The relay; default: AGENT_RELAY_URL.")
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    help="The daemon's socket; default: the one below CODEX_HOME.",
)
@click.pass_context
def codex(
    context: click.Context,
    *,
    thread_id: str | None,
    profile: str | None,
    relay_url: str | None,
    socket: Path | None,
) -> None:
    """Connect the plain `codex` that runs in this directory, until Ctrl-C.

    Codex 0.169 and newer keeps its sessions in a daemon that all its terminals share (not one started with -c
    overrides). Messages go to the thread you used last in this directory, and follow you to the next; with several
    terminals here, to the one you used last. The daemon and its sessions are left as they are.
    """
    from dataclasses import replace  # noqa: PLC0415  # --help stays quick

    import trio  # noqa: PLC0415

    from trio_relay.cli.sessions.preflight import check_relay  # noqa: PLC0415
    from trio_relay.cli.shared.environment import agent_settings, sidecar_settings  # noqa: PLC0415
    from trio_relay.cli.shared.logs import log_to_stderr  # noqa: PLC0415
    from trio_relay.codex.daemon import find_thread  # noqa: PLC0415
    from trio_relay.sidecar.run import run_sidecar  # noqa: PLC0415

    agent = agent_settings(relay_url=relay_url, profile=profile)
    check_relay(agent)
    path = (socket or _codex_home() / _SOCKET).absolute()
    url = f"unix://{path}"
    settings = sidecar_settings(
        app_server_url=url, thread_mode="resume", thread_id=thread_id, follow="off" if thread_id else "here"
    )
    # What starts a thread of ours has no meaning for one of yours.
    settings = replace(settings, app_server_token_file=None, approval_policy=None, sandbox=None, model=None)
    cwd = str(Path(settings.cwd or ".").absolute())
    found = trio.run(find_thread, url, cwd, thread_id)
    if found.thread_id is None:
        raise Failure(nothing_found(found, path, cwd, thread_id), UNREACHABLE)
    log_to_stderr()
    context.exit(trio.run(run_sidecar, agent, replace(settings, thread_id=found.thread_id)))


def _codex_home() -> Path:
    return Path(os.environ.get("CODEX_HOME") or Path.home() / ".codex")


def nothing_found(found: "Found", path: Path, cwd: str, thread_id: str | None) -> str:
    """Say why there is nothing to attach to, and what to do."""
    if found.away is not None:
        return (
            f"no Codex daemon at {path} ({found.away}); start `codex` (0.169 or newer, without -c) in another "
            "terminal and give it some seconds, or use `codex-relay`, which needs none"
        )
    if thread_id is not None:
        return f"the Codex daemon has no thread {thread_id}"
    elsewhere = f"; there are some in {', '.join(found.elsewhere)}" if found.elsewhere else ""
    return f"no thread of yours is open in {cwd}{elsewhere}: start `codex` here, or name one with --thread"
