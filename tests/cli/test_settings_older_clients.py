"""Whoever comes from agent-relay 0.4 changes no setting: every name, older spelling and default of it is here.

The list below is that product's, written down on its own: nothing in it is taken from our tables.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import trio_relay
from trio_relay.core.approval import Approval
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
from trio_relay.sidecar.state_file import State
from trio_relay.sidecar.whoami import identify, wanted_thread

C = "AGENT_RELAY_CODEX_"
LIVE = "CODEX_LIVE_"


@dataclass(frozen=True)
class Row:
    """A variable: where we read it, what it is without being set (as text), and its older spelling."""

    name: str
    default: str | None
    field: str
    older: str | None = None


OF_AGENTS = [
    Row("AGENT_RELAY_URL", "http://127.0.0.1:4850", "relay_url"),
    Row("AGENT_RELAY_TOKEN", None, "token"),
    Row("AGENT_RELAY_PROFILE", None, "profile"),
    Row("AGENT_RELAY_PROFILES_FILE", None, "profiles_file"),
    Row("AGENT_RELAY_LABEL", None, "label"),
    Row("AGENT_RELAY_TAGS", None, "tags"),
    Row("AGENT_RELAY_CAPS", None, "capabilities"),
    Row("AGENT_RELAY_CHANNELS", None, "channels"),
    Row("AGENT_RELAY_APPROVAL", None, "approval"),
]
OF_THE_SIDECAR = [
    Row("CODEX_APP_SERVER_URL", "ws://127.0.0.1:4501", "app_server_url"),
    Row("CODEX_THREAD_MODE", "start", "thread_mode"),
    Row("CODEX_THREAD_ID", None, "thread_id"),
    Row("CODEX_MODEL", None, "model"),
    Row(C + "CWD", None, "cwd", LIVE + "CWD"),
    Row(C + "RIG", "codex-live", "rig", LIVE + "RIG"),
    Row(C + "STATE_PATH", None, "state_path", LIVE + "STATE_PATH"),
    Row(C + "POLL_INTERVAL_MS", "2000", "poll_interval", LIVE + "POLL_INTERVAL_MS"),
    Row(C + "HEARTBEAT_INTERVAL_MS", "30000", "heartbeat_interval", LIVE + "HEARTBEAT_INTERVAL_MS"),
    Row(C + "RELAY_BACKOFF_INITIAL_MS", "2000", "relay_backoff_initial", LIVE + "RELAY_BACKOFF_INITIAL_MS"),
    Row(C + "RELAY_BACKOFF_MAX_MS", "60000", "relay_backoff_max", LIVE + "RELAY_BACKOFF_MAX_MS"),
    Row(C + "COALESCE_WINDOW_MS", "600", "coalesce_window", LIVE + "COALESCE_WINDOW_MS"),
    Row(C + "RECONNECT_INITIAL_MS", "1000", "reconnect_initial", LIVE + "RECONNECT_INITIAL_MS"),
    Row(C + "RECONNECT_MAX_MS", "10000", "reconnect_max", LIVE + "RECONNECT_MAX_MS"),
    Row(C + "APPROVAL_POLICY", None, "approval_policy", LIVE + "APPROVAL_POLICY"),
    Row(C + "SANDBOX", None, "sandbox", LIVE + "SANDBOX"),
    Row(C + "HOOK_TIMEOUT_MS", "5000", "hook_timeout"),
    Row(C + "FALLBACK_THREAD_MODE", "start", "fallback_thread_mode"),
]
OF_THE_RELAY = [
    Row("HOST", "127.0.0.1", "host"),
    Row("PORT", "4850", "port"),
    Row("DB_PATH", None, "db_path"),
    Row("DATABASE_URL", None, "database_url"),
    Row("STALE_TTL_MS", "120000", "stale_ttl"),
    Row("OFFLINE_PRUNE_MS", "86400000", "offline_prune"),
    Row("REAP_INTERVAL_MS", "60000", "reap_interval"),
    Row("RETENTION_DAYS", "30", "retention_days"),
    Row("AGENT_RELAY_TOKEN", None, "token"),
    Row("AGENT_RELAY_CORS_ORIGINS", None, "cors_origins"),
    Row("AGENT_RELAY_ALLOW_UNAUTH", None, "allow_unauth"),
    Row("AGENT_RELAY_INTEGRATIONS", None, "integrations"),
    Row("AGENT_RELAY_INTEGRATION_RATE_LIMIT_PER_MINUTE", "120", "integration_rate_limit"),
]
EVERY: list[tuple[tuple[Setting, ...], Any, Row]] = [
    *((AGENT, AgentSettings, row) for row in OF_AGENTS),
    *((SIDECAR, SidecarSettings, row) for row in OF_THE_SIDECAR),
    *((SERVER, ServerSettings, row) for row in OF_THE_RELAY),
]
NUMBERS = [(table, row) for table, _, row in EVERY if row.default is not None and row.default.isdecimal()]


def named(value: object) -> str:
    return value.name if isinstance(value, Row) else ""


@pytest.mark.parametrize(("table", "kind", "row"), EVERY, ids=named)
def test_the_variable_is_read_and_has_its_default(table: tuple[Setting, ...], kind: Any, row: Row) -> None:
    unset = getattr(kind(), row.field)
    if row.default is None:
        assert unset in (None, (), False)
    else:
        values, warnings = read_settings(table, {row.name: row.default})
        assert (values, warnings) == ({row.field: unset}, [])


@pytest.mark.parametrize("row", [row for row in OF_THE_SIDECAR if row.older], ids=named)
def test_the_older_spelling_is_read_when_the_new_one_is_unset(row: Row) -> None:
    assert row.older is not None
    old, new = ("7000", "8000") if row.name.endswith("_MS") else ("old", "new")
    seconds = {"7000": 7.0, "8000": 8.0}
    assert read_settings(SIDECAR, {row.older: old}) == ({row.field: seconds.get(old, old)}, [])
    assert read_settings(SIDECAR, {row.older: old, row.name: ""}) == ({row.field: seconds.get(old, old)}, [])
    assert read_settings(SIDECAR, {row.older: old, row.name: new}) == ({row.field: seconds.get(new, new)}, [])


@pytest.mark.parametrize(("table", "row"), NUMBERS, ids=named)
@pytest.mark.parametrize("text", ["-1", "nan", "inf", "1e999", "many"])
def test_a_number_that_is_not_positive_and_finite_is_the_default_with_a_warning(
    table: tuple[Setting, ...], row: Row, text: str
) -> None:
    values, [warning] = read_settings(table, {row.name: text})
    assert values == {}
    assert warning.message.startswith(f"{row.name} is not usable (expected a ")
    assert warning.message.endswith(f"using {row.default}")


@pytest.mark.parametrize("text", ["a, b,,a , c", "a,b,c"])
def test_lists_are_separated_by_commas(text: str) -> None:
    for name, field in (("TAGS", "tags"), ("CAPS", "capabilities"), ("CHANNELS", "channels")):
        assert read_settings(AGENT, {f"AGENT_RELAY_{name}": text}) == ({field: ("a", "b", "c")}, [])


@pytest.mark.parametrize(
    ("mode", "taken_up"),
    [("start", None), ("resume", "given"), ("auto", "given"), ("Resume!", None), ("", None)],
)
def test_any_other_thread_mode_means_start(mode: str, taken_up: str | None) -> None:
    values, _ = read_settings(SIDECAR, {"CODEX_THREAD_MODE": mode, "CODEX_THREAD_ID": "given"})
    assert wanted_thread(SidecarSettings(**values), State()) == taken_up


def test_without_any_setting_an_agent_chats_hears_all_and_is_open() -> None:
    me = identify(AgentSettings(), SidecarSettings(), State(), host="box", cwd="/shop", instance_id="i")
    assert me.resolved.capabilities == ("chat",)
    assert me.resolved.channels == ()
    assert me.approval is Approval.OPEN


def test_a_setting_has_an_effect_or_says_that_it_has_none() -> None:
    source = Path(trio_relay.__file__).parent
    tables = {source / "settings" / f"{name}.py" for name in ("agent", "server", "sidecar", "table")}
    code = "".join(file.read_text() for file in source.rglob("*.py") if file not in tables)
    for row in (*AGENT, *SERVER, *SIDECAR):
        used = re.search(rf"\.{row.field}\b", code) is not None
        assert used != ("without effect" in row.help), row.env
