"""``trio-relay history`` and ``search``: what was said, by everybody."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from trio_relay.cli.shared.calling import call_relay, examples, json_option, relay_option
from trio_relay.cli.shared.message_view import conversation, in_a_line
from trio_relay.cli.shared.params import ID, Number
from trio_relay.cli.shared.terminal import echo_json
from trio_relay.core.wire import Message

if TYPE_CHECKING:
    from trio_relay.client.http import RelayClient

_limit = click.option(
    "--limit", type=Number(1, 1000), metavar="N", default=20, show_default=True, help="At most so many."
)
_before = click.option("--before", type=ID, metavar="ID", help="Only older ones: the next page.")
_full = click.option("--full", is_flag=True, help="Every text in full, not a line each.")


@click.command(epilog=examples("trio-relay history --from ci --limit 5", "trio-relay history --dead"))
@click.option("--from", "sender", metavar="AGENT", help="Only what this agent sent.")
@click.option("--to", metavar="TARGET", help="Only what was sent to this target.")
@click.option("--channel", metavar="NAME", help="Only on this channel.")
@click.option("--thread", type=ID, metavar="ID", help="Only this conversation.")
@click.option("--dead", is_flag=True, help="Only dead letters: handed out too often, done by nobody.")
@_before
@_limit
@_full
@json_option
@relay_option
def history(
    *, dead: bool, full: bool, as_json: bool, relay_url: str | None, sender: str | None, **given: Any
) -> None:
    """Show what was said in the room, the newest last."""
    if dead and any(given[name] for name in ("to", "channel", "thread")):
        raise click.UsageError("--dead goes with --before and --limit only")
    filters = {"state": "dead"} if dead else {"from": sender}

    async def work(relay: "RelayClient") -> list[Message]:
        return await relay.browse(**filters, **given)

    _show(call_relay(relay_url, work), full=full, as_json=as_json, nothing="Nothing was said.")


@click.command(epilog=examples("trio-relay search migration failed"))
@click.argument("words", nargs=-1, required=True)
@_before
@_limit
@_full
@json_option
@relay_option
def search(
    *,
    words: tuple[str, ...],
    before: int | None,
    limit: int,
    full: bool,
    as_json: bool,
    relay_url: str | None,
) -> None:
    """Find messages that hold all the WORDS, in their text or subject."""

    async def work(relay: "RelayClient") -> list[Message]:
        return await relay.browse(q=" ".join(words), before=before, limit=limit)

    _show(call_relay(relay_url, work), full=full, as_json=as_json, nothing="No message holds that.")


def _show(newest_first: Sequence[Message], *, full: bool, as_json: bool, nothing: str) -> None:
    if as_json:
        echo_json(newest_first)
    elif not newest_first:
        click.echo(nothing, err=True)
    else:
        told = list(reversed(newest_first))
        click.echo(conversation(told) if full else "\n".join(in_a_line(each) for each in told))
