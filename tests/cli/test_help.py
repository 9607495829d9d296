"""What every command says of itself, at 80 columns; and what a shell completes."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from support.commands import ServingRelay, call, clean_environment
from trio_relay.cli.codex import codex_tools, start
from trio_relay.cli.main import COMMANDS, SECTIONS, cli


def every(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path[-1])
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from every(inner, (*path, name))


NAMES = re.compile(r"`([a-z][a-z -]*)`")
PROGRAMS = {"trio-relay": cli, "codex-relay": start, "agent-relay-codex": codex_tools}
ALL = [(path, found) for name, program in PROGRAMS.items() for path, found in every(program, (name,))]


def help_of(path: tuple[str, ...], command: click.Command) -> str:
    """A command's help as a terminal of 80 columns shows it."""
    context: click.Context | None = None
    for name in path[:-1]:
        context = click.Context(PROGRAMS[path[0]], parent=context, info_name=name, terminal_width=80)
    return command.get_help(click.Context(command, parent=context, info_name=path[-1], terminal_width=80))


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) for path, _ in ALL])
def test_a_help_fits_80_columns_and_says_what_is_done(path: tuple[str, ...], command: click.Command) -> None:
    text = help_of(path, command)
    assert [line for line in text.splitlines() if len(line) > 80] == []
    assert [line for line in text.splitlines() if line.startswith("  ") and line.endswith("...")] == []
    first = (command.help or "").strip().split("\n\n")[0]
    assert first.endswith("."), "a help begins with a sentence"
    options = [one for one in command.params if isinstance(one, click.Option)]
    assert [one.name for one in options if not one.help] == []


def test_what_json_a_command_prints_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    table = page.split("## JSON")[1].split("<!--")[0]
    named = set(re.findall(r"`([a-z][a-z -]+?)(?: --[a-z]+)?`", table))
    printing = {
        " ".join(path[1:])
        for path, found in ALL
        if path[0] == "trio-relay" and any(one.name == "as_json" for one in found.params)
    }
    assert printing - named == set()


def test_every_command_prints_json_or_says_why_it_does_not() -> None:
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    table = page.split("These have no `--json`:")[1].split("<!--")[0]
    excused = {
        name
        for line in table.splitlines()
        if line.startswith("| `")
        for name in NAMES.findall(line.split("|")[1])
    }
    leaves = {
        " ".join(path[1:]): {one.name for one in found.params}
        for path, found in ALL
        if path[0] == "trio-relay" and not isinstance(found, click.Group)
    }
    assert {name for name, options in leaves.items() if "as_json" not in options} == excused


def test_every_command_stands_in_one_section() -> None:
    listed = [name for names in SECTIONS.values() for name in names]
    assert sorted(listed) == sorted(COMMANDS)


def test_the_list_of_commands_is_one_column_after_the_other() -> None:
    lines = call("--help").stdout.splitlines()
    rows = [line for line in lines if line.startswith("  ") and line.split()[0] in COMMANDS]
    assert len(rows) == len(COMMANDS)
    assert len({line.index(COMMANDS[line.split()[0]].help) for line in rows}) == 1


@pytest.mark.parametrize("path", [path for path, found in ALL if found.epilog], ids=" ".join)
def test_the_examples_of_a_help_can_be_meant(path: tuple[str, ...]) -> None:
    """What stands under Examples is a command there is, with options it has."""
    command = dict(ALL)[path]
    for line in (command.epilog or "").split("\n"):
        if not line.startswith("  trio-relay "):
            continue
        words = [word.strip("'\"") for word in line.split("|")[0].split(" -- ")[0].split()[1:]]
        found: click.Command = cli
        for word in words:
            if not isinstance(found, click.Group):
                break
            inner = found.get_command(click.Context(found), word)
            if inner is None:
                break
            found = inner
        assert found is not cli
        known = {name for one in found.params for name in (*one.opts, *one.secondary_opts)}
        assert {word for word in words if word.startswith("--")} <= known | {"--help"}


# Completion


def test_commands_agents_and_options_are_completed(relay: ServingRelay, tmp_path: Path) -> None:
    env = clean_environment(tmp_path, AGENT_RELAY_URL=relay.url)
    for name in ("carl", "carla", "dora"):
        assert call("inbox", "--agent", name, env=env).exit_code == 3
        assert call("send", "tag:x", "hi", "--from", name, env=env).exit_code == 0
    assert call("tags", "--add", "cargo", "--from", "dora", env=env).exit_code == 0
    # The console script: `python -m` has no name that a shell could complete.
    program = [str(Path(sys.executable).with_name("trio-relay"))]

    def complete(*words: str) -> list[str]:
        asked = {
            "_TRIO_RELAY_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(["trio-relay", *words]),
            "COMP_CWORD": str(len(words)),
        }
        done = subprocess.run(
            program,
            env={**env, **asked},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert done.stderr == ""
        return [line.partition(",")[2] for line in done.stdout.splitlines() if line]

    assert complete("expl") == ["explain"]
    assert complete("/expl") == ["/explain"]
    assert complete("send", "carl") == ["carl", "carla"]
    assert complete("send", "tag:car") == ["tag:cargo"]
    assert complete("send", "dora", "hi", "--from", "d") == ["dora"]
    assert complete("send", "dora", "hi", "--wait", "in") == ["in_context"]
    assert complete("leases", "r") == ["release", "run"]
    env["AGENT_RELAY_URL"] = "http://127.0.0.1:9"
    assert complete("send", "carl") == [], "a relay that is away completes nothing, and says nothing"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_given_its_script(shell: str) -> None:
    script = call("completion", shell).stdout
    assert "_TRIO_RELAY_COMPLETE" in script
    assert f"{shell}_complete" in script


def test_bash_takes_the_script(tmp_path: Path) -> None:
    (tmp_path / "script").write_text(call("completion", "bash").stdout)
    done = subprocess.run(
        ["bash", "--norc", "-c", ". ./script; complete -p trio-relay"],
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert "trio-relay" in done.stdout
