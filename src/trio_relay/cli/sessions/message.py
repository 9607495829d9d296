"""``trio-relay message`` and ``send-claimable``: what a session's skills send, as the session's own agent."""

from typing import TYPE_CHECKING

import click

from trio_relay.cli.shared.calling import call_relay, json_option, relay_option
from trio_relay.cli.shared.completing import targets
from trio_relay.cli.shared.session import agent_option, own_agent
from trio_relay.cli.shared.terminal import echo_json, spoken
from trio_relay.cli.shared.waiting import follow_up, wait_of, wait_options
from trio_relay.core.wire import SendRequest

if TYPE_CHECKING:
    from trio_relay.client.http import RelayClient


def _sending(name: str, about: str, *, claimable: bool) -> click.Command:
    @click.command(name, help=about)
    @click.argument("target", shell_complete=targets)
    @click.argument("text", nargs=-1, required=True)
    @click.option("--subject", metavar="TEXT", help="A subject line.")
    @click.option("--channel", metavar="NAME", help="Only agents that listen to this channel get it.")
    @agent_option
    @wait_options
    @json_option
    @relay_option
    def run(
        *,
        target: str,
        text: tuple[str, ...],
        subject: str | None,
        channel: str | None,
        agent: str | None,
        rung: str | None,
        timeout: float,
        as_json: bool,
        relay_url: str | None,
    ) -> None:
        async def work(relay: "RelayClient") -> None:
            request.sender = (await own_agent(relay, agent)).agent_id
            sent = await relay.send(request)
            wait = wait_of(rung, timeout)
            if as_json and wait is None:
                echo_json(sent)
            else:
                await follow_up(relay, sent, wait, as_json=as_json)

        request = SendRequest(
            sender="", to=target, body=spoken(text), subject=subject, channel=channel, claimable=claimable
        )
        call_relay(relay_url, work, waits=rung is not None)

    return run


message = _sending(
    "message",
    """Send a message as the agent of this session.

    TARGET is an agent id, tag:NAME, cap:NAME, label:NAME or broadcast. TEXT need not be quoted; - alone reads it from
    standard input. The answer arrives in the session.
    """,
    claimable=False,
)

send_claimable = _sending(
    "send-claimable",
    """Offer work to everyone who matches, for exactly one: the first who claims it.

    TARGET is tag:NAME, cap:NAME, label:NAME, broadcast or an agent id; who comes later is offered it too, until it is
    done. TEXT need not be quoted; - alone reads it from standard input.
    """,
    claimable=True,
)
