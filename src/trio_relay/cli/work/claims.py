"""``trio-relay claim``, ``complete`` and ``release``: work that is for exactly one, on messages and on tasks.

A task's claim is the claim of its message, so the commands take either: ``12`` is a message, ``task:3`` a task.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import click

from trio_relay.cli.shared.calling import call_relay, examples, json_option, relay_option
from trio_relay.cli.shared.failures import REFUSED, Failure
from trio_relay.cli.shared.params import Seconds
from trio_relay.cli.shared.session import myself, sender_option
from trio_relay.cli.shared.terminal import echo_json, local_time, parsed_json, spoken
from trio_relay.core.wire import ClaimedMessage, Message

if TYPE_CHECKING:
    from trio_relay.client.http import RelayClient
    from trio_relay.mcp.speaker import Speaker

#: How long a claim lasts that nothing renews, seconds: as long as one made by a model's tool.
LASTS = 900.0


class Work(click.ParamType[tuple[str, int]]):
    """The number of a message, or ``task:`` and that of a task."""

    name = "work"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """Read it: what kind, and which."""
        kind, _, number = str(value).rpartition(":")
        if kind not in {"", "task", "message"} or not number.isascii() or not number.isdecimal():
            self.fail(f"{value!r} is neither the number of a message nor task:NUMBER", param, ctx)
        return kind or "message", int(number)


_work = click.argument("work", type=Work(), metavar="ID")
_lease = click.option(
    "--lease", metavar="TOKEN", help="The leaseToken `claim` gave; default: whatever claim you hold."
)


@click.command(
    epilog=examples(
        "trio-relay claim 12", "trio-relay claim task:3 --for 60", "trio-relay claim 12 -- make test"
    ),
)
@_work
@click.argument("command", nargs=-1, metavar="[-- COMMAND...]")
@click.option(
    "--for",
    "seconds",
    type=Seconds(1, 3600),
    default=LASTS,
    show_default=True,
    metavar="SECONDS",
    help="How long it lasts; claiming again renews it.",
)
@sender_option
@json_option
@relay_option
def claim(
    *,
    work: tuple[str, int],
    command: tuple[str, ...],
    seconds: float,
    agent: str | None,
    as_json: bool,
    relay_url: str | None,
) -> None:
    """Claim a message, or a task (task:ID): then it is yours and nobody else's.

    With a COMMAND it is held while that runs, however long, completed when it succeeds and given back when it fails;
    the command is stopped if the claim is lost, and its exit code is that of this program.
    """
    if command and as_json:
        raise click.UsageError("--json does not go with a COMMAND, whose output is its own")

    async def call(relay: "RelayClient") -> ClaimedMessage | int:
        me = await myself(relay, agent)
        message_id = await _message_of(relay, work)
        if command:
            from trio_relay.cli.work.holding import run_with_claim  # noqa: PLC0415  # --help stays quick

            return await run_with_claim(relay, message_id, me, command)
        return await relay.claim(message_id, me.agent_id, me.session, round(seconds * 1000))

    found = call_relay(relay_url, call, waits=bool(command))
    if isinstance(found, int):
        raise click.exceptions.Exit(found)
    if as_json:
        echo_json(found)
    else:
        until = local_time(found.claim_expires_at or found.created_at)
        click.echo(
            f"Message {found.id} is yours until {until}; `trio-relay complete {found.id}` when it is done."
        )


@click.command(
    epilog=examples(
        'trio-relay complete 12 "Fixed in 3f2a1c."', "trio-relay complete task:3 --data '{\"ok\": true}'"
    )
)
@_work
@click.argument("result", nargs=-1)
@click.option(
    "--data", metavar="JSON", help="The result as JSON, not as text; - reads it from standard input."
)
@_lease
@sender_option
@json_option
@relay_option
def complete(
    *,
    work: tuple[str, int],
    result: tuple[str, ...],
    data: str | None,
    lease: str | None,
    agent: str | None,
    as_json: bool,
    relay_url: str | None,
) -> None:
    """Say that the work you have claimed is done.

    RESULT need not be quoted; - alone reads it from standard input. Without one, the result of a task is your reply to
    its message.
    """
    if result and data is not None:
        raise click.UsageError("a RESULT, or --data: not both")
    outcome = parsed_json(data, "--data") if data is not None else spoken(result) if result else None

    async def end(relay: "RelayClient", message_id: int, me: "Speaker") -> Message:
        return await relay.complete(message_id, me.agent_id, lease, outcome, me.session)

    _end(end, work, agent, relay_url, "is done", as_json=as_json)


@click.command(epilog=examples("trio-relay release 12"))
@_work
@_lease
@sender_option
@json_option
@relay_option
def release(
    *, work: tuple[str, int], lease: str | None, agent: str | None, as_json: bool, relay_url: str | None
) -> None:
    """Give back work you have claimed: it is offered to the others again."""

    async def end(relay: "RelayClient", message_id: int, me: "Speaker") -> Message:
        return await relay.release(message_id, me.agent_id, lease, me.session)

    _end(end, work, agent, relay_url, "is free again", as_json=as_json)


def _end(
    end: "Callable[[RelayClient, int, Speaker], Awaitable[Message]]",
    work: tuple[str, int],
    agent: str | None,
    relay_url: str | None,
    said: str,
    *,
    as_json: bool,
) -> None:
    async def call(relay: "RelayClient") -> Message:
        return await end(relay, await _message_of(relay, work), await myself(relay, agent))

    found = call_relay(relay_url, call)
    if as_json:
        echo_json(found)
    else:
        click.echo(f"Message {found.id} {said}.")


async def _message_of(relay: "RelayClient", work: tuple[str, int]) -> int:
    """Find the message to claim."""
    from trio_relay.client.tasks import get_task  # noqa: PLC0415  # --help stays quick

    kind, number = work
    if kind == "message":
        return number
    message_id = (await get_task(relay, number)).message_id
    if message_id is None:
        raise Failure(f"task {number} has no message that could be claimed", REFUSED)
    return message_id
