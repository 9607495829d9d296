"""Settings: one table, read from the environment, with a warning for what cannot be used."""

from dataclasses import fields
from typing import Any

import pytest

from trio_relay.errors import Invalid
from trio_relay.settings import (
    AGENT,
    SERVER,
    SIDECAR,
    AgentSettings,
    ServerSettings,
    Setting,
    SidecarSettings,
    read_settings,
)

TABLES: list[tuple[tuple[Setting, ...], type[Any]]] = [
    (SERVER, ServerSettings),
    (AGENT, AgentSettings),
    (SIDECAR, SidecarSettings),
]


@pytest.mark.parametrize(("table", "kind"), TABLES)
def test_the_table_and_the_settings_class_agree(table: tuple[Setting, ...], kind: type[Any]) -> None:
    assert {row.field: row.default for row in table} == {field.name: field.default for field in fields(kind)}
    assert len({name for row in table for name in (row.env, *row.older)}) == sum(
        1 + len(row.older) for row in table
    )


@pytest.mark.parametrize(("table", "kind"), TABLES)
def test_an_empty_environment_gives_the_defaults(table: tuple[Setting, ...], kind: type[Any]) -> None:
    values, warnings = read_settings(table, {})
    assert (kind(**values), warnings) == (kind(), [])


def test_durations_are_milliseconds_outside_and_seconds_inside() -> None:
    values, warnings = read_settings(SERVER, {"STALE_TTL_MS": "1500", "RETENTION_DAYS": "7"})
    assert (values, warnings) == ({"stale_ttl": 1.5, "retention_days": 7}, [])


@pytest.mark.parametrize("text", ["abc", "0", "-1", "nan", "inf", "1e999", "12 s"])
def test_a_duration_that_cannot_be_meant_falls_back_with_a_warning(text: str) -> None:
    values, warnings = read_settings(SERVER, {"STALE_TTL_MS": text})
    assert values == {}
    [warning] = warnings
    assert warning.env == "STALE_TTL_MS"
    assert warning.message.startswith("STALE_TTL_MS is not usable (expected a ")
    assert warning.message.endswith("using 120000")


@pytest.mark.parametrize(
    ("name", "text"),
    [("PORT", "65536"), ("PORT", "-1"), ("RETENTION_DAYS", "0"), ("RETENTION_DAYS", "1.5")],
)
def test_numbers_out_of_range_fall_back(name: str, text: str) -> None:
    values, warnings = read_settings(SERVER, {name: text})
    assert (values, [warning.env for warning in warnings]) == ({}, [name])


def test_an_older_spelling_is_read_when_the_newer_one_is_unset() -> None:
    old, new = "CODEX_LIVE_RIG", "AGENT_RELAY_CODEX_RIG"
    assert read_settings(SIDECAR, {old: "a"}) == ({"rig": "a"}, [])
    assert read_settings(SIDECAR, {old: "a", new: "b"}) == ({"rig": "b"}, [])
    assert read_settings(SIDECAR, {old: "a", new: ""}) == ({"rig": "a"}, [])


def test_a_warning_names_the_spelling_that_was_used() -> None:
    _, [warning] = read_settings(SIDECAR, {"CODEX_LIVE_POLL_INTERVAL_MS": "never"})
    assert warning.message.startswith("CODEX_LIVE_POLL_INTERVAL_MS is not usable")


def test_an_empty_value_counts_as_unset() -> None:
    assert read_settings(AGENT, {"AGENT_RELAY_URL": "", "AGENT_RELAY_TAGS": ""}) == ({}, [])


def test_lists_are_trimmed_and_without_repetition() -> None:
    values, _ = read_settings(AGENT, {"AGENT_RELAY_TAGS": " a, b,,a ,c"})
    assert values == {"tags": ("a", "b", "c")}


@pytest.mark.parametrize(("text", "meant"), [("1", True), ("TRUE", True), ("off", False), ("0", False)])
def test_flags(text: str, meant: bool) -> None:
    assert read_settings(SERVER, {"AGENT_RELAY_ALLOW_UNAUTH": text}) == ({"allow_unauth": meant}, [])


def test_a_flag_that_cannot_be_meant_stays_off() -> None:
    values, [warning] = read_settings(SERVER, {"AGENT_RELAY_ALLOW_UNAUTH": "perhaps"})
    assert (values, "perhaps" in warning.message) == ({}, False)


def test_no_warning_shows_the_value() -> None:
    for table, _ in TABLES:
        rows = [row for row in table if row.env not in {"AGENT_RELAY_INTEGRATIONS", "DATABASE_URL"}]
        everything = {name: "s3cret" for row in rows for name in (row.env, *row.older)}
        _, warnings = read_settings(table, everything)
        assert not [warning for warning in warnings if "s3cret" in warning.message]


def test_integrations_that_cannot_be_meant_stop_the_start_without_showing_their_tokens() -> None:
    with pytest.raises(Invalid) as caught:
        read_settings(SERVER, {"AGENT_RELAY_INTEGRATIONS": '[{"name": "ci", "token": "s3cret", '})
    assert "s3cret" not in str(caught.value)
