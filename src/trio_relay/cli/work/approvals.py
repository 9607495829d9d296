"""``trio-relay approvals``, ``approve`` and ``deny``: what agents ask before they do it, and a person's answer."""

import time
from typing import TYPE_CHECKING

import click

from trio_relay.cli.shared.calling import call_relay, examples, json_option, relay_option
from trio_relay.cli.shared.params import ID, Number
from trio_relay.cli.shared.terminal import duration, echo_json, local_time, printable, printable_text
from trio_relay.core.wire_approvals import Approval, ApprovalState, Decision

if TYPE_CHECKING:
    from trio_relay.client.http import RelayClient

#: Lines of a question's detail in a list; the whole stands behind `trio-relay approvals ID`.
EXCERPT = 6


@click.command(epilog=examples("trio-relay approvals", "trio-relay approvals 7"))
@click.argument("approval_id", type=ID, metavar="[ID]", required=False)
@click.option("--all", "every", is_flag=True, help="Also those that are over.")
@click.option("--agent", metavar="AGENT", help="Only what this agent asks.")
@click.option(
    "--limit", type=Number(1, 1000), metavar="N", default=100, show_default=True, help="At most so many."
)
@json_option
@relay_option
def approvals(
    *,
    approval_id: int | None,
    every: bool,
    agent: str | None,
    limit: int,
    as_json: bool,
    relay_url: str | None,
) -> None:
    """Show what agents ask before they do it, and wait for; with ID, one question in full.

    `trio-relay approve ID` and `trio-relay deny ID` answer. The first answer is the answer, wherever it is given.
    """

    async def work(relay: "RelayClient") -> list[Approval]:
        from trio_relay.client import approvals as calls  # noqa: PLC0415  # --help stays quick

        if approval_id is not None:
            return [await calls.get_approval(relay, approval_id)]
        state = None if every else ApprovalState.PENDING
        return await calls.list_approvals(relay, agent=agent, state=state, limit=limit)

    found = call_relay(relay_url, work)
    if as_json:
        echo_json(found if approval_id is None else found[0])
    elif not found:
        click.echo("Nothing was asked." if every else "Nothing waits for an answer.", err=True)
    else:
        lines = None if approval_id is not None else EXCERPT
        now = round(time.time() * 1000)
        click.echo("\n\n".join(_as_text(each, now, lines) for each in found))


@click.command()
@click.argument("approval_id", type=ID, metavar="ID")
@click.option("--reason", metavar="TEXT", help="Why; the agent is shown it.")
@json_option
@relay_option
def approve(*, approval_id: int, reason: str | None, as_json: bool, relay_url: str | None) -> None:
    """Allow what an agent asks. Takes a person's token, or the scope admin."""
    _decide(approval_id, Decision.ALLOW, reason, as_json=as_json, relay_url=relay_url)


@click.command(epilog=examples('trio-relay deny 7 --reason "not on a Friday"'))
@click.argument("approval_id", type=ID, metavar="ID")
@click.option("--reason", metavar="TEXT", help="Why; the agent is shown it.")
@json_option
@relay_option
def deny(*, approval_id: int, reason: str | None, as_json: bool, relay_url: str | None) -> None:
    """Deny what an agent asks. Takes a person's token, or the scope admin."""
    _decide(approval_id, Decision.DENY, reason, as_json=as_json, relay_url=relay_url)


def _decide(
    approval_id: int, decision: Decision, reason: str | None, *, as_json: bool, relay_url: str | None
) -> None:
    async def work(relay: "RelayClient") -> Approval:
        from trio_relay.client import approvals as calls  # noqa: PLC0415  # --help stays quick

        return await calls.decide(relay, approval_id, decision, reason)

    found = call_relay(relay_url, work)
    if as_json:
        echo_json(found)
    else:
        may = "may" if decision is Decision.ALLOW else "may not"
        click.echo(
            f"{printable(found.agent_id)} {may} use {printable(found.tool)}: {printable(found.summary)}"
        )


def _as_text(each: Approval, now: int, lines: int | None) -> str:
    """Write a question: who, what with, how it stands; what for; and the first `lines` of its detail (None: all)."""
    head = f"[{each.id}] {local_time(each.created_at)}  {printable(each.agent_id)} wants to use {printable(each.tool)}"
    detail = printable_text(each.detail).splitlines() if each.detail else []
    if lines is not None and len(detail) > lines:
        detail = [
            *detail[: lines - 1],
            f"… {len(detail) - lines + 1} more lines: trio-relay approvals {each.id}",
        ]
    return "\n".join(
        [
            f"{head}  ({_standing(each, now)})",
            f"  {printable(each.summary)}",
            *(f"    {line}" for line in detail),
        ]
    )


def _standing(each: Approval, now: int) -> str:
    if each.state is ApprovalState.PENDING:
        return f"{duration((each.expires_at - now) / 1000)} left"
    by = f" by {printable(each.decided_by)}" if each.decided_by else ""
    why = f": {printable(each.reason)}" if each.reason else ""
    return f"{each.state}{by}{why}"
