"""Where the real programs are, for the tests that run them."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class RealProgram:
    """A program from npm. `older` are the versions that are tried too: not in the default run."""

    title: str
    name: str
    older: tuple[str, ...]

    def path(self, version: str | None = None) -> str:
        """Where it is, the newest or an older `version`; without it the test fails and says how to get it."""
        suffix = "" if version is None else "-" + version
        variable = f"TRIO_RELAY_TEST_{self.name.upper()}" + suffix.replace("-", "_").replace(".", "_")
        named = os.environ.get(variable)
        path = Path(named) if named else ROOT / f".tools/{self.name}{suffix}/node_modules/.bin/{self.name}"
        if not path.exists():
            pytest.fail(
                f"no {self.title} at {path}: scripts/test installs it, or set {variable}", pytrace=False
            )
        return str(path)

    def older_versions(self) -> tuple[str, ...]:
        """The older versions to try: those of e.g. CODEX_VERSIONS, comma separated, or ``all``; none by default."""
        wanted = os.environ.get(f"{self.name.upper()}_VERSIONS", "")
        return self.older if wanted == "all" else tuple(filter(None, wanted.split(",")))
