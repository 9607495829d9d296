"""The pages of the documentation: which there are, in which order, and what stands in them.

They are the files of ``docs/``: beside the package in a wheel, at the top of a checkout.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import trio_relay

_PACKAGE = Path(trio_relay.__file__).parent
#: The names of the files, without ``.md``, under the headings of the navigation. The first is the front page.
GROUPS: dict[str, tuple[str, ...]] = {
    "Start": ("why", "tutorial", "how-it-works", "migrate"),
    "Use": (
        "codex",
        "claude",
        "dashboard",
        "cli",
        "client",
        "mcp",
        "delivery",
        "profiles",
        "connectors",
    ),
    "Run": ("operations", "settings", "security", "scaling"),
    "Look up": ("api", "guarantees", "performance"),
    "Take part": ("development", "decisions", "dependencies"),
}
FRONT = "why"


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its name in URLs, the title at its top, its text."""

    name: str
    title: str
    source: str


def docs_root() -> Path | None:
    """Where the files are; None in an installation without them."""
    places = (_PACKAGE / "docs", _PACKAGE.parents[1] / "docs")
    return next((place for place in places if (place / f"{FRONT}.md").is_file()), None)


@cache
def all_pages() -> dict[str, Page]:
    """Every page there is, in the order of the navigation."""
    root = docs_root()
    if root is None:
        return {}
    files = {name: root / f"{name}.md" for names in GROUPS.values() for name in names}
    return {name: _read(name, file) for name, file in files.items() if file.is_file()}


def images() -> dict[str, bytes]:
    """Every picture of the pages, by its file name."""
    root = docs_root()
    if root is None:
        return {}
    return {file.name: file.read_bytes() for file in sorted((root / "images").glob("*.*"))}


def _read(name: str, file: Path) -> Page:
    source = file.read_text(encoding="utf-8")
    title = next((line.removeprefix("# ") for line in source.splitlines() if line.startswith("# ")), name)
    return Page(name, title, source)
