"""``trio-relay reply``: an answer to one message, to whoever wrote it."""

from contextlib import suppress
from typing import TYPE_CHECKING

import click

from trio_relay.cli.shared.calling import call_relay, examples, json_option, relay_option
from trio_relay.cli.shared.params import ID
from trio_relay.cli.shared.session import myself, sender_option
from trio_relay.cli.shared.terminal import spoken
from trio_relay.cli.shared.waiting import follow_up, wait_of, wait_options
from trio_relay.core.model import MAILBOX_RIG, Rung
from trio_relay.core.wire import SendRequest
from trio_relay.errors import FieldError, Invalid, RelayError

if TYPE_CHECKING:
    from trio_relay.client.http import RelayClient


@click.command(epilog=examples('trio-relay reply 12 "Yes, since this morning."'))
@click.argument("message_id", type=ID, metavar="ID")
@click.argument("text", nargs=-1, required=True)
@click.option(
    "--ack", is_flag=True, help="Only say that you are at it: wakes nobody, the answer is still owed."
)
@sender_option
@wait_options
@json_option
@relay_option
def reply(
    *,
    message_id: int,
    text: tuple[str, ...],
    ack: bool,
    agent: str | None,
    rung: str | None,
    timeout: float,
    as_json: bool,
    relay_url: str | None,
) -> None:
    """Answer message ID.

    It goes to whoever wrote it, and counts as the answer in its receipts. TEXT need not be quoted; - alone reads it
    from standard input.
    """
    body = spoken(text)

    async def work(relay: "RelayClient") -> None:
        me = (await myself(relay, agent)).agent_id
        answered = await relay.message(message_id)
        if answered.sender == me:
            raise Invalid(
                f"message {message_id} is your own", fields=(FieldError("ID", "expected another's"),)
            )
        request = SendRequest(
            sender=me,
            to=answered.sender,
            body=body,
            reply_to=message_id,
            type="ack" if ack else "reply",
            allow_unknown=True,
        )
        sent = await relay.send(request)
        if not ack:
            await _settle(relay, message_id, me, sent.id)
        await follow_up(relay, sent, wait_of(rung, timeout), as_json=as_json)

    call_relay(relay_url, work, waits=rung is not None)


async def _settle(relay: "RelayClient", message_id: int, me: str, reply_id: int) -> None:
    """A person who has answered is done with it: no program beside a mailbox would ever say so."""
    with suppress(RelayError):  # it was not for them, or is settled
        if (await relay.agent(me)).rig == MAILBOX_RIG:
            await relay.report(message_id, me, Rung.SETTLED, {"by": "reply", "replyId": reply_id})
