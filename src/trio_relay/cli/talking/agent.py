"""``trio-relay agent``: one agent in full; and taking one out of the room."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from trio_relay.cli.shared.calling import call_relay, examples, json_option, relay_option
from trio_relay.cli.shared.completing import agent_ids
from trio_relay.cli.shared.session import myself
from trio_relay.cli.shared.terminal import duration, echo_json, local_time, printable
from trio_relay.core.wire import Agent

if TYPE_CHECKING:
    from trio_relay.client.http import RelayClient


@click.command(epilog=examples("trio-relay agent backend", "trio-relay agent old-laptop --remove"))
@click.argument("agent_id", metavar="[ID]", required=False, shell_complete=agent_ids)
@click.option("--remove", is_flag=True, help="Take it out of the room; what waits for it ends as dead.")
@json_option
@relay_option
def agent(*, agent_id: str | None, remove: bool, as_json: bool, relay_url: str | None) -> None:
    """Show one agent in full: what it is doing, what reaches it, what it runs in.

    Without ID it is you: the agent of the session this is run in, else your mailbox.
    """
    if remove and agent_id is None:
        raise click.UsageError("which agent is to be removed?")

    async def work(relay: "RelayClient") -> tuple[Agent, int]:
        name = agent_id or (await myself(relay, None)).agent_id
        found = await relay.agent(name)
        waiting = len(await relay.inbox(found.id, limit=1000))
        if remove:
            await relay.remove_agent(found.id)
        return found, waiting

    found, waiting = call_relay(relay_url, work)
    if as_json:
        echo_json(found)
    elif remove:
        lost = (
            f"; {waiting} unread {'message ends' if waiting == 1 else 'messages end'} as dead"
            if waiting
            else ""
        )
        click.echo(f"{printable(found.id)} is removed{lost}.")
    else:
        click.echo("\n".join(_lines(found, waiting)))


def _lines(found: Agent, waiting: int) -> Iterator[str]:
    yield printable(found.id)
    for name, text in _facts(found, waiting):
        yield f"  {name:<12} {printable(text)}"


def _facts(found: Agent, waiting: int) -> Iterator[tuple[str, str]]:
    seen = duration(time.time() - found.last_seen / 1000)
    yield "status", f"{found.status}, last heard of {seen} ago"
    yield "hears", "yes" if found.ready else f"no: {found.ready_reason or 'not ready'}"
    yield "unread", f"{waiting}{' or more' if waiting == 1000 else ''}"
    answers = [f"label:{found.label}"] if found.label else []
    answers += [f"tag:{each}" for each in found.tags] + [f"cap:{each}" for each in found.capabilities]
    yield "answers to", " ".join(answers) or "its id"
    if found.channels:
        yield "channels", ", ".join(found.channels)
    for name, value in (("name", found.name), ("machine", found.machine), ("rig", found.rig)):
        if value and value != found.id:
            yield name, value
    for name, value in found.meta.items():
        if isinstance(value, str | int | float):
            yield name[:12], str(value)
    if found.instance_id:
        yield "instance", f"{found.instance_id}, epoch {found.epoch}"
    yield "since", local_time(found.created_at)
