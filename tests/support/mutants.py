"""Break the code on purpose and see a test fail: the proof that the tests see what they are for.

``scripts/mutants`` tries every way of ``tests/mutants.toml``, or those whose name or promise contains an argument. Each
works on a copy of the sources; the tree is left alone.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "trio_relay"
#: Seconds after which a test counts as hung: it did not fail, so the mutant lives.
PATIENCE = 300


@dataclass(frozen=True, slots=True)
class Mutant:
    """One way to break the code: `old` in `file` becomes `new`, and `test` must fail."""

    name: str
    file: str
    old: str
    new: str
    test: str
    promise: str = ""


def all_mutants() -> list[Mutant]:
    """The list, as it stands in the file."""
    table = tomllib.loads((ROOT / "tests" / "mutants.toml").read_text())
    return [Mutant(**row) for row in table["mutant"]]


def is_caught(mutant: Mutant) -> bool:
    """Whether the mutant's test fails on a copy of the sources that is broken in its way."""
    with tempfile.TemporaryDirectory() as directory:
        package = Path(directory) / "trio_relay"
        shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__"))
        file = package / mutant.file
        file.write_text(file.read_text().replace(mutant.old, mutant.new))
        try:
            run = subprocess.run(
                [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", mutant.test],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": directory},
                capture_output=True,
                check=False,
                timeout=PATIENCE,
            )
        except subprocess.TimeoutExpired:
            return False
    return run.returncode == 1  # 1: a test failed; anything else is no verdict


def main(words: list[str]) -> int:
    """Try the mutants that are meant; 1 if one of them lives."""
    alive = 0
    for mutant in all_mutants():
        if words and not any(word in mutant.name or word == mutant.promise for word in words):
            continue
        caught = is_caught(mutant)
        alive += not caught
        print(f"{'caught' if caught else 'ALIVE '}  {mutant.promise:4}{mutant.name}", flush=True)
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
