"""The documents say what the code does: settings, commands, routes, links, tests that are named, dependencies."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from support.reference import DOCS, PAGES, filled, routes_of
from support.relay import Room

ROOT = DOCS.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
REMAKE = "run PYTHONPATH=tests .venv/bin/python -m support.reference"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tables_are_those_of_the_code(page: Path) -> None:
    text = page.read_text()
    assert text == filled(text), REMAKE


async def test_every_route_is_documented_and_no_other(room: Room) -> None:
    documented = set(re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /[^`\s]*)`", (DOCS / "api.md").read_text()))
    assert sorted(documented) == routes_of(room.app)


async def test_every_page_of_the_dashboard_is_documented_and_no_other(room: Room) -> None:
    documented = set(re.findall(r"`((?:GET|POST) /[^`\s]*)`", (DOCS / "dashboard.md").read_text()))
    assert sorted(documented) == routes_of(room.app, pages=True)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda page: page.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda page: page.name)
def test_every_test_that_is_named_exists(document: Path) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", document.read_text())
    assert [f"{file}::{name}" for file, name in named if not _has(ROOT / file, name)] == []


def _has(file: Path, name: str) -> bool:
    return (
        file.exists()
        and re.search(rf"^(async def|def|class) {name}\b", file.read_text(), re.MULTILINE) is not None
    )


def _dependencies() -> tuple[list[Requirement], list[Requirement]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime, dev = project["project"]["dependencies"], project["dependency-groups"]["dev"]
    return [Requirement(one) for one in runtime], [Requirement(one) for one in dev]


def test_every_dependency_has_a_line_that_says_why() -> None:
    runtime, dev = _dependencies()
    told = set(re.findall(r"`([\w-]+)`", (DOCS / "dependencies.md").read_text()))
    assert [one.name for one in (*runtime, *dev) if one.name not in told] == []


def test_every_dependency_is_locked_within_its_bounds() -> None:
    runtime, dev = _dependencies()
    for lock, wanted in (("requirements.lock", runtime), ("requirements-dev.lock", [*runtime, *dev])):
        pins = re.findall(r"^([\w-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE)
        for one in wanted:
            versions = [version for name, version in pins if name == one.name]
            assert versions, f"{one.name} is not in {lock}: run scripts/lock"
            assert all(one.specifier.contains(version) for version in versions), (
                f"{one} and {lock}: run scripts/lock"
            )


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_the_locks_name_no_place_to_install_from(lock: str) -> None:
    lines = [line for line in (ROOT / lock).read_text().splitlines() if not line.lstrip().startswith("#")]
    assert [line for line in lines if re.match(r"-|.*(://|@ )", line)] == []
