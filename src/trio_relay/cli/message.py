"""``trio-relay message`` and ``send-claimable``: what a session's skills send, as the session's own agent."""

import sys

import click

from trio_relay.cli.calling import call_relay, json_option, relay_option
from trio_relay.cli.send import accepted
from trio_relay.cli.session import agent_option, own_agent
from trio_relay.cli.terminal import echo_json
from trio_relay.client.http import RelayClient
from trio_relay.core.wire import SendRequest, SentMessage


def _sending(name: str, about: str, *, claimable: bool) -> click.Command:
    @click.command(name, help=about)
    @click.argument("target")
    @click.argument("text", nargs=-1, required=True)
    @click.option("--subject", metavar="TEXT", help="A subject line.")
    @click.option("--channel", metavar="NAME", help="Only agents that listen to this channel get it.")
    @agent_option
    @json_option
    @relay_option
    def run(
        *,
        target: str,
        text: tuple[str, ...],
        subject: str | None,
        channel: str | None,
        agent: str | None,
        as_json: bool,
        relay_url: str | None,
    ) -> None:
        async def work(relay: RelayClient) -> SentMessage:
            request.sender = (await own_agent(relay, agent)).agent_id
            return await relay.send(request)

        request = SendRequest(
            sender="", to=target, body=spoken(text), subject=subject, channel=channel, claimable=claimable
        )
        sent = call_relay(relay_url, work)
        if as_json:
            echo_json(sent)
        else:
            click.echo(accepted(sent))

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


def spoken(words: tuple[str, ...]) -> str:
    """Put together a text that came as several words; of ``-`` alone, read it from standard input."""
    return sys.stdin.read() if words == ("-",) else " ".join(words)
