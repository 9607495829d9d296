"""The commands of docs/tutorial.md with what they print, and what they print here and now.

A block ``console`` holds commands behind ``$ `` (continued behind ``> ``), each followed by its output. A block
``python file=NAME`` is a file the reader saves. Everything runs in one shell, as a reader would do it. What differs
from one run to the next (the clock, how long ago, the port, this machine's name) is compared by its form.

``PYTHONPATH=tests .venv/bin/python -m support.tutorial`` writes the outputs into the page anew.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.commands import ServingRelay, clean_environment, serving_relay

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
_BLOCK = re.compile(r"```(console|python file=(\S+))\n(.*?)```\n", re.DOTALL)
_STEP = re.compile(r"^\$ (.*\n(?:> .*\n)*)((?:(?!\$ ).*\n)*)", re.MULTILINE)
_GREETING = re.compile(r"```text greeting\n(.*?)```", re.DOTALL)
_END = "-- end of output"
_FORMS = (
    (r"\b\d\d:\d\d:\d\d\b", "HH:MM:SS"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d", "DATE"),
    (r"\b\d+(?:\.\d+)? (?:ms|s|min|h)(?: \d+ (?:s|min))?\b", "N s"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:4850"),
    (r"\b[\w.-]+@[\w.-]+\b", "you@here"),
    (r"(?<=database  ).*", "relay.db"),
    (r"\.venv/bin/(?=trio-relay )", ""),  # where it is not on the PATH
    (r"attemptId \w+", "attemptId ID"),
    (r"[ ]+$", ""),
    (r"  +", "  "),
)


@dataclass(frozen=True, slots=True)
class Step:
    """One command, and what the page says it prints."""

    command: str
    printed: str


@dataclass(frozen=True, slots=True)
class SavedFile:
    """A file the reader saves under this name."""

    name: str
    text: str


def steps_of(page: str) -> Iterator[Step | SavedFile]:
    """Read the page from top to bottom."""
    for kind, name, content in _BLOCK.findall(page):
        if kind == "console":
            for command, printed in _STEP.findall(content):
                yield Step(command.replace("\n> ", "\n"), printed)
        else:
            yield SavedFile(name, content)


def greeting_of(page: str) -> str:
    """What the page says a relay prints when it is up."""
    found = _GREETING.search(page)
    assert found is not None
    return found[1]


def without_port(greeting: str) -> str:
    """A greeting as it is on the usual port: no need to say where the relay is."""
    return re.sub(r"  export .*\n", "", greeting)


def by_form(output: str) -> str:
    """An output with what differs between runs replaced by what it is."""
    for pattern, form in _FORMS:
        output = re.sub(pattern, form, output, flags=re.MULTILINE)
    return output


class Reader:
    """Somebody who follows the page literally, in one shell."""

    def __init__(self, shell: "subprocess.Popen[str]", directory: Path, greeting: str) -> None:
        self.greeting = greeting
        self._shell = shell
        self._directory = directory

    def does(self, step: Step | SavedFile) -> str:
        """Run a command and give what it printed, or save a file."""
        if isinstance(step, SavedFile):
            (self._directory / step.name).write_text(step.text)
            return ""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{step.command}echo '{_END}'\n")
        self._shell.stdin.flush()
        lines: list[str] = []
        for line in self._shell.stdout:
            if line.rstrip("\n") == _END:
                return "".join(lines)
            lines.append(line)
        raise AssertionError(f"the shell ended at: {step.command}")


@contextmanager
def reader(directory: Path) -> Iterator[Reader]:
    """Begin with an empty home, a relay that runs, and the programs on the PATH."""
    env = clean_environment(directory, COLUMNS="80", USER="you")
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    with serving_relay(env=env, cwd=directory) as relay, _shell(directory, env, relay) as shell:
        yield Reader(shell, directory, without_port(relay.greeting))


@contextmanager
def _shell(directory: Path, env: dict[str, str], relay: ServingRelay) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        ["bash", "--norc", "--noprofile"],
        env=env | {"AGENT_RELAY_URL": relay.url},
        cwd=directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as shell:
        try:
            yield shell
        finally:
            assert shell.stdin is not None
            shell.stdin.close()
            shell.wait(timeout=30)


def filled(page: str) -> str:
    """Make the page with what is printed now, where that differs by more than its form."""
    at = 0
    with tempfile.TemporaryDirectory() as directory, reader(Path(directory)) as person:
        if by_form(person.greeting) != by_form(greeting_of(page)):
            page = page.replace(greeting_of(page), person.greeting)
        for step in steps_of(page):
            printed = person.does(step)
            if isinstance(step, Step):
                shown = f"$ {step.command.rstrip(chr(10)).replace(chr(10), chr(10) + '> ')}\n"
                at = page.index(shown + step.printed, at) + len(shown)
                if by_form(printed) != by_form(step.printed):
                    page = page[:at] + printed + page[at + len(step.printed) :]
    return page


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
