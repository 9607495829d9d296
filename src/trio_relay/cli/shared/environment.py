"""Settings out of the environment, the one place that reads it. What a command line says comes first."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trio_relay.cli.shared.credentials import known_token
from trio_relay.cli.shared.env_file import env_file as env_file_here
from trio_relay.cli.shared.env_file import read_env_file
from trio_relay.errors import Invalid
from trio_relay.settings.agent import AGENT, AgentSettings
from trio_relay.settings.table import Setting, read_settings

if TYPE_CHECKING:  # what a command does not read it does not import
    from trio_relay.settings import ClaudeSettings, ConnectorSettings, ServerSettings, SidecarSettings


def server_settings(
    *, env_file: Path | None = None, token_file: Path | None = None, **given: Any
) -> "ServerSettings":
    """Read the settings of the relay; `given` values that are not None win over the file, and that over the environment.

    Raises:
        Invalid: a file cannot be read, or the integrations are not usable.

    """
    from trio_relay.settings.server import SERVER, ServerSettings  # noqa: PLC0415  # see above

    environ = dict(os.environ) | (read_env_file(env_file) if env_file is not None else {})
    values = _values(SERVER, _with_integrations(environ)) | _said(given)
    if token_file is not None:
        values["token"] = read_secret(token_file)
    return ServerSettings(**values)


def room_settings(**given: Any) -> "ServerSettings":
    """Read which database the room is in: as `given`, else as the environment says, else as it was set up here.

    Raises:
        Invalid: the settings of this machine's relay cannot be read.

    """
    names = {"DB_PATH": "db_path", "DATABASE_URL": "database_url"}
    said = _said(given)
    if not said and not any(os.environ.get(name) for name in names) and env_file_here().exists():
        found = read_env_file(env_file_here())
        said = {field: found[name] for name, field in names.items() if found.get(name)}
    return server_settings(**said)


def agent_settings(**given: Any) -> AgentSettings:
    """Read who is calling and which relay; `given` values that are not None win over the environment."""
    settings = AgentSettings(**(_values(AGENT, os.environ) | _said(given)))
    return (
        settings if settings.token is not None else replace(settings, token=known_token(settings.relay_url))
    )


def sidecar_settings(**given: Any) -> "SidecarSettings":
    """Read the settings of the Codex sidecar; `given` values that are not None win over the environment."""
    from trio_relay.settings.sidecar import SIDECAR, SidecarSettings  # noqa: PLC0415  # see above

    return SidecarSettings(**(_values(SIDECAR, os.environ) | _said(given)))


def claude_settings(**given: Any) -> "ClaudeSettings":
    """Read the settings of a Claude Code session; `given` values that are not None win over the environment."""
    from trio_relay.settings.claude import CLAUDE, ClaudeSettings  # noqa: PLC0415  # see above

    return ClaudeSettings(**(_values(CLAUDE, os.environ) | _said(given)))


def connector_settings() -> "ConnectorSettings":
    """Read the settings of a connector."""
    from trio_relay.settings.connector import CONNECTOR, ConnectorSettings  # noqa: PLC0415  # see above

    return ConnectorSettings(**_values(CONNECTOR, os.environ))


def _with_integrations(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Put what stands in the file of ``AGENT_RELAY_INTEGRATIONS=@FILE`` in its place."""
    from trio_relay.core.integrations import VARIABLE as INTEGRATIONS  # noqa: PLC0415  # see above

    said = environ.get(INTEGRATIONS, "")
    if not said.startswith("@"):
        return environ
    path = Path(said.removeprefix("@")).expanduser()
    try:
        return {**environ, INTEGRATIONS: path.read_text(encoding="utf-8")}
    except UnicodeDecodeError:
        raise Invalid(f"{INTEGRATIONS}: {path} is not a text file", code="bad_integrations") from None
    except OSError as error:
        raise Invalid(
            f"{INTEGRATIONS}: cannot read {path}: {error.strerror}", code="bad_integrations"
        ) from None


def _values(table: tuple[Setting, ...], environ: Mapping[str, str]) -> dict[str, Any]:
    values, warnings = read_settings(table, environ)
    for warning in warnings:
        click.echo(f"trio-relay: warning: {warning.message}", err=True)
    return values


def _said(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def read_secret(path: Path) -> str:
    """Read the one line of a token file. Its content never appears in an error."""
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise Invalid(f"{path} is not a text file", code="token_file") from None
    except OSError as error:
        raise Invalid(f"cannot read {path}: {error.strerror}", code="token_file") from None
    if not secret or len(secret.splitlines()) > 1:
        raise Invalid(f"{path} must hold one line: the token", code="token_file")
    return secret


def own_agent_id() -> str:
    """Name the mailbox of the person at this terminal: ``user@host``."""
    import getpass  # noqa: PLC0415  # see above
    import socket  # noqa: PLC0415

    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = f"uid{os.getuid()}"
    return f"{user}@{socket.gethostname().partition('.')[0] or 'localhost'}"
