"""A home to install codex-relay into, and everything in it by name, mode and content."""

import re
import stat
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

from support.codex import codex_program, older_versions
from support.commands import clean_environment
from trio_relay.codex.setup.alias import shell_of
from trio_relay.codex.setup.install import Home
from trio_relay.codex.setup.registration import Codex

#: What Codex itself keeps in its home when it runs, plugin or no plugin.
_CODEX_OWN = re.compile(
    r"\.codex/(\w+\.sqlite(-wal|-shm)?|installation_id|\.\w+_migration|version\.json|models_cache\.json|history\.jsonl"
    r"|\.tmp(/(?!marketplaces).*)?|(tmp|skills|sessions|log|cache|shell_snapshots|memories|rules"
    r"|mcp-oauth-locks|tui-thread-reference-capabilities|thread-writer-locks)(/.*)?)"
)


#: The newest Codex, and the older ones where they are tried too.
VERSIONS = (None, *older_versions())


def home_with_codex(path: Path, version: str | None = None) -> Home:
    """A home at `path` whose user has the real Codex, the newest or another `version`."""
    home = home_in(path)
    return replace(home, codex=Codex(codex_program(version), home.codex_home, clean_environment(path)))


def home_in(path: Path) -> Home:
    """A home at `path`, without any Codex."""
    path.mkdir(exist_ok=True)
    codex_home = path / ".codex"
    return Home(
        bin=path / ".local/bin",
        data=path / ".local/share/trio-relay/codex-relay",
        state=path / ".local/state/trio-relay",
        codex_home=codex_home,
        scripts=Path(sysconfig.get_path("scripts")),
        python=sys.executable,
        skills={"pair/SKILL.md": b"---\nname: pair\ndescription: pair\n---\npair\n"},
        shells=tuple(shell_of(name, home=path) for name in ("bash", "zsh", "fish")),
        codex=None,
    )


def everything_in(home: Path) -> dict[str, tuple[str, bytes]]:
    """Every file and directory that is not Codex's own: its type and permissions, and its content, by its path."""
    return {
        str(path.relative_to(home)): (
            stat.filemode(path.lstat().st_mode),
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(home.rglob("*"))
        if not _CODEX_OWN.fullmatch(str(path.relative_to(home)))
    }
