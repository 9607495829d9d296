"""``trio-relay read``: one message in full, and the word that it has been read."""

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from trio_relay.cli.calling import call_relay, examples, json_option, relay_option
from trio_relay.cli.mcp import sessions_of
from trio_relay.cli.message_view import conversation
from trio_relay.cli.session import myself, sender_option
from trio_relay.cli.terminal import echo_json, printable
from trio_relay.core.model import MAILBOX_RIG, Rung
from trio_relay.core.wire import Message
from trio_relay.errors import Conflict, NotFound

if TYPE_CHECKING:
    from trio_relay.client.http import RelayClient
    from trio_relay.mcp.speaker import Speaker


@click.command(epilog=examples("trio-relay read", "trio-relay read 12 --thread"))
@click.argument("message_id", type=click.IntRange(1), metavar="[ID]", required=False)
@click.option("--thread", "whole", is_flag=True, help="The whole conversation it belongs to.")
@click.option("--peek", is_flag=True, help="Only look: nothing is said about having read it.")
@sender_option
@json_option
@relay_option
def read(
    *,
    message_id: int | None,
    whole: bool,
    peek: bool,
    agent: str | None,
    as_json: bool,
    relay_url: str | None,
) -> None:
    """Read one message in full; without ID the oldest that you have not read.

    In your own mailbox it is then read, which settles it. In an agent's session its receipt says that the session has
    fetched the text (in_context). Another's inbox stays as it is.
    """

    async def work(relay: "RelayClient") -> tuple[str, Sequence[Message]]:
        me = await myself(relay, agent)
        wanted = message_id or await _oldest(relay, me.agent_id)
        if wanted is None:
            return me.agent_id, []
        message = await relay.message(wanted)
        found = await relay.thread(wanted) if whole else [message]
        if not peek:
            await _report(relay, message, me, named=agent is not None)
        return me.agent_id, found

    me, found = call_relay(relay_url, work)
    if as_json:
        echo_json(found if whole or not found else found[0])
    elif found:
        click.echo(conversation(found))
    else:
        click.echo(f"Nothing unread for {printable(me)}.", err=True)


async def _oldest(relay: "RelayClient", agent_id: str) -> int | None:
    waiting = await relay.inbox(agent_id, limit=1)
    return waiting[0].id if waiting else None


async def _report(relay: "RelayClient", message: Message, me: "Speaker", *, named: bool) -> None:
    """Say that it has been read, as far as that follows from its being printed here."""
    rig = (await relay.agent(me.agent_id)).rig
    # Somebody else's message, or one that is over: reading it says nothing.
    with suppress(NotFound, Conflict):
        if rig == MAILBOX_RIG:
            await relay.mark_read(message.id, me.agent_id, me.session)
        elif not named and sessions_of(os.environ):
            await relay.report(message.id, me.agent_id, Rung.IN_CONTEXT, {"by": "read_command"}, me.session)
