"""docs/client.md and the README's script are true: every block runs as it stands."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trio_relay.testing import ServedRelay, serve_relay

ROOT = Path(__file__).parents[2]


def programs(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def served() -> Iterator[ServedRelay]:
    with serve_relay() as opened:
        yield opened


EXPECTED = [
    "helper I have read: the migration is done\n",
    "['accepted', 'queued', 'handed_off', 'settled']\n",
    "",
    "done {'commit': '7d0c2a'}\n",
    r"'ann' holds 'file:src/api/\*\*' until \d+\nFalse\n",
    "3\n0 []\n",
    r"\d+ message.new\n",
    "hello\n",
    "",
]


def in_a_process(program: str, served: ServedRelay) -> str:
    env = {**os.environ, "RELAY": served.url, "CI_TOKEN": served.mint("ci")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-"],
        input=program,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("number", range(len(EXPECTED)))
def test_every_program_of_the_page_runs(
    number: int, served: ServedRelay, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = programs("docs/client.md")
    assert len(found) == len(EXPECTED)
    monkeypatch.setenv("RELAY", served.url)
    monkeypatch.setenv("CI_TOKEN", served.mint("ci"))
    exec(compile(found[number], f"client.md, program {number + 1}", "exec"), {"__name__": "__main__"})
    said = capsys.readouterr().out
    wanted = EXPECTED[number]
    assert said == wanted or re.fullmatch(wanted, said)


def test_the_script_of_the_readme_runs_as_it_stands(served: ServedRelay) -> None:
    (script,) = programs("README.md")
    assert len([line for line in script.splitlines() if line]) <= 12
    assert in_a_process(script, served) == "done fixed: test_login fails\n"
