"""Every setting, once: its environment variable, default and meaning.

The environment is read in ``cli/`` only; below it these frozen values travel. ``SETTINGS`` is the whole table: the
CLI reads it, the docs check holds ``docs/settings.md`` against it. Durations are milliseconds in the environment
(the reference product's convention) and seconds (float) in Python.
"""

from trio_relay.settings.agent import AGENT, AgentSettings
from trio_relay.settings.claude import CLAUDE, ClaudeSettings
from trio_relay.settings.server import SERVER, ServerSettings
from trio_relay.settings.sidecar import SIDECAR, SidecarSettings
from trio_relay.settings.table import Setting, Warned, read_settings

SETTINGS = (*SERVER, *AGENT, *SIDECAR, *CLAUDE)

__all__ = [
    "AGENT",
    "CLAUDE",
    "SERVER",
    "SETTINGS",
    "SIDECAR",
    "AgentSettings",
    "ClaudeSettings",
    "ServerSettings",
    "Setting",
    "SidecarSettings",
    "Warned",
    "read_settings",
]
