"""How long does a command take, from start to exit?

Each command is run many times as a person runs it (the installed console script, a live relay on this machine, warm
caches), all of them in turn in every round, so that whatever else the machine does falls on all alike. Beside them stand an
interpreter that does nothing, and the same commands over the client library with its event loop (`--wait`).
Given are the median and the range of the middle half in milliseconds, processor time, and the ratio to the
interpreter in the same round.

Run: ``python benchmarks/cli_start.py`` (about 30 s); ``--imports`` lists what a command imports, the dearest last.
Figures are for reading in ``docs/performance.md``; nothing is asserted.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.commands import clean_environment, serving_relay
from trio_relay import __version__

PROGRAM = Path(sys.executable).with_name("trio-relay")
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "version": [str(PROGRAM), "version"],
    "--help": [str(PROGRAM), "--help"],
    "send --help": [str(PROGRAM), "send", "--help"],
    "agents": [str(PROGRAM), "agents"],
    "agents --json": [str(PROGRAM), "agents", "--json"],
    "send": [str(PROGRAM), "send", "bob", "hello", "--from", "ann"],
    "inbox": [str(PROGRAM), "inbox"],
    "read": [str(PROGRAM), "read", "1", "--peek"],
    "leases": [str(PROGRAM), "leases"],
    "with an event loop: events": [str(PROGRAM), "events", "--last", "1"],
    "the event loop and HTTP library alone": [sys.executable, "-c", "import trio, anyio, httpx2"],
}
BASE = "python -c pass"


def run(command: Sequence[str], env: Mapping[str, str], cwd: Path) -> tuple[float, float]:
    """Run a command to its end: milliseconds that passed, milliseconds of a processor."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(command, env=env, cwd=cwd, capture_output=True, check=True)
    took = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return took * 1000, used * 1000


def measure(rounds: int) -> dict[str, dict[str, float | str]]:
    """Run every command in every round, against a relay of their own."""
    passed: dict[str, list[float]] = {name: [] for name in COMMANDS}
    used: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        with serving_relay(env=clean_environment(home), cwd=home) as relay:
            env = clean_environment(home, AGENT_RELAY_URL=relay.url)
            run([str(PROGRAM), "send", "tag:x", "hello", "--from", "bob"], env, home)  # opens bob's mailbox
            for each in range(rounds + 1):
                for name, command in COMMANDS.items():
                    took, processor = run(command, env, home)
                    if each:  # the first round warms the caches
                        passed[name].append(took)
                        used[name].append(processor)
    found: dict[str, dict[str, float | str]] = {}
    for name, times in passed.items():
        quarters = statistics.quantiles(times, n=4)
        ratios = [one / base for one, base in zip(times, passed[BASE], strict=True)]
        found[name] = {
            "median, ms": round(statistics.median(times)),
            "middle half, ms": f"{quarters[0]:.0f} to {quarters[2]:.0f}",
            "processor, ms": round(statistics.median(used[name])),
            "times an empty interpreter": round(statistics.median(ratios), 1),
        }
    return found


def imports(command: Sequence[str]) -> str:
    """What a command imports, by the time it takes, the dearest last."""
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        with serving_relay(env=clean_environment(home), cwd=home) as relay:
            env = clean_environment(home, AGENT_RELAY_URL=relay.url)
            done = subprocess.run(
                [sys.executable, "-X", "importtime", "-m", "trio_relay", *command],
                env=env, cwd=home, capture_output=True, text=True, check=True,
            )  # fmt: skip
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return "\n".join(sorted(lines[1:], key=lambda line: int(line.split("|")[1]))[-40:])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--imports", nargs=argparse.REMAINDER, help="a command, for instance: --imports inbox"
    )
    given = parser.parse_args()
    if given.imports is not None:
        print(imports(given.imports))
    else:
        described = {"trio-relay": __version__, "python": platform.python_version(), "rounds": given.rounds}
        print(json.dumps({**described, **measure(given.rounds)}, indent=2))
