"""Where the real Codex is, for the tests that run it."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def codex_program() -> str:
    """The path of the real Codex; the test fails, saying how to get one, where there is none."""
    named = os.environ.get("TRIO_RELAY_TEST_CODEX")
    path = Path(named) if named else ROOT / ".tools/codex/node_modules/.bin/codex"
    if not path.exists():
        pytest.fail(
            f"no Codex at {path}: scripts/test installs it, or set TRIO_RELAY_TEST_CODEX", pytrace=False
        )
    return str(path)
