"""``trio-relay install codex``, ``uninstall codex`` and the same under ``agent-relay-codex``.

Those for Claude Code are in `install_claude.py`.
"""

import os
import shlex
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trio_relay.cli.beginning.carrying_out import Planned
from trio_relay.cli.beginning.install_claude import install_claude, uninstall_claude
from trio_relay.cli.shared.calling import json_option
from trio_relay.cli.shared.failures import Command, Failure, Group
from trio_relay.errors import RelayError

if TYPE_CHECKING:
    from trio_relay.codex.setup.alias import Shell
    from trio_relay.codex.setup.install import Home, Plan

_SHELL = click.option(
    "--shell",
    type=click.Choice(["bash", "zsh", "fish"]),
    help="Whose start-up file gets the alias; default: the shell in SHELL.",
)
_DRY_RUN = click.option("--dry-run", is_flag=True, help="Print every file and command, and do nothing.")


@click.command("codex", cls=Command, short_help="Put codex-relay into your home.")
@click.option(
    "--alias/--no-alias",
    default=None,
    help="Have `codex` start codex-relay in your shell; default: asked in a terminal, otherwise no.",
)
@click.option(
    "--plugin/--no-plugin", default=True, help="Register the plugin (skills, MCP server) with Codex."
)
@click.option(
    "--hooks",
    is_flag=True,
    help="The plugin brings its hook, which tells a compacted session who it is; Codex asks you to review it.",
)
@_SHELL
@_DRY_RUN
@click.option("--force", is_flag=True, help="Set files that are in the way aside until you uninstall.")
@json_option
def install_codex(
    *,
    alias: bool | None,
    plugin: bool,
    hooks: bool,
    shell: str | None,
    dry_run: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Put codex-relay into your home: programs in ~/.local/bin, and the plugin in Codex.

    Repeat it after an upgrade. `uninstall` puts everything back as it was; config.toml keeps every byte of yours.
    """
    from trio_relay.codex.setup.install import Wishes, plan_install  # noqa: PLC0415  # --help stays quick
    from trio_relay.codex.setup.registration import CodexFailed  # noqa: PLC0415

    home = codex_home_of()
    wishes = Wishes(plugin, hooks, _alias_wish(alias, shell, may_ask=not dry_run and not as_json), force)
    plan = plan_install(home, wishes)

    def take() -> None:
        try:
            plan.take()
        except CodexFailed as problem:
            raise Failure(
                f"{problem.detail}; the programs are installed, the plugin is not: mend that and run this again, "
                "or leave it out with --no-plugin"
            ) from None

    planned = _planned(plan, take, "Installed.", "Everything is in place.", _hints(home))
    planned.carry_out(dry_run=dry_run, as_json=as_json)


@click.command("codex", cls=Command, short_help="Take codex-relay out of your home again.")
@click.option("--purge", is_flag=True, help="Also remove what sessions left: logs and state. Messages stay.")
@_DRY_RUN
@json_option
def uninstall_codex(*, purge: bool, dry_run: bool, as_json: bool) -> None:
    """Take codex-relay out of your home again, as if it had never been there.

    The relay's own data (messages, tokens) is not of this installation and stays.
    """
    from trio_relay.codex.setup.install import plan_uninstall, take_out  # noqa: PLC0415

    plan = plan_uninstall(codex_home_of(), purge=purge)
    left = [f"The package itself stays; to remove it: {_removal()}"]
    planned = _planned(plan, lambda: take_out(plan), "Uninstalled.", "Nothing of it is here.", left)
    planned.carry_out(dry_run=dry_run, as_json=as_json)


@click.group(cls=Group)
def alias() -> None:
    """Have `codex` start codex-relay in your shell, or not."""


@alias.command("install")
@_SHELL
@_DRY_RUN
@json_option
def install_alias(*, shell: str | None, dry_run: bool, as_json: bool) -> None:
    """Add the alias to your shell's start-up file, between two marks."""
    from trio_relay.codex.setup.install import Plan, alias_steps  # noqa: PLC0415

    home = codex_home_of()
    plan = Plan(home, alias_steps(home, _shell(shell)))
    planned = _planned(plan, plan.take, "Installed; open a new shell.", "The alias is there already.")
    planned.carry_out(dry_run=dry_run, as_json=as_json)


@alias.command("remove", short_help="Take the alias out again.")
@_DRY_RUN
@json_option
def remove_alias(*, dry_run: bool, as_json: bool) -> None:
    """Take the alias out of every start-up file that has it; each is then as it was before."""
    from trio_relay.codex.setup.install import Plan, alias_removal_steps  # noqa: PLC0415

    home = codex_home_of()
    plan = Plan(home, alias_removal_steps(home))
    planned = _planned(plan, plan.take, "Removed; shells that are open keep it.", "There is no alias.")
    planned.carry_out(dry_run=dry_run, as_json=as_json)


@click.group(cls=Group)
def install() -> None:
    """Put the relay's side of an agent program into your home."""


@click.group(cls=Group)
def uninstall() -> None:
    """Take it out again."""


install.add_command(install_codex)
install.add_command(install_claude)
uninstall.add_command(uninstall_codex)
uninstall.add_command(uninstall_claude)


def _planned(
    plan: "Plan", take: Callable[[], None], done: str, idle: str, following: Sequence[str] = ()
) -> Planned:
    from trio_relay.cli.shared.logs import log_to_stderr  # noqa: PLC0415

    log_to_stderr(only_warnings=True)
    return Planned(plan.lines(), plan.summary(), take, done, idle, plan.notes, following)


def _alias_wish(wish: bool | None, shell: str | None, *, may_ask: bool) -> "Shell | None":
    if wish is None:
        answered = os.environ.get("AGENT_RELAY_CODEX_ALIAS", "")
        asks = sys.stdin.isatty() and sys.stdout.isatty() and not answered and may_ask
        wish = (
            click.confirm("Have `codex` start codex-relay in your shell?", default=False)
            if asks
            else answered == "1"
        )
    return _shell(shell) if wish else None


def _shell(name: str | None) -> "Shell":
    from trio_relay.codex.setup.alias import shell_of  # noqa: PLC0415

    return shell_of(
        name or os.environ.get("SHELL", ""),
        home=Path.home(),
        zdotdir=os.environ.get("ZDOTDIR"),
        config=os.environ.get("XDG_CONFIG_HOME"),
    )


def _hints(home: "Home") -> list[str]:
    """What is left for the person to do."""
    if str(home.bin) in os.environ.get("PATH", os.defpath).split(os.pathsep):
        return ["Start Codex with `codex-relay`; `trio-relay doctor` checks everything."]
    fish = Path(os.environ.get("SHELL", "")).name == "fish"
    line = f"fish_add_path {home.bin}" if fish else f'export PATH="{home.bin}:$PATH"'
    return [f"{home.bin} is not on your PATH. Add this line to your shell's start-up file:", f"  {line}"]


def _removal() -> str:
    """Say how to remove this package, by who installed it."""
    prefix = Path(sys.prefix)
    if "uv" in prefix.parts:
        return "uv tool uninstall trio-relay"
    if "pipx" in prefix.parts:
        return "pipx uninstall trio-relay"
    if prefix.parent.name == "trio-relay":
        return f"rm -r {shlex.quote(str(prefix))}"  # made by scripts/install-codex.sh
    return f"{shlex.quote(sys.executable)} -m pip uninstall trio-relay"


def codex_home_of() -> "Home":
    """Say where everything is for this user, out of the environment."""
    import platformdirs  # noqa: PLC0415

    from trio_relay.codex.find import find_codex  # noqa: PLC0415
    from trio_relay.codex.setup.alias import SHELLS, shell_of  # noqa: PLC0415
    from trio_relay.codex.setup.install import Home  # noqa: PLC0415
    from trio_relay.codex.setup.registration import Codex  # noqa: PLC0415
    from trio_relay.home.skills import skill_files  # noqa: PLC0415

    environment = dict(os.environ)
    codex_home = Path(environment.get("CODEX_HOME") or Path.home() / ".codex").absolute()
    try:
        codex = Codex(find_codex(environment.get("PATH", os.defpath)), codex_home, environment)
    except RelayError:
        codex = None
    places = {"zdotdir": environment.get("ZDOTDIR"), "config": environment.get("XDG_CONFIG_HOME")}
    return Home(
        bin=Path.home() / ".local" / "bin",
        data=platformdirs.user_data_path("trio-relay", appauthor=False) / "codex-relay",
        state=platformdirs.user_state_path("trio-relay", appauthor=False),
        codex_home=codex_home,
        scripts=_scripts(),
        python=sys.executable,
        skills=skill_files(),
        shells=tuple(shell_of(name, home=Path.home(), **places) for name in SHELLS),
        codex=codex,
    )


def _scripts() -> Path:
    """Where the programs of this installation are."""
    found = Path(sysconfig.get_path("scripts"))
    if not (found / "codex-relay").exists():
        raise Failure(
            f"there is no codex-relay in {found}: install the package first (`uv tool install trio-relay`, "
            "`pipx install trio-relay`, or `pip install` in an environment of its own)"
        )
    return found
