"""Every setting, once: its environment variable, default and meaning.

The environment is read in ``cli/`` only; below it these frozen values travel. ``SETTINGS`` is the whole table: the
CLI reads it, the docs check holds ``docs/settings.md`` against it. Durations are milliseconds in the environment
(the reference product's convention) and seconds (float) in Python.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trio_relay.settings.agent import AGENT, AgentSettings
    from trio_relay.settings.claude import CLAUDE, ClaudeSettings
    from trio_relay.settings.connector import CONNECTOR, ConnectorSettings
    from trio_relay.settings.server import SERVER, ServerSettings
    from trio_relay.settings.sidecar import SIDECAR, SidecarSettings
    from trio_relay.settings.table import Setting, Warned, read_settings

    SETTINGS = (*SERVER, *AGENT, *SIDECAR, *CLAUDE, *CONNECTOR)

__all__ = [
    "AGENT",
    "CLAUDE",
    "CONNECTOR",
    "SERVER",
    "SETTINGS",
    "SIDECAR",
    "AgentSettings",
    "ClaudeSettings",
    "ConnectorSettings",
    "ServerSettings",
    "Setting",
    "SidecarSettings",
    "Warned",
    "read_settings",
]
_HOMES = {
    "AGENT": "agent",
    "AgentSettings": "agent",
    "CLAUDE": "claude",
    "ClaudeSettings": "claude",
    "CONNECTOR": "connector",
    "ConnectorSettings": "connector",
    "SERVER": "server",
    "ServerSettings": "server",
    "SIDECAR": "sidecar",
    "SidecarSettings": "sidecar",
    "Setting": "table",
    "Warned": "table",
    "read_settings": "table",
}


def __getattr__(name: str) -> Any:
    # A command that reads who is calling has no use for the server's table, and must start quickly.
    if name == "SETTINGS":
        return tuple(
            row
            for table in ("SERVER", "AGENT", "SIDECAR", "CLAUDE", "CONNECTOR")
            for row in __getattr__(table)
        )
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
