"""What users' own tests are given."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

CONFTEST = 'pytest_plugins = ["trio_relay.testing.pytest"]\n'
TESTS = """
import asyncio
import trio
from trio_relay.client import connect
from trio_relay.client.sync import connect as connect_sync

def test_synchronous(relay_server):
    with connect_sync(relay_server.url) as relay, relay.agent("ann") as ann:
        ann.send("ann2", "hi", allow_unknown=True)

def test_asyncio(relay_server):
    async def main():
        async with connect(relay_server.url) as relay, relay.agent("bob"):
            assert [agent.id for agent in await relay.agents()] == ["bob"]
    asyncio.run(main())

async def test_an_hour(relay_inside, autojump_clock):
    async with relay_inside.connect() as relay, relay.agent("cid"):
        await trio.sleep(600)
        assert (await relay.client.agent("cid")).status == "idle"
"""


def test_the_fixtures_serve_every_kind_of_test(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeini("[pytest]\ntrio_mode = true\nfilterwarnings = error\n")
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(TESTS)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    result = pytester.runpytest_subprocess("-p", "pytest_trio.plugin", "-p", "no:cacheprovider", "-q")
    result.assert_outcomes(passed=3)


def test_the_package_needs_nothing_of_development() -> None:
    sources = Path(__file__).parents[2] / "src" / "trio_relay" / "testing"
    importing = [path.name for path in sources.glob("*.py") if "import pytest" in path.read_text()]
    assert importing == ["pytest.py"]
