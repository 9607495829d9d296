"""Carrying out what installing and uninstalling have planned, and saying it: for a person, or as JSON."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import click

from trio_relay.cli.shared.terminal import echo_json


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan: every file and command of it, the same in fewer words, what is not in it and why, and doing it.

    `done` is what is said once it was taken, `idle` where there was nothing to do, `following` what is left for the
    person to do after either.
    """

    lines: Sequence[str]
    summary: Sequence[str]
    take: Callable[[], None]
    done: str
    idle: str
    notes: Sequence[str] = ()
    following: Sequence[str] = ()

    def carry_out(self, *, dry_run: bool, as_json: bool) -> None:
        """Say what is in the plan, and take it unless this is a dry run."""
        if not as_json:
            self._announce(dry_run=dry_run)
        if not dry_run and self.lines:
            self.take()
        if as_json:
            document = {"changed": bool(self.lines) and not dry_run, "steps": self.lines, "notes": self.notes}
            echo_json(document)
        elif not dry_run:
            for line in (self.done if self.lines else self.idle, *self.following):
                click.echo(line)

    def _announce(self, *, dry_run: bool) -> None:
        for line in self.lines if dry_run else self.summary:
            click.echo(line)
        for note in self.notes:
            click.echo(f"note: {note}")
        if dry_run:
            click.echo("Nothing was changed (--dry-run).")
