"""``trio-relay events``: what happens in the room, as it happens or as it stands in the log."""

import json
import re
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from trio_relay.cli.shared.calling import call_relay, examples, json_option, relay_option
from trio_relay.cli.shared.message_view import excerpt
from trio_relay.cli.shared.params import ID, Number
from trio_relay.cli.shared.terminal import echo_json, local_time, printable
from trio_relay.core.events import KINDS, wanted
from trio_relay.errors import ConnectionLost

if TYPE_CHECKING:
    from trio_relay.client.events import Event
    from trio_relay.client.http import RelayClient

#: What is worth saying of an event in a line, in this order.
_TOLD = (
    *("messageId", "taskId", "pairId", "threadId", "approvalId", "key", "tokenId"),
    *("agentId", "state", "status", "ready", "reason", "by"),
)

#: How far back the last events are looked for.
_BACK = 1000
#: How long the relay may take to tell them, seconds.
_PATIENCE = 10.0


@click.command(
    epilog=examples(
        "trio-relay events --follow --types 'message.*,task.*'",
        "trio-relay events --follow --since 1200 --json >> events.jsonl",
    )
)
@click.option("--follow", is_flag=True, help="Go on with what happens; Ctrl-C ends it.")
@click.option(
    "--types",
    metavar="KIND,...",
    help="Only these kinds; message.* is a whole family. May be given several times.",
    multiple=True,
)
@click.option("--agent", metavar="AGENT", help="Only what names this agent, or happens to its messages.")
@click.option(
    "--since",
    type=Number(0),
    metavar="ID",
    help="Begin after this event; 0 is the beginning of the log. Default with --follow: now.",
)
@click.option(
    "--last", type=ID, metavar="N", default=20, show_default=True, help="Without --follow: how many."
)
@json_option
@relay_option
def events(
    *,
    follow: bool,
    types: tuple[str, ...],
    agent: str | None,
    since: int | None,
    last: int,
    as_json: bool,
    relay_url: str | None,
) -> None:
    """Show what happens in the room: the last of it, or with --follow as it happens.

    Each event has a number; --since goes on after one, so that nothing is missed between two runs. With --follow a relay
    that is away is waited for, and --json prints one object a line.
    """
    kinds = [kind.strip() for given in types for kind in given.split(",") if kind.strip()] or None
    check_kinds(kinds)
    if agent is not None and not follow:
        raise click.UsageError("--agent goes with --follow")

    async def work(relay: "RelayClient") -> None:
        from trio_relay.client.events import follow as following  # noqa: PLC0415  # --help stays quick

        if follow:
            async with following(relay, types=kinds, agent=agent, after=since, on_lost=_lost) as stream:
                async for event in stream:
                    if as_json:
                        echo_json(_plain(event), indent=None)
                    else:
                        click.echo(as_line(event))
            return
        told = await newest(relay, kinds, since, last)
        if as_json:
            echo_json([_plain(event) for event in told])
        elif told:
            click.echo("\n".join(as_line(event) for event in told))
        else:
            click.echo("Nothing of that has happened lately.", err=True)

    call_relay(relay_url, work, waits=True)


async def newest(
    relay: "RelayClient", kinds: list[str] | None, since: int | None, count: int
) -> "list[Event]":
    """Read the last events up to now: after `since`, or of the newest `_BACK`; at most `count`."""
    import trio  # noqa: PLC0415  # --help stays quick

    from trio_relay.client.events import follow as following  # noqa: PLC0415

    now = await _present(relay)
    after = max(0, now - _BACK) if since is None else since
    if after >= now:
        return []
    wants = wanted(kinds, None).wants
    told: deque[Event] = deque(maxlen=count)
    # What the log says last is what stood there when we asked: it comes at once.
    with trio.move_on_after(_PATIENCE):
        async with following(relay, after=after) as stream:
            async for event in stream:
                if wants(event.kind, None) or (event.kind == "gap" and since is not None):
                    told.append(event)
                if event.id >= now:
                    break
    return list(told)


async def _present(relay: "RelayClient") -> int:
    """The number of the newest event: what a stream begins with."""
    async with relay.stream("/api/events", query={}, headers={}, silence=_PATIENCE) as next_piece:
        text = b""
        while b"\n\n" not in text:
            piece = await next_piece()
            if not piece:
                raise ConnectionLost(f"the relay at {relay.url} has ended the stream")
            text += piece
    found = re.search(rb"^id: (\d+)$", text, re.MULTILINE)
    return int(found[1]) if found else 0


def check_kinds(kinds: list[str] | None) -> None:
    """Refuse a kind that never happens: waiting for it would be for ever."""
    families = {f"{kind.partition('.')[0]}.*" for kind in KINDS}
    for kind in kinds or ():
        if kind not in KINDS and kind not in families:
            near = ", ".join(sorted(families))
            raise click.UsageError(
                f"{kind!r} is no kind of event; families: {near}; docs/api.md lists the kinds"
            )


def as_line(event: "Event") -> str:
    """Write an event in a line: its number, when, what, and what there is to know; of a message how it begins."""
    data: Mapping[str, Any] = event.data
    at = data.get("at")
    when = local_time(at) if isinstance(at, int) else "-" * 8
    if isinstance(data.get("body"), str):
        begins = excerpt(data.get("subject") or data["body"])
        told = f"[{data['id']}] {_word(data['from'])} → {_word(data['to'])}: {printable(begins)}"
    elif "id" in data:  # the agent itself
        told = f"{_word(data['id'])} {_word(data['status'])}{'' if data.get('ready') else ', not listening'}"
    else:
        told = ", ".join(f"{name} {_word(data[name])}" for name in _TOLD if data.get(name) is not None)
    return f"{event.id:>7}  {when}  {event.kind:<22} {told}".rstrip()


def _word(value: Any) -> str:
    return printable(value if isinstance(value, str) else json.dumps(value))


def _plain(event: "Event") -> dict[str, Any]:
    return {"id": event.id, "kind": event.kind, "data": event.data}


def _lost(reason: str) -> None:
    click.echo(f"trio-relay: {printable(reason)}; waiting for it to come back", err=True)
