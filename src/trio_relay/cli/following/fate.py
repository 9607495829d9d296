"""``trio-relay retract`` and ``redrive``: taking a message back, and giving a dead letter another life."""

from typing import TYPE_CHECKING

import click

from trio_relay.cli.shared.calling import call_relay, examples, json_option, relay_option
from trio_relay.cli.shared.params import ID
from trio_relay.cli.shared.session import myself, sender_option
from trio_relay.cli.shared.terminal import echo_json, printable
from trio_relay.core.wire import Message
from trio_relay.core.wire_rooms import Withdrawal

if TYPE_CHECKING:
    from trio_relay.client.http import RelayClient


@click.command(epilog=examples('trio-relay retract 12 --reason "settled by phone"'))
@click.argument("message_id", type=ID, metavar="ID")
@click.option("--reason", metavar="TEXT", help="Why; it stands in the receipts.")
@sender_option
@json_option
@relay_option
def retract(
    *, message_id: int, reason: str | None, agent: str | None, as_json: bool, relay_url: str | None
) -> None:
    """Take back message ID, which you sent, from everybody who does not have it yet."""

    async def work(relay: "RelayClient") -> Withdrawal:
        from trio_relay.client import admin  # noqa: PLC0415  # --help stays quick

        me = await myself(relay, agent)
        return await admin.retract(relay, message_id, me.agent_id, reason, me.session)

    found = call_relay(relay_url, work)
    if as_json:
        echo_json(found)
        return
    back = ", ".join(map(printable, found.retracted)) or "nobody"
    late = f"; too late for {', '.join(map(printable, found.too_late))}" if found.too_late else ""
    click.echo(f"Message {found.message_id} is taken back from {back}{late}.")


@click.command()
@click.argument("message_id", type=ID, metavar="ID")
@json_option
@relay_option
def redrive(*, message_id: int, as_json: bool, relay_url: str | None) -> None:
    """Give dead letter ID another life: it is offered or delivered again.

    `trio-relay history --dead` lists them. Takes a person's token, or the scope admin.
    """

    async def work(relay: "RelayClient") -> Message:
        from trio_relay.client import admin  # noqa: PLC0415  # --help stays quick

        return await admin.redrive(relay, message_id)

    found = call_relay(relay_url, work)
    if as_json:
        echo_json(found)
    else:
        click.echo(f"Message {found.id} is on its way again.")
