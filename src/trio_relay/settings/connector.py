"""What a connector can be told."""

from dataclasses import dataclass, field

from trio_relay.settings.table import Setting

_CONNECTOR = "AGENT_RELAY_CONNECTOR_"
CONNECTOR = (
    Setting(_CONNECTOR + "TOKEN", "token", None, str, "token of the integration a connector posts as"),
    Setting(
        _CONNECTOR + "SECRET", "secret", None, str, "what a connector and its senders share: proves who sends"
    ),
)


@dataclass(frozen=True, slots=True)
class ConnectorSettings:
    """What a connector runs with."""

    token: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
