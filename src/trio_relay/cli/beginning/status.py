"""``trio-relay status``: is the relay up, and what is in it."""

import click

from trio_relay import __version__
from trio_relay.cli.shared.calling import call_relay, json_option, relay_option
from trio_relay.cli.shared.environment import agent_settings
from trio_relay.cli.shared.failures import UNREACHABLE, Failure
from trio_relay.cli.shared.session import agent_option, own_agent
from trio_relay.cli.shared.terminal import duration, echo_json, printable
from trio_relay.client.http import RelayClient
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.core.versions import difference
from trio_relay.core.wire import Agent, Stats
from trio_relay.errors import Conflict, Refused


@click.command()
@agent_option
@json_option
@relay_option
def status(*, agent: str | None, as_json: bool, relay_url: str | None) -> None:
    """Show how the relay is doing, and, run in an agent's session, who that is."""

    async def work(relay: RelayClient) -> tuple[bool, Stats, Agent | None]:
        return await relay.ready(), await relay.stats(), await _whose(relay, agent)

    ready, stats, me = call_relay(relay_url, work)
    url = agent_settings(relay_url=relay_url).relay_url
    if as_json:
        echo_json({"url": url, "ready": ready, "stats": stats, "agent": me})
    else:
        click.echo(as_text(url, stats, ready=ready))
        if me is not None:
            click.echo(_line(me))
    if not ready:
        raise Failure(f"the relay at {url} is not ready", UNREACHABLE)


async def _whose(relay: RelayClient, given: str | None) -> Agent | None:
    """Tell whose session this is; None where it is nobody's."""
    try:
        return await relay.agent((await own_agent(relay, given)).agent_id)
    except (Conflict, Failure, Refused):
        if given is not None:
            raise
        return None


def _line(me: Agent) -> str:
    hears = (
        "hears messages" if me.ready else f"hears nothing now ({printable(me.ready_reason or 'not ready')})"
    )
    label = f", label {printable(me.label)}" if me.label else ""
    return f"you         {printable(me.id)}{label}, {me.status}, {hears}"


def as_text(url: str, stats: Stats, *, ready: bool) -> str:
    """Write the relay's state in a few lines; counts of nothing are left out."""
    state = "ready" if ready else "not ready"
    agents = [(status.value, stats.agents.get(status, 0)) for status in AgentStatus]
    deliveries = [(rung.value, stats.deliveries.get(rung, 0)) for rung in Rung]
    lines = [
        f"relay       {printable(url)} {state}, version {printable(stats.version)}, up {duration(stats.uptime_ms / 1000)}",
        f"agents      {_counts(agents)}",
        f"messages    {stats.messages}",
        f"deliveries  {_counts(deliveries)}",
    ]
    if stats.parked:
        lines.append(f"parked      {stats.parked} for which nobody has come yet")
    if (found := difference(stats.version, __version__)) is not None:
        lines.append(f"note        {printable(found)}")
    return "\n".join(lines)


def _counts(named: list[tuple[str, int]]) -> str:
    total = sum(count for _, count in named)
    parts = ", ".join(f"{count} {name}" for name, count in named if count)
    return f"{total} ({parts})" if total else "none"
