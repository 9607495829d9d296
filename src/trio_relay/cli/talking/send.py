"""``trio-relay send``: a message to an agent, a tag, a capability, a label or everybody."""

from typing import TYPE_CHECKING, Any

import click

from trio_relay.cli.shared.calling import call_relay, examples, json_option, relay_option
from trio_relay.cli.shared.completing import targets
from trio_relay.cli.shared.params import DURATION, ID
from trio_relay.cli.shared.session import myself, sender_option
from trio_relay.cli.shared.terminal import spoken
from trio_relay.cli.shared.waiting import follow_up, wait_of, wait_options
from trio_relay.core.model import Delivery
from trio_relay.core.wire import SendRequest

if TYPE_CHECKING:
    from trio_relay.client.http import RelayClient

_DELIVERIES = [mode.value for mode in Delivery]


@click.command(
    epilog=examples(
        'trio-relay send backend "Is the migration done?" --wait answered',
        'make 2>&1 | trio-relay send tag:ci - --subject "The build is red"',
    )
)
@click.argument("target", shell_complete=targets)
@click.argument("text", nargs=-1, required=True)
@sender_option
@click.option("--subject", metavar="TEXT", help="A subject line.")
@click.option("--channel", metavar="NAME", help="Only agents that listen to this channel get it.")
@click.option("--claimable", is_flag=True, help="Work for exactly one: the first who claims it.")
@click.option("--reply-to", type=ID, metavar="ID", help="The message this answers.")
@click.option("--urgent", is_flag=True, help="May interrupt what the recipient is doing.")
@click.option(
    "--delivery",
    type=click.Choice(_DELIVERIES),
    metavar="MODE",
    help="How it enters a live session: fyi, digest, idle, steer, interrupt or start; default: at once, into the "
    "running turn if there is one.",
)
@click.option("--ttl", type=DURATION, metavar="SECONDS", help="Worth nothing after that.")
@click.option("--allow-unknown", is_flag=True, help="Keep it for an agent that is not registered yet.")
@click.option("--key", metavar="KEY", help="Idempotency key: repeating the command sends nothing twice.")
@wait_options
@json_option
@relay_option
def send(
    *,
    target: str,
    text: tuple[str, ...],
    agent: str | None,
    subject: str | None,
    channel: str | None,
    claimable: bool,
    reply_to: int | None,
    urgent: bool,
    delivery: str | None,
    ttl: float | None,
    allow_unknown: bool,
    key: str | None,
    rung: str | None,
    timeout: float,
    as_json: bool,
    relay_url: str | None,
) -> None:
    """Send a message.

    TARGET is an agent id, tag:NAME, cap:NAME, label:NAME or broadcast. TEXT need not be quoted; - alone reads it from
    standard input.
    """
    meta: dict[str, Any] = {"priority": "urgent"} if urgent else {}
    if delivery is not None:
        meta["delivery"] = delivery
    request = SendRequest(
        sender="",
        to=target,
        body=spoken(text),
        subject=subject,
        channel=channel,
        claimable=claimable,
        reply_to=reply_to,
        meta=meta,
        idempotency_key=key,
        allow_unknown=allow_unknown,
        ttl_ms=None if ttl is None else max(1, round(ttl * 1000)),
    )

    async def work(relay: "RelayClient") -> None:
        request.sender = (await myself(relay, agent)).agent_id
        sent = await relay.send(request)
        await follow_up(relay, sent, wait_of(rung, timeout), as_json=as_json)

    call_relay(relay_url, work, waits=rung is not None)
