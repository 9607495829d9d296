"""``trio-relay agents``: who is in the room, and whether they can hear you."""

import time
from typing import TYPE_CHECKING, Any

import click

from trio_relay.cli.shared.calling import call_relay, examples, json_option, relay_option
from trio_relay.cli.shared.terminal import console, duration, echo_json, printable
from trio_relay.core.model import AgentStatus
from trio_relay.core.wire import Agent

if TYPE_CHECKING:
    from rich.table import Table

    from trio_relay.client.http import RelayClient

_STYLES = {
    AgentStatus.IDLE: "green",
    AgentStatus.ONLINE: "green",
    AgentStatus.BUSY: "yellow",
    AgentStatus.OFFLINE: "dim",
}


@click.command(epilog=examples("trio-relay agents", "trio-relay agents --tag backend --ready --json"))
@click.option(
    "--status",
    type=click.Choice([status.value for status in AgentStatus]),
    metavar="STATUS",
    help="Only those that are online, idle, busy or offline.",
)
@click.option("--tag", metavar="NAME", help="Only those with this tag.")
@click.option("--cap", metavar="NAME", help="Only those with this capability.")
@click.option("--label", metavar="NAME", help="Only those with this label.")
@click.option("--machine", metavar="NAME", help="Only those on this machine.")
@click.option("--ready/--not-ready", default=None, help="Only those that can, or cannot, take a message now.")
@json_option
@relay_option
def agents(*, as_json: bool, relay_url: str | None, **filters: Any) -> None:
    """List who is there."""
    given = {name: value for name, value in filters.items() if value is not None}

    async def work(relay: "RelayClient") -> list[Agent]:
        return await relay.agents(**given)

    found = call_relay(relay_url, work)
    if as_json:
        echo_json(found)
    elif not found:
        click.echo(
            "No agent matches." if given else "Nobody is here yet. `codex-relay` brings a Codex session."
        )
    else:
        console().print(table_of(found, now=time.time()))


def table_of(found: list[Agent], *, now: float) -> "Table":
    """Lay the agents out in a table that fits 80 columns; `now` in Unix seconds."""
    from rich.table import Table  # noqa: PLC0415  # only where a table is drawn
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("agent", overflow="fold", ratio=3)
    table.add_column("status", no_wrap=True)
    table.add_column("hears", no_wrap=True)
    table.add_column("seen", no_wrap=True)
    table.add_column("answers to", overflow="fold", ratio=2)
    for agent in found:
        names = [f"label:{agent.label}"] if agent.label else []
        names += [f"tag:{tag}" for tag in agent.tags] + [f"cap:{cap}" for cap in agent.capabilities]
        table.add_row(
            Text(printable(agent.id)),
            Text(agent.status.value, style=_STYLES[agent.status]),
            Text("yes" if agent.ready else "no", style="" if agent.ready else "dim"),
            Text(f"{duration(now - agent.last_seen / 1000)} ago", style="dim"),
            Text(printable(" ".join(names)), style="dim"),
        )
    return table
