"""Two parts of other versions: who is told to upgrade which."""

import pytest

from trio_relay.core.versions import UPGRADE, difference


@pytest.mark.parametrize("relay", [None, "1.2.3"])
def test_of_one_version_nothing_is_said(relay: str | None) -> None:
    assert difference(relay, "1.2.3") is None


@pytest.mark.parametrize(
    ("relay", "here"), [("1.2.3", "1.3.0"), ("1.9.0", "1.10.0"), ("0.9", "1.0"), ("1.0", "1.0.1")]
)
def test_the_older_of_two_is_to_be_upgraded(relay: str, here: str) -> None:
    behind = difference(relay, here)
    assert behind is not None
    assert behind.startswith(f"the relay is {relay}, this is {here}: upgrade it where it runs")
    assert "`trio-relay daemon restart`" in behind
    assert difference(here, relay) == f"the relay is {here}, this is {relay}: {UPGRADE} here"


@pytest.mark.parametrize("strange", ["", "dev", "1.0+local"])
def test_whatever_the_relay_says_it_is_said(strange: str) -> None:
    assert f"the relay is {strange}, this is 1.0" in (difference(strange, "1.0") or "")
