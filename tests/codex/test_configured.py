"""Which sandbox a TUI begins in by itself, as far as the configuration tells."""

from pathlib import Path
from typing import Any

import pytest

from trio_relay.codex.configured import own_sandbox

TRUSTED = {"trust_level": "trusted"}


def test_a_trusted_folder_is_worked_in(tmp_path: Path) -> None:
    assert own_sandbox({"projects": {str(tmp_path): TRUSTED}}, tmp_path) == "workspace-write"


def test_a_folder_is_trusted_with_its_repository_and_not_with_what_surrounds_it(tmp_path: Path) -> None:
    inside = tmp_path / "repository" / "src"
    inside.mkdir(parents=True)
    config = {"projects": {str(tmp_path / "repository"): TRUSTED, str(tmp_path): TRUSTED}}
    assert own_sandbox(config, inside) is None
    (tmp_path / "repository" / ".git").mkdir()
    assert own_sandbox(config, inside) == "workspace-write"


def test_a_link_to_a_trusted_folder_is_trusted(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    config = {"projects": {str(tmp_path.resolve() / "real"): TRUSTED}}
    assert own_sandbox(config, tmp_path / "link") == "workspace-write"


def test_the_configured_sandbox_counts(tmp_path: Path) -> None:
    config = {"projects": {str(tmp_path): TRUSTED}, "sandbox_mode": "read-only"}
    assert own_sandbox(config, tmp_path) == "read-only"


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"projects": None},
        {"projects": {"HERE": {"trust_level": "untrusted"}}},
        {"projects": {"HERE": None}},
        {"projects": {"HERE": TRUSTED}, "default_permissions": ":read-only"},
        {"projects": {"HERE": TRUSTED}, "sandbox_mode": ["?"]},
    ],
)
def test_what_cannot_be_told_is_not_guessed(tmp_path: Path, config: dict[str, Any]) -> None:
    projects = config.get("projects")
    if isinstance(projects, dict):
        config = config | {"projects": {str(tmp_path): level for level in projects.values()}}
    assert own_sandbox(config, tmp_path) is None
