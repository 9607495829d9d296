"""The tokens this machine has joined relays with: one file, 0600, replaced atomically, removed when it is empty.

``AGENT_RELAY_TOKEN`` comes first; the file answers where it is not set.
"""

import json
import os
import tempfile
from pathlib import Path

import platformdirs

from trio_relay.cli.shared.env_file import local_token
from trio_relay.errors import RelayError


def credentials_file() -> Path:
    """Where the file is."""
    return Path(platformdirs.user_config_dir("trio-relay", appauthor=False)) / "credentials.json"


def known_token(relay_url: str) -> str | None:
    """The token for a relay this machine has joined, or for the one that was set up here."""
    return _read().get(_name(relay_url)) or local_token(relay_url)


def remember(relay_url: str, token: str) -> Path:
    """Keep a token for a relay."""
    return _write(_read() | {_name(relay_url): token})


def forget(relay_url: str) -> bool:
    """Drop the token for a relay; whether there was one."""
    known = _read()
    if known.pop(_name(relay_url), None) is None:
        return False
    _write(known)
    return True


def _name(relay_url: str) -> str:
    return relay_url.strip().rstrip("/").lower()


def _read() -> dict[str, str]:
    path = credentials_file()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, UnicodeDecodeError):
        found = None
    except OSError as error:
        raise RelayError(f"cannot read {path}: {error.strerror}", code="credentials") from None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise RelayError(
            f"{path} is damaged: expected a JSON object of relay URLs and tokens", code="credentials"
        )
    return found


def _write(known: dict[str, str]) -> Path:
    path = credentials_file()
    if not known:
        path.unlink(missing_ok=True)
        return path
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # mkstemp makes it 0600; the rename is what makes it ours at once and whole.
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".credentials-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(known, file, indent=1)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    return path
