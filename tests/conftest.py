"""Fixtures every tier uses."""

import gc
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import structlog
import trio
from hypothesis import settings
from trio.abc import Clock, Instrument
from trio.testing import MockClock

from support.postgres import PostgresDatabases, databases_for_tests
from support.relay import Room, open_room
from trio_relay.store.postgres import prepare

# Everything that is collected lives to the end: without this a quarter of the time goes into looking for garbage there.
gc.disable()

# How long an example takes says nothing: other work shares the machine.
settings.register_profile("trio-relay", deadline=None)
settings.load_profile("trio-relay")


#: More virtual seconds than any test lets pass.
A_LONG_TIME = 100 * 86_400


@pytest.fixture(scope="session")
def postgres_with_schema(postgres: PostgresDatabases) -> Iterator[str]:
    """The name of a database with the schema and nothing in it, to make others of."""
    with postgres.database() as url:
        name = urlsplit(url).path.removeprefix("/")
        prepare(url, name)
        yield name


@pytest.fixture
def room_url(postgres: PostgresDatabases, postgres_with_schema: str) -> Iterator[str]:
    """The URL of a database of the test's own that has the schema."""
    with postgres.database(template=postgres_with_schema) as url:
        yield url


@pytest.fixture
def engine() -> str:
    """What the store of `room` is on, ``sqlite`` or ``postgres``: as the environment says, or a test's parameters."""
    return os.environ.get("TRIO_RELAY_TEST_ENGINE", "sqlite")


@pytest.fixture
def database(request: pytest.FixtureRequest, engine: str) -> str | None:
    """The URL of the database of `room`; None: a file."""
    url: str | None = request.getfixturevalue("room_url") if engine == "postgres" else None
    return url


@pytest.fixture
async def room(tmp_path: Path, database: str | None) -> AsyncIterator[Room]:
    """A relay in this process. Every test that uses it runs in virtual time."""
    async with open_room(tmp_path, database=database) as opened:
        yield opened


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresDatabases]:
    """A PostgreSQL, the same for all tests that ask for it; nobody stops it (`support.postgres.private_server`)."""
    with databases_for_tests() as databases:
        yield databases


@pytest.fixture
def postgres_url(postgres: PostgresDatabases) -> Iterator[str]:
    """The URL of an empty database of the test's own."""
    with postgres.database() as url:
        yield url


def run_in_virtual_time(
    main: Callable[[], Awaitable[Any]],
    *,
    clock: Clock | None = None,
    instruments: Sequence[Instrument] = (),
) -> Any:
    """Run a test with a clock that jumps whenever everybody waits; if for ever, the test fails at once.

    Waiting for a thread looks like waiting for ever: what needs one is no test for virtual time.
    """

    async def bounded() -> Any:
        with trio.fail_after(A_LONG_TIME):
            return await main()

    return trio.run(bounded, clock=clock or MockClock(autojump_threshold=0), instruments=instruments)


def pytest_collection_finish(session: pytest.Session) -> None:
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    gc.enable()


#: Whole programs first: what takes a minute must not begin when the other workers have nothing left to do.
FIRST = ("system", "e2e", "claude", "codex", "docs", "cli", "wheel", "store", "sidecar")


def _turn(item: pytest.Item) -> int:
    room = item.path.parent.name
    return FIRST.index(room) if room in FIRST else len(FIRST)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_turn)
    # pytest-trio looks for a clock among the arguments of the test itself, not of its fixtures: without this, a test
    # that asks for the room and forgets the clock would quietly run in real time.
    for item in items:
        if "room" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.trio(run=run_in_virtual_time))


@pytest.fixture(autouse=True)
def _logs_go_where_they_went() -> Iterator[None]:
    """A command that sets up logging for its process does not do so for the next test."""
    ours = logging.getLogger("trio_relay")
    handlers, propagate = ours.handlers[:], ours.propagate
    yield
    structlog.reset_defaults()
    ours.handlers[:], ours.propagate = handlers, propagate
