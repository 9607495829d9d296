"""What `trio-relay serve` can be told."""

from dataclasses import dataclass

from trio_relay.core.integrations import VARIABLE, Integration, parse_integrations
from trio_relay.errors import Invalid
from trio_relay.settings.table import Setting, comma_list, flag, milliseconds, one_of, port, positive_int


def postgres_url(text: str) -> str:
    """Parse the URL of a PostgreSQL database.

    Raises:
        Invalid: it is none. Falling back to a file would begin an empty room (``bad_database_url``).

    """
    if not text.startswith(("postgresql://", "postgres://")):
        raise Invalid(
            "the database URL is not usable (expected postgresql://USER@HOST/NAME; for a file of SQLite there is DB_PATH)",
            code="bad_database_url",
        )
    return text


def connections(text: str) -> int:
    """Parse a number of connections: one to write with and one to read with, at least."""
    value = int(text)
    if value < 2:
        raise ValueError("a whole number from 2 on")
    return value


SERVER = (
    Setting("HOST", "host", "127.0.0.1", str, "address to bind"),
    Setting("PORT", "port", 4850, port, "port to bind; 0 picks a free one"),
    Setting("DB_PATH", "db_path", None, str, "SQLite file; default: relay.db in the user's data directory"),
    Setting(
        "DATABASE_URL",
        "database_url",
        None,
        postgres_url,
        "PostgreSQL, `postgresql://…`, for one or several relays; wins over DB_PATH; anything else stops the start",
    ),
    Setting(
        "AGENT_RELAY_DATABASE_CONNECTIONS",
        "database_connections",
        8,
        connections,
        "connections to PostgreSQL, besides one for what the nodes tell each other; at least 2",
    ),
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
        "programs that may post events: a JSON list, or `@FILE` that holds one, see api.md; a mistake in it stops the start",
    ),
    Setting(
        "AGENT_RELAY_INTEGRATION_RATE_LIMIT_PER_MINUTE",
        "integration_rate_limit",
        120,
        positive_int,
        "events an integration may post in any minute",
    ),
    Setting(
        "AGENT_RELAY_LOG_FORMAT",
        "log_format",
        None,
        one_of("console", "logfmt", "json"),
        "how the relay's log lines look: `console`, `logfmt`, `json`; default: console on a terminal, else logfmt",
    ),
    Setting(
        "AGENT_RELAY_LOG_LEVEL",
        "log_level",
        "info",
        one_of("debug", "info", "warning", "error"),
        "the least that is logged: `debug`, `info`, `warning`, `error`",
    ),
)


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What `trio-relay serve` runs with. Durations in seconds, sizes in bytes."""

    host: str = "127.0.0.1"
    port: int = 4850
    db_path: str | None = None
    database_url: str | None = None
    database_connections: int = 8
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
    log_format: str | None = None
    log_level: str = "info"
