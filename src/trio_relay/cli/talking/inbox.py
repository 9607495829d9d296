"""``trio-relay inbox``: what has arrived, now or as it comes."""

import random
from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from trio_relay.cli.shared.calling import call_relay, examples, json_option, relay_option
from trio_relay.cli.shared.completing import agent_ids
from trio_relay.cli.shared.message_view import as_text
from trio_relay.cli.shared.session import myself
from trio_relay.cli.shared.terminal import echo_json, printable
from trio_relay.core.timing import backoff
from trio_relay.core.wire import InboxMessage
from trio_relay.errors import ConnectionLost

if TYPE_CHECKING:
    from trio_relay.client.http import RelayClient

PAGE = 200
#: How long one long poll lasts, seconds.
POLL = 50.0


@click.command(
    epilog=examples("trio-relay inbox", "trio-relay inbox --follow --json | while read -r m; do ...; done")
)
@click.option("--agent", metavar="AGENT", help="Whose inbox; default: your own.", shell_complete=agent_ids)
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

    Looking changes nothing, in your own inbox or in another's, unless you say --mark-read. With --follow you are there
    while it runs: others see you live, and the receipt of what is shown says handed_off, because nobody knows whether
    you look. With --json the messages are one array; with --follow, one object a line.
    """

    async def work(relay: "RelayClient") -> int | None:
        me = (await myself(relay, None)).agent_id if agent is None else (await relay.agent(agent)).id
        listing = Listing(relay, me, unread=not everything, mark_read=mark_read, as_json=as_json)
        if not follow:
            await listing.show_present()
            return None
        return await listing.follow()

    code = call_relay(relay_url, work, waits=follow)
    if code is not None:
        raise click.exceptions.Exit(code)


class Listing:
    """An inbox being shown."""

    def __init__(
        self, relay: "RelayClient", agent_id: str, *, unread: bool, mark_read: bool, as_json: bool
    ) -> None:
        self._relay = relay
        self._agent_id = agent_id
        self._unread = unread
        self._mark_read = mark_read
        self._as_json = as_json
        self._shown = 0

    async def show_present(self) -> None:
        """Show what is there."""
        found = []
        async for message in arrivals(self._relay, self._agent_id, unread=self._unread, follow=False):
            found.append(message)
            if not self._as_json:
                self._print(message)
            await self._mark(message)
        if self._as_json:
            echo_json(found)
        else:
            self._say_if_empty()

    async def follow(self) -> int | None:
        """Show what is there and what comes, as somebody who is there where that is ours to be; the exit code."""
        from trio_relay.cli.shared.signals import until_signal  # noqa: PLC0415
        from trio_relay.cli.talking.presence import is_mailbox, present, take  # noqa: PLC0415  # --help stays quick

        ours = await is_mailbox(self._relay, self._agent_id)
        async with until_signal() as stopped, present(self._relay, self._agent_id) if ours else nullcontext():
            async for message in arrivals(self._relay, self._agent_id, unread=self._unread, follow=True):
                if not ours or await take(self._relay, self._agent_id, message):
                    self._print(message)
                    await self._mark(message)
        return stopped.exit_code

    def _print(self, message: InboxMessage) -> None:
        if self._as_json:
            echo_json(message, indent=None)
        else:
            click.echo(("\n" if self._shown else "") + as_text(message))
        self._shown += 1

    async def _mark(self, message: InboxMessage) -> None:
        if self._mark_read and message.read_at is None:
            await self._relay.mark_read(message.id, self._agent_id)

    def _say_if_empty(self) -> None:
        if not self._shown:
            which = "unread " if self._unread else ""
            click.echo(f"Nothing {which}for {printable(self._agent_id)}.", err=True)


async def arrivals(
    relay: "RelayClient", agent_id: str, *, unread: bool, follow: bool
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


async def next_arrivals(
    relay: "RelayClient", agent_id: str, *, unread: bool, after: int
) -> list[InboxMessage]:
    """Wait for what arrives next (or for the end of one long poll), also while the relay is restarted."""
    import trio  # noqa: PLC0415  # --help stays quick

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
