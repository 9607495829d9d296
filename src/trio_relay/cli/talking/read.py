"""``trio-relay read``: one message in full; a person has then read it."""

from collections.abc import Sequence
from contextlib import suppress
from secrets import token_hex
from typing import TYPE_CHECKING

import click

from trio_relay.cli.shared.calling import call_relay, examples, json_option, relay_option
from trio_relay.cli.shared.message_view import conversation
from trio_relay.cli.shared.params import ID
from trio_relay.cli.shared.session import myself, sender_option
from trio_relay.cli.shared.terminal import echo_json, printable
from trio_relay.core.model import MAILBOX_RIG
from trio_relay.core.prompts import envelope, fenced
from trio_relay.core.wire import Message
from trio_relay.errors import Conflict, NotFound

if TYPE_CHECKING:
    from trio_relay.client.http import RelayClient


@click.command(epilog=examples("trio-relay read", "trio-relay read 12 --thread"))
@click.argument("message_id", type=ID, metavar="[ID]", required=False)
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

    In your own mailbox it is then read, which settles it. In an agent's session the text stands in a fence, as messages do
    there; whether the model was shown it, the session's own program knows and says. Another's inbox stays as it is.
    """

    async def work(relay: "RelayClient") -> tuple[str, bool, Sequence[Message]]:
        me = await myself(relay, agent)
        wanted = message_id or await _oldest(relay, me.agent_id)
        if wanted is None:
            return me.agent_id, False, []
        message = await relay.message(wanted)
        found = await relay.thread(wanted) if whole else [message]
        is_person = (await relay.agent(me.agent_id)).rig == MAILBOX_RIG
        if is_person and not peek:
            # One that is over already: reading it says nothing.
            with suppress(NotFound, Conflict):
                await relay.mark_read(message.id, me.agent_id, me.session)
        return me.agent_id, is_person, found

    me, is_person, found = call_relay(relay_url, work)
    if as_json:
        echo_json(found if whole else found[0] if found else None)
    elif found and not is_person and agent is None:
        click.echo("\n\n".join(f"{envelope(one, me)}\n{fenced(one.body, token_hex(4))}" for one in found))
    elif found:
        click.echo(conversation(found))
    else:
        click.echo(f"Nothing unread for {printable(me)}.", err=True)


async def _oldest(relay: "RelayClient", agent_id: str) -> int | None:
    waiting = await relay.inbox(agent_id, limit=1)
    return waiting[0].id if waiting else None
