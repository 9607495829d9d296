"""``trio-relay threads``: the conversations that wait for a person, and letting them go on."""

from typing import TYPE_CHECKING

import click

from trio_relay.cli.shared.calling import call_relay, json_option, relay_option
from trio_relay.cli.shared.params import ID, Number
from trio_relay.cli.shared.terminal import echo_json, local_time, printable
from trio_relay.core.wire_rooms import ParkedThread

if TYPE_CHECKING:
    from trio_relay.client.http import RelayClient


@click.group(invoke_without_command=True)
@click.option(
    "--limit", type=Number(1, 1000), metavar="N", default=100, show_default=True, help="At most so many."
)
@json_option
@relay_option
@click.pass_context
def threads(context: click.Context, *, limit: int, as_json: bool, relay_url: str | None) -> None:
    """List the conversations that wait for a person.

    A conversation of programs that goes too deep, round in circles or too fast is parked: what is said in it is kept
    and not delivered until somebody lets it go on. `trio-relay read ID --thread` shows one.
    """
    if context.invoked_subcommand is not None:
        return

    async def work(relay: "RelayClient") -> list[ParkedThread]:
        from trio_relay.client import admin  # noqa: PLC0415  # --help stays quick

        return await admin.parked_threads(relay, limit)

    found = call_relay(relay_url, work)
    if as_json:
        echo_json(found)
    elif not found:
        click.echo("No conversation waits for a person.", err=True)
    else:
        click.echo("\n".join(_line(each) for each in found))


@threads.command()
@click.argument("thread_id", type=ID, metavar="ID")
@json_option
@relay_option
def resume(*, thread_id: int, as_json: bool, relay_url: str | None) -> None:
    """Let conversation ID go on; what was held in it is delivered."""

    async def work(relay: "RelayClient") -> ParkedThread:
        from trio_relay.client import admin  # noqa: PLC0415  # --help stays quick

        return await admin.resume_thread(relay, thread_id)

    found = call_relay(relay_url, work)
    if as_json:
        echo_json(found)
    else:
        click.echo(f"Conversation {found.thread_id} goes on.")


def _line(each: ParkedThread) -> str:
    since = f" since {local_time(each.parked_at)}" if each.parked_at is not None else ""
    held = f"{len(each.held)} held" if each.held else "nothing held"
    return (
        f"{each.thread_id}: {', '.join(printable(name) for name in each.participants)}{since}, {held}"
        f" ({printable(each.reason or 'no reason given')})"
    )
