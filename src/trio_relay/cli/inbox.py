"""``trio-relay inbox``: what has arrived, now or as it comes."""

import random
from collections.abc import AsyncIterator

import click
import trio

from trio_relay.cli.calling import call_relay, json_option, relay_option
from trio_relay.cli.message_view import as_text
from trio_relay.cli.session import myself
from trio_relay.cli.terminal import echo_json, printable
from trio_relay.client.http import RelayClient
from trio_relay.core.timing import backoff
from trio_relay.core.wire import InboxMessage
from trio_relay.errors import ConnectionLost

PAGE = 200
#: How long one long poll lasts, seconds.
POLL = 50.0


@click.command()
@click.option("--agent", metavar="AGENT", help="Whose inbox; default: your mailbox, user@host.")
@click.option("--all", "everything", is_flag=True, help="Also what has been read.")
@click.option("--follow", is_flag=True, help="Go on with what arrives; Ctrl-C ends it.")
@click.option("--mark-read", is_flag=True, help="Mark what is shown as read: it counts as settled.")
@json_option
@relay_option
def inbox(
    *,
    agent: str | None,
    everything: bool,
    follow: bool,
    mark_read: bool,
    as_json: bool,
    relay_url: str | None,
) -> None:
    """Show what has arrived.

    Looking changes nothing, in your own inbox or in another's, unless you say --mark-read. With --json the
    messages are one array; with --follow, one object a line.
    """

    async def work(relay: RelayClient) -> None:
        agent_id = (await myself(relay, None)).agent_id if agent is None else (await relay.agent(agent)).id
        shown: list[InboxMessage] = []
        async for message in arrivals(relay, agent_id, unread=not everything, follow=follow):
            if not as_json:
                click.echo(("\n" if shown else "") + as_text(message))
            elif follow:
                echo_json(message, indent=None)
            shown.append(message)
            if mark_read and message.read_at is None:
                await relay.mark_read(message.id, agent_id)
            if follow:
                del shown[1:]
        if as_json and not follow:
            echo_json(shown)
        elif not shown:
            click.echo(f"Nothing {'' if everything else 'unread '}for {printable(agent_id)}.", err=True)

    call_relay(relay_url, work)


async def arrivals(
    relay: RelayClient, agent_id: str, *, unread: bool, follow: bool
) -> AsyncIterator[InboxMessage]:
    """Yield everything in the inbox in order of arrival; with `follow`, and then whatever comes, for ever."""
    after = 0
    while True:
        page = await relay.inbox(agent_id, unread=unread, after_seq=after, limit=PAGE)
        for message in page:
            after = message.inbox_seq
            yield message
        if len(page) < PAGE:
            break
    while follow:
        for message in await next_arrivals(relay, agent_id, unread=unread, after=after):
            after = message.inbox_seq
            yield message


async def next_arrivals(relay: RelayClient, agent_id: str, *, unread: bool, after: int) -> list[InboxMessage]:
    """Wait for what arrives next (or for the end of one long poll), also while the relay is restarted."""
    lost = False
    for pause in backoff(0.5, 10.0, random.random):
        await trio.sleep(pause)
        try:
            return await relay.inbox(agent_id, unread=unread, after_seq=after, limit=PAGE, wait=POLL)
        except ConnectionLost as error:
            if not lost:
                click.echo(f"trio-relay: {error.detail}; waiting for it to come back", err=True)
            lost = True
    raise AssertionError  # backoff never ends
