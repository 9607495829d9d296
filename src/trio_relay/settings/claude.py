"""What the keeper of a Claude Code session can be told."""

from dataclasses import dataclass

from trio_relay.settings.table import Setting, milliseconds, one_of

_CLAUDE = "AGENT_RELAY_CLAUDE_"
CLAUDE = (
    Setting(_CLAUDE + "RIG", "rig", "claude-live", str, "the rig part of the agent id"),
    Setting(
        _CLAUDE + "HEARTBEAT_INTERVAL_MS",
        "heartbeat_interval",
        30.0,
        milliseconds,
        "pause between heartbeats and claim renewals",
    ),
    Setting(
        _CLAUDE + "RELAY_BACKOFF_INITIAL_MS",
        "relay_backoff_initial",
        2.0,
        milliseconds,
        "first pause after a relay error",
    ),
    Setting(
        _CLAUDE + "RELAY_BACKOFF_MAX_MS",
        "relay_backoff_max",
        60.0,
        milliseconds,
        "longest pause after relay errors",
    ),
    Setting(
        _CLAUDE + "COALESCE_WINDOW_MS",
        "coalesce_window",
        0.25,
        milliseconds,
        "how long a burst gathers before it is announced",
    ),
    Setting(
        _CLAUDE + "DIGEST_WINDOW_MS",
        "digest_window",
        60.0,
        milliseconds,
        "how long digests gather before they are announced to an idle session",
    ),
    Setting(
        _CLAUDE + "APPROVALS",
        "approvals",
        "auto",
        one_of("auto", "on", "off"),
        "whether what Claude Code asks its person is also asked through the relay; auto: in approval mode guarded",
    ),
)


@dataclass(frozen=True, slots=True)
class ClaudeSettings:
    """What the keeper of a Claude Code session runs with. Durations in seconds."""

    rig: str = "claude-live"
    heartbeat_interval: float = 30.0
    relay_backoff_initial: float = 2.0
    relay_backoff_max: float = 60.0
    coalesce_window: float = 0.25
    digest_window: float = 60.0
    approvals: str = "auto"
