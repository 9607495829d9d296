"""What completes the name of an agent or a target: the relay is asked, for no longer than a person waits at a key."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from trio_relay.core.wire import Agent

#: Seconds.
_PATIENCE = 0.5


def agent_ids(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001  # click's
    """Complete the id of an agent."""
    return [each.id for each in _agents(ctx) if each.id.startswith(incomplete)]


def targets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001  # click's
    """Complete a target: an agent, or what agents answer to."""
    found = _agents(ctx)
    names = {each.id for each in found} | {"broadcast"}
    for each in found:
        names |= {f"tag:{tag}" for tag in each.tags} | {f"cap:{cap}" for cap in each.capabilities}
        names |= {f"label:{each.label}"} if each.label else set()
    return sorted(name for name in names if name.startswith(incomplete) and name.isprintable())


def _agents(ctx: click.Context) -> "list[Agent]":
    from trio_relay.cli.shared.environment import agent_settings  # noqa: PLC0415  # --help stays quick
    from trio_relay.client.plain import PlainRelay, finished  # noqa: PLC0415
    from trio_relay.errors import RelayError  # noqa: PLC0415

    try:
        settings = agent_settings(relay_url=ctx.params.get("relay_url"))
        with PlainRelay.at(settings.relay_url, settings.token, timeout=_PATIENCE) as relay:
            return finished(relay.agents())
    except RelayError:  # a key that completes nothing says enough
        return []
