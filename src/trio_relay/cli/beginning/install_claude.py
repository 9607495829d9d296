"""``trio-relay install claude`` and ``uninstall claude``."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trio_relay.cli.beginning.carrying_out import Planned
from trio_relay.cli.shared.calling import json_option
from trio_relay.cli.shared.failures import Command, Failure
from trio_relay.errors import RelayError

if TYPE_CHECKING:
    from trio_relay.claude.setup.install import Home, Plan

_DRY_RUN = click.option("--dry-run", is_flag=True, help="Print every file and command, and do nothing.")


@click.command("claude", cls=Command, short_help="Put the plugin into Claude Code.")
@_DRY_RUN
@json_option
def install_claude(*, dry_run: bool, as_json: bool) -> None:
    """Put the plugin into Claude Code: each session is then an agent, and hears its messages.

    It is done by Claude Code's own commands. Repeat it after an upgrade; `uninstall claude` puts everything back as
    it was.
    """
    from trio_relay.claude.setup.install import plan_install  # noqa: PLC0415  # --help stays quick
    from trio_relay.claude.setup.registration import ClaudeFailed  # noqa: PLC0415

    plan = plan_install(claude_home_of())

    def take() -> None:
        try:
            plan.take()
        except ClaudeFailed as problem:
            raise Failure(
                f"{problem.detail}; `trio-relay uninstall claude` takes out what is there"
            ) from None

    done = (
        "Installed. Sessions that are open need /reload-plugins or a new start.\n"
        "Start Claude Code as ever; `trio-relay agents` shows its sessions, `trio-relay doctor` checks everything."
    )
    _planned(plan, take, done).carry_out(dry_run=dry_run, as_json=as_json)


@click.command("claude", cls=Command, short_help="Take the plugin out of Claude Code again.")
@click.option("--purge", is_flag=True, help="Also remove what sessions left behind. Messages stay.")
@_DRY_RUN
@json_option
def uninstall_claude(*, purge: bool, dry_run: bool, as_json: bool) -> None:
    """Take the plugin out of Claude Code again, as if it had never been there.

    The relay's own data (messages, tokens) is not of this installation and stays.
    """
    from trio_relay.claude.setup.install import plan_uninstall  # noqa: PLC0415

    plan = plan_uninstall(claude_home_of(), purge=purge)
    _planned(plan, plan.take, "Uninstalled.").carry_out(dry_run=dry_run, as_json=as_json)


def _planned(plan: "Plan", take: Callable[[], None], done: str) -> Planned:
    return Planned(plan.lines, plan.summary, take, done, "Nothing of it is here.")


def claude_home_of() -> "Home":
    """Say where everything is for this user, out of the environment."""
    import platformdirs  # noqa: PLC0415

    from trio_relay.claude.setup.install import Home  # noqa: PLC0415
    from trio_relay.claude.setup.registration import Claude, find_claude  # noqa: PLC0415
    from trio_relay.home.skills import skill_files  # noqa: PLC0415

    environment = dict(os.environ)
    config = Path(environment.get("CLAUDE_CONFIG_DIR") or Path.home() / ".claude").absolute()
    try:
        claude = Claude(find_claude(environment.get("PATH", os.defpath)), config, environment)
    except RelayError:
        claude = None
    return Home(
        data=platformdirs.user_data_path("trio-relay", appauthor=False) / "claude",
        state=platformdirs.user_state_path("trio-relay", appauthor=False) / "claude",
        config=config,
        python=sys.executable,
        skills=skill_files(),
        claude=claude,
    )
