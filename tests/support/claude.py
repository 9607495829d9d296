"""Where the real Claude Code is, for the tests that run it."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: Older versions that are tried too: not in the default run, see `older_versions`.
OLDER = ("2.1.197",)


def claude_program(version: str | None = None) -> str:
    """The path of the real Claude Code, the newest or an older `version`; without it the test fails and says how to get it."""
    suffix = "" if version is None else "-" + version
    variable = "TRIO_RELAY_TEST_CLAUDE" + suffix.replace("-", "_").replace(".", "_")
    named = os.environ.get(variable)
    path = Path(named) if named else ROOT / f".tools/claude{suffix}/node_modules/.bin/claude"
    if not path.exists():
        pytest.fail(f"no Claude Code at {path}: scripts/test installs it, or set {variable}", pytrace=False)
    return str(path)


def older_versions() -> tuple[str, ...]:
    """The older versions to try: those of CLAUDE_VERSIONS, comma separated, or ``all``; none by default."""
    wanted = os.environ.get("CLAUDE_VERSIONS", "")
    return OLDER if wanted == "all" else tuple(filter(None, wanted.split(",")))
