"""``trio-relay tasks`` and ``task``: what integrations have asked for, who does it, and how it goes."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from trio_relay.cli.shared.calling import call_relay, examples, json_option, relay_option
from trio_relay.cli.shared.params import ID, Number
from trio_relay.cli.shared.session import myself, sender_option
from trio_relay.cli.shared.terminal import (
    console,
    echo_json,
    local_time,
    parsed_json,
    printable,
    printable_text,
)
from trio_relay.core.tasks import TaskStatus
from trio_relay.core.wire_tasks import Callback, Task, TaskEvent, TaskStatusChange
from trio_relay.errors import Refused

if TYPE_CHECKING:
    from trio_relay.client.http import RelayClient

_STATUSES = [status.value for status in TaskStatus]
_STYLES = {
    TaskStatus.OPEN: "bold",
    TaskStatus.BLOCKED: "yellow",
    TaskStatus.DONE: "green",
    TaskStatus.FAILED: "red",
    TaskStatus.CANCELED: "dim",
}


@click.command(epilog=examples("trio-relay tasks --status open", "trio-relay tasks --source ci --json"))
@click.option("--status", type=click.Choice(_STATUSES), metavar="STATUS", help="Only those in this state.")
@click.option("--source", metavar="NAME", help="Only those of this integration.")
@click.option("--target", metavar="TARGET", help="Only those for this target.")
@click.option("--before", type=ID, metavar="ID", help="Only older ones: the next page.")
@click.option(
    "--limit", type=Number(1, 1000), metavar="N", default=50, show_default=True, help="At most so many."
)
@json_option
@relay_option
def tasks(*, as_json: bool, relay_url: str | None, status: str | None, **filters: Any) -> None:
    """List tasks, the newest first.

    STATUS is open, claimed, in_progress, blocked, done, failed or canceled.
    """

    async def work(relay: "RelayClient") -> list[Task]:
        from trio_relay.client.tasks import list_tasks  # noqa: PLC0415  # --help stays quick

        return await list_tasks(relay, status=TaskStatus(status) if status else None, **filters)

    found = call_relay(relay_url, work)
    if as_json:
        echo_json(found)
    elif not found:
        click.echo("No task matches.", err=True)
    else:
        _print_table(found)


@click.command(
    epilog=examples(
        "trio-relay task 3",
        'trio-relay task 3 in_progress --progress "2 of 5 files"',
        'trio-relay task 3 done --result "Fixed in 3f2a1c."',
    )
)
@click.argument("task_id", type=ID, metavar="ID")
@click.argument("status", type=click.Choice(_STATUSES), metavar="[STATUS]", required=False)
@click.option("--progress", metavar="TEXT", help="How far it is.")
@click.option("--result", metavar="TEXT", help="What came of it.")
@click.option(
    "--data", metavar="JSON", help="The result as JSON, not as text; - reads it from standard input."
)
@click.option("--overrule", is_flag=True, help="As an operator, whoever holds it; takes the scope admin.")
@sender_option
@json_option
@relay_option
def task(
    *,
    task_id: int,
    status: str | None,
    progress: str | None,
    result: str | None,
    data: str | None,
    overrule: bool,
    agent: str | None,
    as_json: bool,
    relay_url: str | None,
) -> None:
    """Show task ID with its history, or say how it goes, as the agent that holds it.

    STATUS is open, claimed, in_progress, blocked, done, failed or canceled. A report also renews the claim; one with
    a progress and no STATUS says in_progress.
    """
    if result is not None and data is not None:
        raise click.UsageError("--result, or --data: not both")
    outcome = parsed_json(data, "--data") if data is not None else result
    if status is None and progress is not None:
        status = TaskStatus.IN_PROGRESS
    if status is None and (overrule or outcome is not None):
        raise click.UsageError("which STATUS?")

    async def work(relay: "RelayClient") -> tuple[Task, list[TaskEvent], list[Callback]]:
        from trio_relay.client import tasks as client  # noqa: PLC0415  # --help stays quick

        if status is not None:
            change = TaskStatusChange(status=TaskStatus(status), progress=progress, result=outcome)
            if not overrule:
                me = await myself(relay, agent)
                change.agent_id = me.agent_id
                change.instance_id, change.epoch = me.session.instance_id, me.session.epoch
            return await client.set_status(relay, task_id, change), [], []
        found = await client.get_task(relay, task_id)
        callbacks: list[Callback] = []
        with suppress(
            Refused
        ):  # callbacks are for observers; a task may also be looked at by whoever claims it
            callbacks = await client.callbacks(relay, task_id)
        return found, await client.history(relay, task_id), callbacks

    found, history, callbacks = call_relay(relay_url, work)
    if status is not None:
        if as_json:
            echo_json(found)
        else:
            click.echo(f"Task {found.id} is {found.status}.")
    elif as_json:
        echo_json({"task": found, "history": history, "callbacks": callbacks})
    else:
        click.echo("\n".join(_lines(found, history, callbacks)))


def _print_table(found: list[Task]) -> None:
    from rich.table import Table  # noqa: PLC0415  # only where a table is drawn
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("id", justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("title", overflow="fold", ratio=3)
    table.add_column("source", overflow="fold", ratio=1)
    table.add_column("held by", overflow="fold", ratio=2)
    table.add_column("seen", no_wrap=True)
    for each in found:
        times = f" ×{each.occurrence_count}" if each.occurrence_count > 1 else ""  # noqa: RUF001  # as people write it
        table.add_row(
            str(each.id),
            Text(each.status.value, style=_STYLES.get(each.status, "")),
            Text(printable(each.title) + times),
            Text(printable(each.source)),
            Text(printable(each.claimed_by or "")),
            Text(local_time(each.last_seen_at), style="dim"),
        )
    console().print(table)


def _lines(found: Task, history: list[TaskEvent], callbacks: list[Callback]) -> Iterator[str]:
    yield f"Task {found.id}: {printable(found.title)}"
    for name, text in _facts(found):
        yield f"  {name:<10} {printable(text)}"
    for name, value in (("progress", found.progress), ("result", found.result)):
        if value is not None:
            yield f"  {name:<10} {_words(value)}"
    if found.body:
        yield ""
        yield from (f"  {line}" for line in printable_text(found.body).split("\n"))
    if history:
        yield ""
    for event in history:
        by = f"  {printable(event.agent_id)}" if event.agent_id else ""
        yield f"  {local_time(event.at)}  {event.type:<9} {event.status}{by}"
    if callbacks:
        yield ""
    for callback in callbacks:
        tried = f"{len(callback.attempts)} attempt{'' if len(callback.attempts) == 1 else 's'}"
        last = (
            f", last {callback.attempts[-1].status or callback.attempts[-1].error}"
            if callback.attempts
            else ""
        )
        yield f"  callback {callback.event}: {callback.state}, {tried}{printable(last)}"


def _facts(found: Task) -> Iterator[tuple[str, str]]:
    holder = found.claimed_by
    until = f" until {local_time(found.claim_expires_at)}" if found.claim_expires_at is not None else ""
    yield "status", f"{found.status}{f', held by {holder}{until}' if holder else ''}"
    yield "from", f"{found.source} ({found.type}, {found.severity})"
    yield "for", found.target + (f" on channel {found.channel}" if found.channel else "")
    if found.message_id is not None:
        yield "message", str(found.message_id)
    if found.occurrence_count > 1:
        yield "seen", f"{found.occurrence_count} times, last {local_time(found.last_seen_at)}"
    if found.external_url:
        yield "see", found.external_url
    yield "since", local_time(found.created_at)


def _words(value: Any) -> str:
    """Write a result: text as it is, everything else as JSON."""
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        value = value["text"]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return printable_text(text).replace("\n", "\n             ")
