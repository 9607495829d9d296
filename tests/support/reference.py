"""The parts of the reference pages that are made from the code: settings, commands, mutants.

They stand in the pages between ``<!-- from the code: NAME -->`` and ``<!-- end -->``. A test holds the pages to the
code; this writes them anew: ``PYTHONPATH=tests .venv/bin/python -m support.reference``.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import click
from quart_trio import QuartTrio

from support.mutants import all_mutants
from trio_relay.cli.codex import codex_tools, start
from trio_relay.cli.main import cli
from trio_relay.settings import AGENT, CLAUDE, CONNECTOR, SERVER, SIDECAR, Setting
from trio_relay.settings.table import milliseconds

DOCS = Path(__file__).parents[2] / "docs"
PAGES = (DOCS / "settings.md", DOCS / "cli.md", DOCS / "guarantees.md")
_PART = re.compile(r"(<!-- from the code: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(page: str) -> str:
    """A page with its parts made anew."""
    parts = {
        "server": _settings(SERVER),
        "agent": _settings(AGENT),
        "sidecar": _settings(SIDECAR),
        "claude": _settings(CLAUDE),
        "connector": _settings(CONNECTOR),
        "trio-relay": _commands(cli, "trio-relay"),
        "codex-relay": _commands(start, "codex-relay"),
        "agent-relay-codex": _commands(codex_tools, "agent-relay-codex"),
        "mutants": _mutants(),
    }
    return _PART.sub(lambda found: f"{found[1]}\n{parts[found[2]]}\n{found[3]}", page)


def _settings(table: tuple[Setting, ...]) -> str:
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for row in table:
        older = "".join(f"; older: `{name}`" for name in row.older)
        lines.append(f"| `{row.env}` | {_default(row)} | {_cell(row.help)}{older} |")
    return "\n".join(lines) + "\n"


def _mutants() -> str:
    lines = ["| | broken like this | this fails |", "|---|---|---|"]
    lines += [f"| {each.promise} | {_cell(each.name)} | `{each.test}` |" for each in all_mutants()]
    return "\n".join(lines) + "\n"


def _default(row: Setting) -> str:
    if row.default is None or row.default == ():
        return ""
    if row.parse is milliseconds:
        return f"`{row.default * 1000:.0f}`"
    return f"`{int(row.default)}`" if isinstance(row.default, bool) else f"`{row.default}`"


def _commands(command: click.Command, path: str) -> str:
    return "\n".join(_of_command(command, path))


def _of_command(command: click.Command, path: str) -> Iterator[str]:
    context = click.Context(command, info_name=path, max_content_width=10_000)
    arguments = [one.make_metavar(context) for one in command.params if isinstance(one, click.Argument)]
    yield f"## `{' '.join([path, *arguments])}`\n"
    yield "\n\n".join(" ".join(block.split()) for block in (command.help or "").split("\n\n")) + "\n"
    if command.epilog:
        lines = [line.strip() for line in command.epilog.split("\n") if line.startswith("  ")]
        yield "\n".join(["```sh", *lines, "```", ""])
    records = [
        record
        for one in command.params
        if isinstance(one, click.Option) and (record := one.get_help_record(context))
    ]
    if records:
        yield "\n".join(
            ["| option | |", "|---|---|", *(f"| `{_cell(use)}` | {_cell(text)} |" for use, text in records)]
        )
        yield ""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            if inner is start:
                yield f"## `{path} {name}`\n\nIs `codex-relay`.\n"
            else:
                yield from _of_command(inner, f"{path} {name}")


def _cell(text: str) -> str:
    return " ".join(text.replace("|", r"\|").split())


def routes_of(app: QuartTrio, *, pages: bool = False) -> list[str]:
    """Every route as docs/api.md writes it: ``GET /api/messages/:id``; with `pages` those of docs/dashboard.md."""
    found: set[str] = set()
    for rule in app.url_map.iter_rules():
        if _is_page(rule.endpoint) is not pages:
            continue
        path = re.sub(r"<[^>]+>", ":id", rule.rule)
        found.update(
            f"{method} {path}" for method in (rule.methods or ()) if method not in {"HEAD", "OPTIONS"}
        )
    return sorted(found)


def _is_page(endpoint: str) -> bool:
    """Whether a route is one of the dashboard's, for people."""
    return endpoint.partition(".")[0] in {"dashboard", "entrance", "assets"}


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text()))
