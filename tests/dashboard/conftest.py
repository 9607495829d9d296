"""One relay and one browser a file."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from support.browser import Api, Visitor, open_browser, visitor
from support.commands import ServingRelay, clean_environment, serving_relay


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingRelay]:
    """An open relay with a database of its own."""
    home: Path = tmp_path_factory.mktemp("relay")
    with serving_relay("--db", str(home / "relay.db"), env=clean_environment(home), cwd=home) as serving:
        yield serving


@pytest.fixture(scope="module")
def api(relay: ServingRelay) -> Iterator[Api]:
    opened = Api(relay.url)
    yield opened
    opened.close()


@pytest.fixture
def anna(browser: Browser, relay: ServingRelay) -> Iterator[Visitor]:
    """Anna, who has come in and looks at the overview."""
    with visitor(browser, relay.url) as person:
        person.go("/")
        person.come_in("anna")
        person.wait_until_live()
        yield person
