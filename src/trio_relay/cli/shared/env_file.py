"""The file in which the settings of this machine's relay stand: ``NAME=value`` lines, as `trio-relay setup` makes it.

Blank lines and lines that begin with ``#`` say nothing; ``export`` before a name is passed over. A value is the rest
of its line, as it stands; in single or double quotes, what is between them. Nothing is expanded.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs

from trio_relay.errors import Invalid

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)")
_PLAIN = re.compile(r"[^\s'\"#][^'\"]*|")
#: Names that mean this machine, for whoever calls from it.
_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})
_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104  # what a bind may say


def env_file() -> Path:
    """Where `trio-relay setup` puts it."""
    return Path(platformdirs.user_config_dir("trio-relay", appauthor=False)) / "relay.env"


def read_env_file(path: Path) -> dict[str, str]:
    """The values by name; the last of two counts.

    Raises:
        Invalid: it cannot be read, or a line is none (code ``env_file``). No value appears in the error.

    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise Invalid(f"{path} is not a text file", code="env_file") from None
    except OSError as error:
        raise Invalid(f"cannot read {path}: {error.strerror}", code="env_file") from None
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        found = _LINE.fullmatch(stripped)
        if found is None:
            raise Invalid(f"{path}, line {number}: expected NAME=value", code="env_file")
        values[found[1]] = _unquoted(found[2].strip())
    return values


def env_line(name: str, value: str) -> str:
    """Write a line that reads as this value, which holds no line end.

    Raises:
        Invalid: it cannot be written in one line (code ``env_file``).

    """
    if len(value.splitlines()) > 1 or value != value.strip("\r\n"):
        raise Invalid(f"{name} holds a line end", code="env_file")
    if _PLAIN.fullmatch(value) and value == value.strip():
        return f"{name}={value}"
    quote = '"' if '"' not in value else "'"
    return f"{name}={quote}{value}{quote}"  # what is between the outer quotes is taken as it stands


def local_token(relay_url: str) -> str | None:
    """The token of the relay that was set up on this machine, if `relay_url` is where that one listens."""
    values = _settings_of(relay_url)
    return (values.get("AGENT_RELAY_TOKEN") or None) if values is not None else None


def local_settings(relay_url: str) -> Path | None:
    """The settings of the relay that was set up on this machine, if `relay_url` is where that one listens."""
    return env_file() if _settings_of(relay_url) is not None else None


def _settings_of(relay_url: str) -> dict[str, str] | None:
    try:
        values = read_env_file(env_file())
    except Invalid:
        return None
    return values if _is_served_at(relay_url, values) else None


def _is_served_at(relay_url: str, values: Mapping[str, str]) -> bool:
    try:
        url = urlsplit(relay_url)
        port = url.port or 80
    except ValueError:
        return False
    host = values.get("HOST") or "127.0.0.1"
    named = url.hostname or ""
    here = named in _LOCAL and (host in _LOCAL or host in _EVERYWHERE)
    return url.scheme == "http" and str(port) == (values.get("PORT") or "4850") and (here or named == host)


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value
