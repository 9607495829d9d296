"""``trio-relay profile``: the identities an agent can be started with, and what is wrong with the file they stand in."""

from pathlib import Path
from typing import Any

import click

from trio_relay.cli.shared.calling import json_option
from trio_relay.cli.shared.environment import agent_settings
from trio_relay.cli.shared.failures import BAD_INPUT, REFUSED, Failure
from trio_relay.cli.shared.terminal import echo_json, printable
from trio_relay.core.approval import codex_arguments, describe, parse_approval
from trio_relay.core.profile_check import find_faults
from trio_relay.core.profiles import Profile
from trio_relay.errors import Invalid
from trio_relay.settings.profiles import (
    find_profile,
    profiles_path,
    read_profiles,
    read_text,
    shipped_profiles,
)


@click.group()
def profile() -> None:
    """List, show and check the profiles of agents.

    An agent takes one by name: `codex-relay --profile NAME`, or AGENT_RELAY_PROFILE. Your own stand in
    ~/.config/agent-relay/profiles.json (or AGENT_RELAY_PROFILES_FILE); a name that is not there is looked for among
    those that are shipped.
    """


@profile.command("list")
@json_option
def list_(*, as_json: bool) -> None:
    """List your profiles, and the shipped ones beside them."""
    path = profiles_path(agent_settings())
    problem = None
    own: dict[str, Profile] = {}
    try:
        own = read_profiles(path) if path.exists() else {}
    except Invalid as error:
        problem = error.detail
    every = [(name, each, path) for name, each in own.items()]
    every += [(name, each, where) for name, (each, where) in shipped_profiles().items() if name not in own]
    if as_json:
        echo_json([{"name": name, "file": str(where), **_document(each)} for name, each, where in every])
    else:
        width = max((len(printable(name)) for name, _, _ in every), default=0)
        for name, each, where in every:
            about = each.meta.get("description")
            origin = "yours" if where == path else "shipped"
            text = printable(about) if isinstance(about, str) else _line(each)
            click.echo(f"{printable(name):<{width}}  {origin:<7}  {text}")
    if problem is not None:
        raise Failure(problem, BAD_INPUT)


@profile.command()
@click.argument("name")
@json_option
def show(*, name: str, as_json: bool) -> None:
    """Show what an agent with this profile is.

    With --json it is printed as a profiles file, to begin your own with.
    """
    named = find_profile(agent_settings(profile=name))
    if named.profile is None:
        raise Failure("; ".join(named.problems), REFUSED)
    for problem in named.problems:
        click.echo(f"trio-relay: warning: {printable(problem)}", err=True)
    if as_json:
        echo_json({name: _document(named.profile)})
        return
    click.echo(f"{printable(name)}, of {printable(str(named.path))}")
    for label, text in _facts(named.profile):
        click.echo(f"  {label:<13} {text}")


@profile.command(short_help="Check a profiles file.")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@json_option
def check(*, file: Path | None, as_json: bool) -> None:
    """Check a profiles file: every fault with its line; exit 2 if there is one.

    FILE is yours unless it is given. An agent starts also with a faulty one, without what cannot be used.
    """
    path = file or profiles_path(agent_settings())
    faults = find_faults(read_text(path))
    if as_json:
        echo_json({"file": str(path), "faults": faults})
    else:
        for fault in faults:
            whose = "" if fault.profile is None else f"profile {fault.profile!r}: "
            click.echo(printable(f"{path}:{fault.line}:{fault.column}: {whose}{fault.message}"))
    if faults:
        raise Failure(f"{path}: {len(faults)} fault{'s' if len(faults) > 1 else ''}", BAD_INPUT)
    if not as_json:
        names = ", ".join(sorted(read_profiles(path))) or "none"
        click.echo(f"{printable(str(path))} is good: {printable(names)}")


def _document(each: Profile) -> dict[str, Any]:
    """Write a profile as it stands in a file; what is not set stays out."""
    document = {
        "label": each.label,
        "tags": list(each.tags),
        "capabilities": list(each.capabilities),
        "channels": list(each.channels),
        "approval": each.approval,
        "autoClaim": each.auto_claim,
        "mayInterrupt": None if each.may_interrupt is None else [str(word) for word in each.may_interrupt],
        "meta": dict(each.meta),
    }
    always = {"mayInterrupt", "autoClaim"}
    return {
        name: value for name, value in document.items() if value or (name in always and value is not None)
    }


def _facts(each: Profile) -> list[tuple[str, str]]:
    mode, warning = parse_approval(each.approval)
    approval = f"{mode}: {describe(mode)} (Codex: {' '.join(codex_arguments(mode))})"
    facts = [
        ("label", printable(each.label or "none")),
        ("tags", printable(", ".join(each.tags) or "none")),
        ("capabilities", printable(", ".join(each.capabilities) or "chat")),
        ("channels", printable(", ".join(each.channels) or "all")),
        ("approval", f"{warning}; {approval}" if warning else approval),
    ]
    if each.auto_claim is not None:
        facts.append(("claimables", "claimed as they come" if each.auto_claim else "offered, not claimed"))
    if each.may_interrupt is not None:
        facts.append(("interrupted by", ", ".join(each.may_interrupt) or "nobody"))
    facts += [(printable(str(name)), printable(str(value))) for name, value in each.meta.items()]
    return facts


def _line(each: Profile) -> str:
    return printable(", ".join([*each.capabilities, *each.tags])) or "no description"
