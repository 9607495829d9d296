"""What the Codex sidecar and its launcher can be told."""

from dataclasses import dataclass

from trio_relay.settings.table import Setting, milliseconds, one_of, positive_int

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
    Setting(
        _CODEX + "FOLLOW",
        "follow",
        "off",
        one_of("off", "person", "here"),
        "whether the agent moves to the thread the person opens: off | person | here (only threads of its directory)",
    ),
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
        _CODEX + "DIGEST_WINDOW_MS",
        "digest_window",
        60.0,
        milliseconds,
        "how long digests gather; also the shortest pause between two turns begun for them",
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
        "how long the SessionStart hook waits for the relay",
    ),
    Setting(
        _CODEX + "FALLBACK_THREAD_MODE",
        "fallback_thread_mode",
        "start",
        str,
        "read for older set-ups, without effect: the thread is found without the hook",
    ),
    Setting(
        _CODEX + "AUTO_REPLY",
        "auto_reply",
        "final",
        one_of("final", "off"),
        "final: post a turn's final message as the reply; off: never",
    ),
    Setting(
        _CODEX + "TOOLS",
        "tools",
        "off",
        one_of("on", "off"),
        "on: the model has the relay's tools (`codex-relay` gives them and sets this)",
    ),
    Setting(
        _CODEX + "TOKEN_ID",
        "token_id",
        None,
        positive_int,
        "the token the tools use, to be bound to this agent (set by `codex-relay`)",
    ),
)


@dataclass(frozen=True, slots=True)
class SidecarSettings:
    """What the Codex sidecar and its launcher run with. Durations in seconds."""

    app_server_url: str = "ws://127.0.0.1:4501"
    app_server_token_file: str | None = None
    thread_mode: str = "start"
    thread_id: str | None = None
    follow: str = "off"
    model: str | None = None
    cwd: str | None = None
    rig: str = "codex-live"
    state_path: str | None = None
    poll_interval: float = 2.0
    heartbeat_interval: float = 30.0
    relay_backoff_initial: float = 2.0
    relay_backoff_max: float = 60.0
    coalesce_window: float = 0.6
    digest_window: float = 60.0
    reconnect_initial: float = 1.0
    reconnect_max: float = 10.0
    approval_policy: str | None = None
    sandbox: str | None = None
    hook_timeout: float = 5.0
    fallback_thread_mode: str = "start"
    auto_reply: str = "final"
    tools: str = "off"
    token_id: int | None = None
