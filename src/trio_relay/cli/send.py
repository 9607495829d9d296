"""``trio-relay send``: a message to an agent, a tag, a capability, a label or everybody."""

import sys
from dataclasses import dataclass
from typing import Any

import click
import trio

from trio_relay.cli.calling import call_relay, json_option, relay_option
from trio_relay.cli.failures import NOT_DELIVERED, Failure
from trio_relay.cli.mailbox import open_mailbox
from trio_relay.cli.terminal import echo_json, printable, printable_text
from trio_relay.client.http import RelayClient
from trio_relay.core.ladder import FINAL
from trio_relay.core.model import Delivery, Rung, Verdict
from trio_relay.core.wire import Message, Receipt, SendRequest, SentMessage

#: How often receipts are read while waiting for a rung, seconds.
LOOK_EVERY = 0.1

_CLIMB = (Rung.ACCEPTED, Rung.QUEUED, Rung.HANDED_OFF, Rung.IN_CONTEXT, Rung.ANSWERED, Rung.SETTLED)
_WAITABLE = _CLIMB[2:]

_VERDICTS = {
    Verdict.LIVE_IDLE: "live and idle",
    Verdict.LIVE_BUSY: "live, busy now",
    Verdict.DEAF: "registered but not listening",
    Verdict.OFFLINE_QUEUED: "offline: it waits in the inbox",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a message: the ladders when waiting ended, the answers, and whether the rung was reached."""

    message: SentMessage
    receipts: list[Receipt]
    answers: list[Message]
    reached: bool


@click.command()
@click.argument("target")
@click.argument("text")
@click.option("--from", "sender", metavar="AGENT", help="Who sends; default: your mailbox, user@host.")
@click.option("--subject", metavar="TEXT", help="A subject line.")
@click.option("--channel", metavar="NAME", help="Only agents that listen to this channel get it.")
@click.option("--claimable", is_flag=True, help="Work for exactly one: the first who claims it.")
@click.option("--reply-to", type=click.IntRange(1), metavar="ID", help="The message this answers.")
@click.option("--urgent", is_flag=True, help="May interrupt what the recipient is doing.")
@click.option(
    "--delivery",
    type=click.Choice([mode.value for mode in Delivery]),
    help="How it enters a live session; default: at once, into the running turn if there is one.",
)
@click.option("--allow-unknown", is_flag=True, help="Keep it for an agent that is not registered yet.")
@click.option("--key", metavar="KEY", help="Idempotency key: repeating the command sends nothing twice.")
@click.option(
    "--wait",
    "rung",
    type=click.Choice([rung.value for rung in _WAITABLE]),
    help="Wait until every recipient (of a claimable: one) is there; exit 5 if not.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long --wait waits.",
)
@json_option
@relay_option
def send(
    *,
    target: str,
    text: str,
    sender: str | None,
    subject: str | None,
    channel: str | None,
    claimable: bool,
    reply_to: int | None,
    urgent: bool,
    delivery: str | None,
    allow_unknown: bool,
    key: str | None,
    rung: str | None,
    timeout: float,
    as_json: bool,
    relay_url: str | None,
) -> None:
    """Send a message.

    TARGET is an agent id, tag:NAME, cap:NAME, label:NAME or broadcast. TEXT of - is read from standard input.
    """
    body = sys.stdin.read() if text == "-" else text
    meta: dict[str, Any] = {"priority": "urgent"} if urgent else {}
    if delivery is not None:
        meta["delivery"] = delivery

    async def work(relay: RelayClient) -> Outcome:
        request = SendRequest(
            sender=await open_mailbox(relay, sender),
            to=target,
            body=body,
            subject=subject,
            channel=channel,
            claimable=claimable,
            reply_to=reply_to,
            meta=meta,
            idempotency_key=key,
            allow_unknown=allow_unknown,
        )
        message = await relay.send(request)
        if rung is None:
            return Outcome(message, [], [], reached=True)
        if not as_json:
            click.echo(accepted(message))
        return await wait_for(relay, message, Rung(rung), timeout)

    outcome = call_relay(relay_url, work)
    if as_json:
        echo_json({"message": outcome.message, "receipts": outcome.receipts, "answers": outcome.answers})
    elif rung is None:
        click.echo(accepted(outcome.message))
    else:
        click.echo(came_of(outcome), nl=bool(outcome.receipts))
    if not outcome.reached:
        raise Failure(f"message {outcome.message.id} is not {rung} after {timeout:g} s", NOT_DELIVERED)


async def wait_for(relay: RelayClient, message: SentMessage, rung: Rung, patience: float) -> Outcome:
    """Watch the ladders until they are on `rung` or above, cannot get there any more, or `patience` seconds are over.

    Every recipient must get there; of those who were offered a claimable, one.
    """
    ladders: list[Receipt] = []
    enough = any if message.claimable else all
    with trio.move_on_after(patience):
        while True:
            ladders = await relay.receipts(message.id)
            if ladders and enough(has_reached(ladder, rung) for ladder in ladders):
                answers = [each for each in await relay.thread(message.id) if each.reply_to == message.id]
                return Outcome(message, ladders, answers, reached=True)
            if ladders and not enough(
                has_reached(ladder, rung) or ladder.state not in FINAL for ladder in ladders
            ):
                break
            await trio.sleep(LOOK_EVERY)
    return Outcome(message, ladders, [], reached=False)


def has_reached(ladder: Receipt, rung: Rung) -> bool:
    """Whether this recipient was seen on `rung`, or on one that implies it.

    Being settled implies nothing: a read mark or another agent's claim settles a message no model has seen.
    """
    seen = {step.state for step in ladder.steps}
    if rung is Rung.SETTLED:
        return Rung.SETTLED in seen
    return any(higher in seen for higher in _CLIMB[_CLIMB.index(rung) : _CLIMB.index(Rung.SETTLED)])


def accepted(message: SentMessage) -> str:
    """Write what the relay said to the message, for people."""
    lines = [f"Message {message.id} to {printable(message.to)}: accepted, safe on disk."]
    lines += [f"  {printable(each.agent_id)}: {_VERDICTS[each.verdict]}" for each in message.recipients]
    if message.parked:
        lines.append("  nobody answers to that yet: it waits for the first who does")
    return "\n".join(lines)


def came_of(outcome: Outcome) -> str:
    """Write how far each recipient got, and what was answered."""
    lines = [f"  {printable(ladder.agent_id)}: {ladder.state.value}" for ladder in outcome.receipts]
    for answer in outcome.answers:
        lines += ["", f"{printable(answer.sender)} answered ({answer.id}):", printable_text(answer.body)]
    return "\n".join(lines)
