"""Every setting, once: its environment variable, default and meaning.

The environment is read in ``cli/`` only; below it these frozen values travel. ``SETTINGS`` is the single table: the
CLI reads it, the docs check holds ``docs/settings.md`` against it. Durations are milliseconds in the environment
(the reference product's convention) and seconds (float) in Python.

Longer than a file here should be, because the table is one table.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trio_relay.core.integrations import VARIABLE, Integration, parse_integrations


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table. `older` are spellings read when the newer one is unset."""

    env: str
    field: str
    default: Any
    parse: Callable[[str], Any]
    help: str
    older: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Warned:
    """A value that could not be used: which variable, and what is used instead. Never the value of a secret."""

    env: str
    message: str


def milliseconds(text: str) -> float:
    """Seconds from a positive finite number of milliseconds."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError("a positive number of milliseconds")
    return value / 1000


def positive_int(text: str) -> int:
    """Parse a positive integer."""
    value = int(text)
    if value <= 0:
        raise ValueError("a positive whole number")
    return value


def port(text: str) -> int:
    """Parse a TCP port; 0 lets the system choose."""
    value = int(text)
    if not 0 <= value <= 65535:
        raise ValueError("a port from 0 to 65535")
    return value


def flag(text: str) -> bool:
    """Parse 1/0, true/false, yes/no, on/off."""
    lowered = text.strip().lower()
    if lowered in {"1", "true", "yes", "on"}:
        return True
    if lowered in {"0", "false", "no", "off", ""}:
        return False
    raise ValueError("1 or 0")


def comma_list(text: str) -> tuple[str, ...]:
    """Trimmed, de-duplicated, in order."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def one_of(*choices: str) -> Callable[[str], str]:
    """Parse one of a few words."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(" | ".join(choices))
        return text

    return parse


SERVER = (
    Setting("HOST", "host", "127.0.0.1", str, "address to bind"),
    Setting("PORT", "port", 4850, port, "port to bind; 0 picks a free one"),
    Setting("DB_PATH", "db_path", None, str, "SQLite file; default: relay.db in the user's data directory"),
    Setting("STALE_TTL_MS", "stale_ttl", 120.0, milliseconds, "silence after which an agent is offline"),
    Setting(
        "OFFLINE_PRUNE_MS",
        "offline_prune",
        86_400.0,
        milliseconds,
        "time offline after which an agent is removed",
    ),
    Setting("REAP_INTERVAL_MS", "reap_interval", 60.0, milliseconds, "pause between housekeeping rounds"),
    Setting("RETENTION_DAYS", "retention_days", 30, positive_int, "days a settled message is kept"),
    Setting("AGENT_RELAY_TOKEN", "token", None, str, "shared token; unset: open, on loopback only"),
    Setting(
        "AGENT_RELAY_ALLOW_UNAUTH",
        "allow_unauth",
        False,
        flag,
        "1: allow a non-loopback bind without a token",
    ),
    Setting(
        "AGENT_RELAY_CORS_ORIGINS",
        "cors_origins",
        (),
        comma_list,
        "browser origins allowed besides our own; * for all",
    ),
    Setting(
        "AGENT_RELAY_MAX_BODY_BYTES",
        "max_body",
        1_048_576,
        positive_int,
        "largest request body accepted, bytes",
    ),
    Setting(
        "AGENT_RELAY_MAX_ATTEMPTS",
        "max_attempts",
        5,
        positive_int,
        "hand-offs without completion before a message is dead",
    ),
    Setting(
        "AGENT_RELAY_MAX_HOPS",
        "max_hops",
        24,
        positive_int,
        "answers without a person before a thread is parked",
    ),
    Setting(
        "AGENT_RELAY_MAX_CYCLES",
        "max_cycles",
        8,
        positive_int,
        "rounds of the same speakers before a thread is parked",
    ),
    Setting(
        "AGENT_RELAY_THREAD_RATE_PER_MINUTE",
        "thread_rate",
        60,
        positive_int,
        "messages of programs a minute before a thread is parked",
    ),
    Setting(
        "AGENT_RELAY_CLAIM_TTL_MS", "claim_ttl", 90.0, milliseconds, "how long a claim lasts without renewal"
    ),
    Setting(
        "AGENT_RELAY_EVENT_LOG_HOURS",
        "event_log_hours",
        24,
        positive_int,
        "how long an event stream can be resumed, hours",
    ),
    Setting(
        "AGENT_RELAY_EVENT_LOG_MAX",
        "event_log_max",
        1_000_000,
        positive_int,
        "events kept for resuming, at most",
    ),
    Setting(
        "AGENT_RELAY_PAIR_INVITE_TTL_MS",
        "pair_invite_ttl",
        300.0,
        milliseconds,
        "how long an invitation to pair waits for an answer",
    ),
    Setting(
        VARIABLE,
        "integrations",
        (),
        parse_integrations,
        "programs that may post events: a JSON list, see api.md; a mistake in it stops the start",
    ),
    Setting(
        "AGENT_RELAY_INTEGRATION_RATE_LIMIT_PER_MINUTE",
        "integration_rate_limit",
        120,
        positive_int,
        "events an integration may post in any minute",
    ),
)

AGENT = (
    Setting("AGENT_RELAY_URL", "relay_url", "http://127.0.0.1:4850", str, "the relay"),
    Setting("AGENT_RELAY_TOKEN", "token", None, str, "sent as X-Agent-Relay-Token"),
    Setting("AGENT_RELAY_PROFILE", "profile", None, str, "name of the profile to use"),
    Setting(
        "AGENT_RELAY_PROFILES_FILE",
        "profiles_file",
        None,
        str,
        "profiles; default ~/.config/agent-relay/profiles.json",
    ),
    Setting("AGENT_RELAY_LABEL", "label", None, str, "label of this agent"),
    Setting("AGENT_RELAY_TAGS", "tags", (), comma_list, "tags, comma separated"),
    Setting(
        "AGENT_RELAY_CAPS", "capabilities", (), comma_list, "capabilities, comma separated; default chat"
    ),
    Setting(
        "AGENT_RELAY_CHANNELS",
        "channels",
        (),
        comma_list,
        "channels to listen to, comma separated; default all",
    ),
    Setting("AGENT_RELAY_APPROVAL", "approval", None, str, "open | guarded | read-only; default open"),
)

_CODEX = "AGENT_RELAY_CODEX_"
_OLD = "CODEX_LIVE_"
SIDECAR = (
    Setting(
        "CODEX_APP_SERVER_URL",
        "app_server_url",
        "ws://127.0.0.1:4501",
        str,
        "the app-server: ws://HOST:PORT or unix:///PATH",
    ),
    Setting(
        "CODEX_APP_SERVER_TOKEN_FILE",
        "app_server_token_file",
        None,
        str,
        "file holding the app-server's bearer token",
    ),
    Setting(
        "CODEX_THREAD_MODE", "thread_mode", "start", str, "start | resume | auto; anything else means start"
    ),
    Setting("CODEX_THREAD_ID", "thread_id", None, str, "the thread to resume"),
    Setting("CODEX_MODEL", "model", None, str, "model for a thread the sidecar starts"),
    Setting(_CODEX + "CWD", "cwd", None, str, "working directory; default: the current one", (_OLD + "CWD",)),
    Setting(_CODEX + "RIG", "rig", "codex-live", str, "the rig part of the agent id", (_OLD + "RIG",)),
    Setting(
        _CODEX + "STATE_PATH",
        "state_path",
        None,
        str,
        "state file; default under the user's state directory",
        (_OLD + "STATE_PATH",),
    ),
    Setting(
        _CODEX + "POLL_INTERVAL_MS",
        "poll_interval",
        2.0,
        milliseconds,
        "pause between polls where long poll is not available",
        (_OLD + "POLL_INTERVAL_MS",),
    ),
    Setting(
        _CODEX + "HEARTBEAT_INTERVAL_MS",
        "heartbeat_interval",
        30.0,
        milliseconds,
        "pause between heartbeats and claim renewals",
        (_OLD + "HEARTBEAT_INTERVAL_MS",),
    ),
    Setting(
        _CODEX + "RELAY_BACKOFF_INITIAL_MS",
        "relay_backoff_initial",
        2.0,
        milliseconds,
        "first pause after a relay error",
        (_OLD + "RELAY_BACKOFF_INITIAL_MS",),
    ),
    Setting(
        _CODEX + "RELAY_BACKOFF_MAX_MS",
        "relay_backoff_max",
        60.0,
        milliseconds,
        "longest pause after relay errors",
        (_OLD + "RELAY_BACKOFF_MAX_MS",),
    ),
    Setting(
        _CODEX + "COALESCE_WINDOW_MS",
        "coalesce_window",
        0.6,
        milliseconds,
        "longest wait for a burst to become one turn",
        (_OLD + "COALESCE_WINDOW_MS",),
    ),
    Setting(
        _CODEX + "RECONNECT_INITIAL_MS",
        "reconnect_initial",
        1.0,
        milliseconds,
        "first pause before reconnecting to the app-server",
        (_OLD + "RECONNECT_INITIAL_MS",),
    ),
    Setting(
        _CODEX + "RECONNECT_MAX_MS",
        "reconnect_max",
        10.0,
        milliseconds,
        "longest pause before reconnecting to the app-server",
        (_OLD + "RECONNECT_MAX_MS",),
    ),
    Setting(
        _CODEX + "APPROVAL_POLICY",
        "approval_policy",
        None,
        str,
        "approval policy for a thread the sidecar starts or resumes",
        (_OLD + "APPROVAL_POLICY",),
    ),
    Setting(
        _CODEX + "SANDBOX",
        "sandbox",
        None,
        str,
        "sandbox for a thread the sidecar starts or resumes",
        (_OLD + "SANDBOX",),
    ),
    Setting(
        _CODEX + "HOOK_TIMEOUT_MS",
        "hook_timeout",
        5.0,
        milliseconds,
        "how long the launcher waits for the SessionStart hook",
    ),
    Setting(
        _CODEX + "FALLBACK_THREAD_MODE",
        "fallback_thread_mode",
        "start",
        str,
        "thread mode when the hook does not report",
    ),
    Setting(
        _CODEX + "AUTO_REPLY",
        "auto_reply",
        "final",
        one_of("final", "off"),
        "final: post a turn's final message as the reply; off: never",
    ),
)

SETTINGS = (*SERVER, *AGENT, *SIDECAR)


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What `trio-relay serve` runs with. Durations in seconds, sizes in bytes."""

    host: str = "127.0.0.1"
    port: int = 4850
    db_path: str | None = None
    stale_ttl: float = 120.0
    offline_prune: float = 86_400.0
    reap_interval: float = 60.0
    retention_days: int = 30
    token: str | None = None
    allow_unauth: bool = False
    cors_origins: tuple[str, ...] = ()
    max_body: int = 1_048_576
    claim_ttl: float = 90.0
    max_attempts: int = 5
    max_hops: int = 24
    max_cycles: int = 8
    thread_rate: int = 60
    event_log_hours: int = 24
    event_log_max: int = 1_000_000
    pair_invite_ttl: float = 300.0
    integrations: tuple[Integration, ...] = ()
    integration_rate_limit: int = 120


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Who this agent is and where its relay is."""

    relay_url: str = "http://127.0.0.1:4850"
    token: str | None = None
    profile: str | None = None
    profiles_file: str | None = None
    label: str | None = None
    tags: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    approval: str | None = None


@dataclass(frozen=True, slots=True)
class SidecarSettings:
    """What the Codex sidecar and its launcher run with. Durations in seconds."""

    app_server_url: str = "ws://127.0.0.1:4501"
    app_server_token_file: str | None = None
    thread_mode: str = "start"
    thread_id: str | None = None
    model: str | None = None
    cwd: str | None = None
    rig: str = "codex-live"
    state_path: str | None = None
    poll_interval: float = 2.0
    heartbeat_interval: float = 30.0
    relay_backoff_initial: float = 2.0
    relay_backoff_max: float = 60.0
    coalesce_window: float = 0.6
    reconnect_initial: float = 1.0
    reconnect_max: float = 10.0
    approval_policy: str | None = None
    sandbox: str | None = None
    hook_timeout: float = 5.0
    fallback_thread_mode: str = "start"
    auto_reply: str = "final"


def read_settings(
    table: tuple[Setting, ...], environ: Mapping[str, str]
) -> tuple[dict[str, Any], list[Warned]]:
    """Field values for the settings named in `environ`, and a warning for each that could not be used.

    An unusable value falls back to the default: an agent starts with what it has. Empty values count as unset.
    """
    values: dict[str, Any] = {}
    warnings: list[Warned] = []
    for row in table:
        name = next((n for n in (row.env, *row.older) if environ.get(n)), None)
        if name is None:
            continue
        try:
            values[row.field] = row.parse(environ[name])
        except ValueError as error:
            expected = str(error) if row.parse not in (int, float) else "a number"
            if "convert" in expected or "invalid literal" in expected:
                expected = "a number"
            used = f"{row.default * 1000:g}" if row.parse is milliseconds else row.default
            warnings.append(Warned(name, f"{name} is not usable (expected {expected}); using {used}"))
    return values, warnings
