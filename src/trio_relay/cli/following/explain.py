"""``trio-relay explain`` and ``prove``: why a message is not there yet, and that the way there is whole."""

from typing import TYPE_CHECKING, Any

import click

from trio_relay.cli.shared.calling import call_relay, examples, json_option, relay_option
from trio_relay.cli.shared.completing import agent_ids
from trio_relay.cli.shared.failures import NOT_DELIVERED, Failure
from trio_relay.cli.shared.params import DURATION, ID
from trio_relay.cli.shared.progress import patience
from trio_relay.cli.shared.terminal import echo_json, local_time, printable
from trio_relay.client import admin
from trio_relay.core.ladder import FINAL
from trio_relay.core.model import CANARY, MAILBOX_RIG, Rung
from trio_relay.core.wire import Receipt, SendRequest
from trio_relay.core.wire_rooms import Explanation

if TYPE_CHECKING:
    from trio_relay.client.http import RelayClient

LOOK_EVERY = 0.02
#: Seconds a canary could outlive the patience for it.
OUTLIVES = 30


@click.command(epilog=examples("trio-relay explain 12"))
@click.argument("message_id", type=ID, metavar="ID")
@json_option
@relay_option
def explain(*, message_id: int, as_json: bool, relay_url: str | None) -> None:
    """Tell what happened to a message, and why not yet."""
    found = call_relay(relay_url, lambda relay: admin.explain(relay, message_id))
    if as_json:
        echo_json(found)
    else:
        click.echo(as_text(found))


def as_text(found: Explanation) -> str:
    """Write a message's story."""
    lines = [f"Message {found.message_id}: {printable(found.summary)}", ""]
    start = found.timeline[0].at if found.timeline else 0
    rows = [
        (
            local_time(step.at) if step.at == start else f"+{(step.at - start) / 1000:.3f} s",
            step.what,
            printable(step.agent_id or ""),
            ", ".join(f"{name} {printable(str(value))}" for name, value in step.evidence.items()),
        )
        for step in found.timeline
    ]
    when, what, who = (max((len(row[column]) for row in rows), default=0) for column in range(3))
    for row in rows:
        cells = (row[0].rjust(when), row[1].ljust(what), row[2].ljust(who), row[3])
        lines.append("  " + "  ".join(cell for cell in cells if cell).rstrip())
    for each in found.recipients:
        hand_offs = f"{each.attempts} hand-off{'' if each.attempts == 1 else 's'}"
        lines += ["", f"  {printable(each.agent_id)}: {each.state}, {each.verdict}, {hand_offs}"]
        if each.waiting_for is not None:
            lines.append(f"    waits: {printable(each.waiting_for)}")
    return "\n".join(lines)


@click.command(epilog=examples("trio-relay prove ci backend"))
@click.argument("sender", metavar="A", shell_complete=agent_ids)
@click.argument("recipient", metavar="B", shell_complete=agent_ids)
@click.option(
    "--timeout",
    type=DURATION,
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the canary is given, each way.",
)
@json_option
@relay_option
def prove(*, sender: str, recipient: str, timeout: float, as_json: bool, relay_url: str | None) -> None:
    """Prove the way between two agents with a canary.

    It goes from A to B and back through the real path, with no model, and each rung is timed. B's program takes it,
    asks its session whether it is there, and says so. Exit 5 if it does not.
    """

    async def work(relay: "RelayClient") -> list[dict[str, Any]]:
        # A person's mailbox has no program that could take the way back.
        back = [(recipient, sender)] if (await relay.agent(sender)).rig != MAILBOX_RIG else []
        with patience("The canary is on its way ..."):
            return [await fly(relay, one, other, timeout) for one, other in [(sender, recipient), *back]]

    flights = call_relay(relay_url, work, waits=True)
    if as_json:
        echo_json(flights)
    else:
        for flight in flights:
            click.echo(flight_as_text(flight))
    if not all(flight["arrived"] for flight in flights):
        raise Failure("the way is not whole", NOT_DELIVERED)


async def fly(relay: "RelayClient", sender: str, recipient: str, patience: float) -> dict[str, Any]:
    """Send one canary and watch it; what came of it, rung by rung, in milliseconds since it was accepted."""
    import trio  # noqa: PLC0415  # --help stays quick

    await relay.agent(recipient)
    # Should this program be killed it expires. Until it is withdrawn below it waits, and can be asked what for.
    ttl = round((patience + OUTLIVES) * 1000)
    message = await relay.send(
        SendRequest(sender=sender, to=recipient, body="canary", type=CANARY, ttl_ms=ttl)
    )
    receipt: Receipt | None = None
    with trio.move_on_after(patience):
        while receipt is None or receipt.state not in FINAL:
            (receipt,) = await relay.receipts(message.id)
            await trio.sleep(LOOK_EVERY)
    arrived = receipt is not None and receipt.state is Rung.SETTLED
    why = None
    if not arrived:
        why = (await admin.explain(relay, message.id)).summary
        await admin.retract(relay, message.id, sender, "nobody took the canary in time")
    return {
        "from": sender,
        "to": recipient,
        "messageId": message.id,
        "arrived": arrived,
        "steps": [
            {"state": step.state, "ms": step.at - message.created_at, "evidence": step.evidence}
            for step in (receipt.steps if receipt else [])
        ],
        "why": why,
    }


def flight_as_text(flight: dict[str, Any]) -> str:
    """Write one canary's way."""
    mark = "✓" if flight["arrived"] else "✗"
    lines = [f"{mark} {printable(flight['from'])} → {printable(flight['to'])}"]
    for step in flight["steps"]:
        evidence = ", ".join(f"{name} {printable(str(value))}" for name, value in step["evidence"].items())
        lines.append(f"    {step['ms']:>6} ms  {step['state']:<12} {evidence}".rstrip())
    if flight["why"]:
        lines.append(f"    {printable(flight['why'])}")
    return "\n".join(lines)
