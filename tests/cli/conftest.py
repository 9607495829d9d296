"""A relay in a process of its own, shared by the tests of one module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.commands import ServingRelay, clean_environment, serving_relay


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingRelay]:
    """A relay to call."""
    home: Path = tmp_path_factory.mktemp("relay")
    with serving_relay(env=clean_environment(home), cwd=home) as serving:
        yield serving


@pytest.fixture
def env(relay: ServingRelay) -> dict[str, str]:
    """Settings that name it."""
    return {"AGENT_RELAY_URL": relay.url}
