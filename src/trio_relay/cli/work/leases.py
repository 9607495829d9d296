"""``trio-relay leases``: who holds which file, port or migration, and holding one while a command runs."""

import math
from typing import TYPE_CHECKING

import click

from trio_relay.cli.shared.calling import call_relay, examples, json_option, relay_option
from trio_relay.cli.shared.failures import REFUSED, Failure
from trio_relay.cli.shared.params import Seconds
from trio_relay.cli.shared.session import myself, sender_option
from trio_relay.cli.shared.terminal import console, echo_json, local_time, printable
from trio_relay.core.wire_rooms import Lease, LeaseChange, LeaseRequest
from trio_relay.errors import Conflict, LeaseLost

if TYPE_CHECKING:
    from trio_relay.client.http import RelayClient

_key = click.argument("key")


@click.group(
    invoke_without_command=True,
    epilog=examples(
        "trio-relay leases",
        "trio-relay leases run migration -- ./migrate.sh",
        'trio-relay leases --key "file:src/**"',
    ),
)
@click.option("--holder", metavar="AGENT", help="Only what this agent holds.")
@click.option("--key", metavar="KEY", help="Only what collides with this key.")
@json_option
@relay_option
@click.pass_context
def leases(
    context: click.Context, *, holder: str | None, key: str | None, as_json: bool, relay_url: str | None
) -> None:
    """List what is held by name: files, ports, a migration.

    A KEY is scheme:pattern, with *, ** and ?: file:src/api/**, port:5432, migration. Two keys that could cover one
    thing are never held by two at once.
    """
    if context.invoked_subcommand is not None:
        return

    async def work(relay: "RelayClient") -> list[Lease]:
        from trio_relay.client.leases import list_leases  # noqa: PLC0415  # --help stays quick

        return await list_leases(relay, holder=holder, key=key)

    found = call_relay(relay_url, work)
    if as_json:
        echo_json(found)
    elif not found:
        click.echo("Nothing is held.", err=True)
    else:
        _print_table(found)


@leases.command(
    short_help="Run a command while you hold KEY.",
    epilog=examples("trio-relay leases run port:5432 -- make integration-test"),
)
@_key
@click.argument("command", nargs=-1, required=True, metavar="-- COMMAND...")
@click.option(
    "--wait",
    type=Seconds(0),
    metavar="SECONDS",
    help="How long to wait for what another holds; default: as long as it takes.",
)
@sender_option
@relay_option
def run(
    *, key: str, command: tuple[str, ...], wait: float | None, agent: str | None, relay_url: str | None
) -> None:
    """Run a COMMAND while you hold KEY; its exit code is that of this program.

    The lease is renewed while the command runs and given back when it ends. Should it be lost, the command is stopped
    before another can have it. The command finds the key in TRIO_RELAY_LEASE.
    """

    async def work(relay: "RelayClient") -> int:
        from trio_relay.cli.work.holding import run_with_lease  # noqa: PLC0415  # --help stays quick

        me = await myself(relay, agent)
        return await run_with_lease(relay, key, me, command, wait=math.inf if wait is None else wait)

    raise click.exceptions.Exit(call_relay(relay_url, work, waits=True))


@leases.command(epilog=examples('trio-relay leases take "file:src/api/**" --for 600'))
@_key
@click.option(
    "--for",
    "seconds",
    type=Seconds(1, 86_400),
    default=900.0,
    show_default=True,
    metavar="SECONDS",
    help="How long it lasts; taking it again renews it.",
)
@sender_option
@json_option
@relay_option
def take(*, key: str, seconds: float, agent: str | None, as_json: bool, relay_url: str | None) -> None:
    """Take KEY, until it is given back or the time is over."""

    async def work(relay: "RelayClient") -> Lease:
        return await _take(relay, key, seconds, agent)

    found = call_relay(relay_url, work)
    if as_json:
        echo_json(found)
    else:
        until = local_time(found.expires_at) if found.expires_at is not None else "it is given back"
        click.echo(f"{printable(found.key)} is yours until {until}.")


@leases.command()
@_key
@sender_option
@json_option
@relay_option
def release(*, key: str, agent: str | None, as_json: bool, relay_url: str | None) -> None:
    """Give KEY back, which you hold."""

    async def work(relay: "RelayClient") -> Lease:
        from trio_relay.client import leases as client  # noqa: PLC0415  # --help stays quick

        me = await myself(relay, agent)
        if not any(each.key == key.strip() for each in await client.list_leases(relay, holder=me.agent_id)):
            raise LeaseLost(f"{me.agent_id} does not hold {key!r}")
        # The holder that asks again gets its own lease back, with its token.
        held = await _take(relay, key, 1, agent)
        change = LeaseChange(
            key=held.key,
            holder=me.agent_id,
            lease_token=held.lease_token or "",
            instance_id=me.session.instance_id,
            epoch=me.session.epoch,
        )
        return await client.release(relay, change)

    found = call_relay(relay_url, work)
    if as_json:
        echo_json(found)
    else:
        click.echo(f"{printable(found.key)} is free again.")


async def _take(relay: "RelayClient", key: str, seconds: float, agent: str | None) -> Lease:
    from trio_relay.client.leases import acquire, list_leases  # noqa: PLC0415  # --help stays quick

    me = await myself(relay, agent)
    request = LeaseRequest(
        key=key,
        holder=me.agent_id,
        ttl_ms=round(seconds * 1000),
        instance_id=me.session.instance_id,
        epoch=me.session.epoch,
    )
    try:
        return await acquire(relay, request)
    except Conflict as held:
        if held.code != "held":
            raise
        holders = ", ".join(
            f"{each.holder} holds {each.key}"
            + (f" until {local_time(each.expires_at)}" if each.expires_at else "")
            for each in await list_leases(relay, key=key)
        )
        raise Failure(holders or held.detail, REFUSED) from None


def _print_table(found: list[Lease]) -> None:
    from rich.table import Table  # noqa: PLC0415  # only where a table is drawn
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("key", "holder", "until"):
        table.add_column(name, overflow="fold")
    for each in found:
        until = local_time(each.expires_at) if each.expires_at is not None else ""
        table.add_row(Text(printable(each.key)), Text(printable(each.holder or "")), Text(until, style="dim"))
    console().print(table)
