"""What can be wrong with an installation on this machine, and what mends it. Nothing is changed and nobody is called.

Each check looks at one thing and gives one finding; `trio-relay doctor` adds those that need a relay.
"""

import json
import os
import re
import shlex
import shutil
import tomllib
from pathlib import Path
from typing import Any

from trio_relay import __version__
from trio_relay.codex.arguments import MCP_SERVER
from trio_relay.codex.run_directory import stale_runs
from trio_relay.codex.setup.alias import command_of, has_alias
from trio_relay.codex.setup.config_entries import MARKETPLACE, PLUGIN_ID
from trio_relay.codex.setup.install import Home
from trio_relay.codex.setup.plugin import cache, installed_version
from trio_relay.codex.setup.registration import CodexFailed
from trio_relay.codex.setup.shims import PROGRAMS, is_ours, is_same_program, shim
from trio_relay.home.files import read
from trio_relay.home.finding import Finding

#: The oldest Codex this was tried with.
OLDEST_CODEX = (0, 130)
INSTALL = "trio-relay install codex"
_VERSION = re.compile(r"(\d+)\.(\d+)\.\d+\S*")


def local_findings(home: Home, search_path: str) -> list[Finding]:
    """Look at everything on this machine, in the order in which one thing needs another."""
    config, meaning = check_config(home)
    return [
        check_codex(home),
        config,
        check_programs(home, search_path),
        check_alias(home),
        check_plugin(home, meaning),
        check_state(home),
        check_runs(home),
    ]


def check_codex(home: Home) -> Finding:
    """Whether there is a Codex that runs and that we know."""
    newest = "npm install -g @openai/codex@latest"
    if home.codex is None:
        return Finding("codex", False, "there is no `codex` on PATH", newest)
    program = home.codex.program
    try:
        said = home.codex.run("--version")
    except (CodexFailed, OSError) as problem:
        reason = problem.detail if isinstance(problem, CodexFailed) else problem.strerror
        return Finding("codex", False, f"{program} does not run: {reason}", newest)
    found = _VERSION.search(said)
    if found is None:
        return Finding("codex", False, f"{program} does not say its version but {said[:80]!r}", newest)
    if (int(found[1]), int(found[2])) < OLDEST_CODEX:
        oldest = ".".join(map(str, OLDEST_CODEX))
        return Finding("codex", False, f"{found[0]} is too old: {oldest} is the oldest that works", newest)
    return Finding("codex", True, f"{found[0]} at {program}")


def check_config(home: Home) -> tuple[Finding, dict[str, Any] | None]:
    """Whether Codex can read its configuration; and what it says, if it can."""
    path = home.codex_home / "config.toml"
    if not home.codex_home.is_dir():
        if "CODEX_HOME" in (home.codex.environment if home.codex else {}):
            fix = f"mkdir -p {shlex.quote(str(home.codex_home))}, or unset CODEX_HOME"
            return Finding(
                "config", False, f"CODEX_HOME names {home.codex_home}, which is not there", fix
            ), {}
        return Finding("config", None, f"there is no {home.codex_home} yet"), {}
    content = read(path)
    if content is None:
        return Finding("config", True, f"{path} is not there: Codex uses its defaults"), {}
    try:
        meaning = tomllib.loads(content.decode().removeprefix("\ufeff"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        return Finding("config", False, f"{path} cannot be read: {problem}", f"mend {path} there"), None
    return Finding("config", True, str(path)), meaning


def check_programs(home: Home, search_path: str) -> Finding:
    """Whether our programs are found, and are those of this installation."""
    for name in PROGRAMS:
        path = home.bin / name
        if is_ours(path) and (target := _started_by(path)) is not None and not target.exists():
            return Finding("programs", False, f"{path} starts {target}, which is gone", INSTALL)
    found = {name: shutil.which(name, path=search_path) for name in PROGRAMS}
    if not any(found.values()):
        if (home.bin / "codex-relay").exists():
            return Finding("programs", False, f"{home.bin} is not on PATH", f'export PATH="{home.bin}:$PATH"')
        return Finding("programs", None, "codex-relay is not on PATH; this installation is run by path")
    for name, first in found.items():
        if first is None:
            return Finding("programs", False, f"`{name}` is not on PATH", INSTALL)
        if not _is_this_installation(home, name, Path(first)):
            fix = f"remove {first}, or put {home.bin} before {Path(first).parent} in PATH"
            detail = f"`{name}` is {first}, not the one of this installation ({home.scripts})"
            return Finding("programs", False, detail, INSTALL if is_ours(Path(first)) else fix)
    return Finding("programs", True, str(found["codex-relay"]))


def _is_this_installation(home: Home, name: str, found: Path) -> bool:
    program = home.scripts / name
    return is_same_program(found, program) or read(found) == shim(program)


def _started_by(path: Path) -> Path | None:
    """The program a shim of ours starts."""
    words = shlex.split((read(path) or b"").decode(errors="replace"), comments=True)
    return Path(words[1]) if words[:1] == ["exec"] and len(words) > 1 else None


def check_alias(home: Home) -> Finding:
    """Whether an alias of ours leads anywhere."""
    named: list[str] = []
    for shell in home.shells:
        text = (read(shell.file) or b"").decode(errors="surrogateescape")
        if not has_alias(text):
            continue
        program = command_of(text)
        if program is None or not os.access(program, os.X_OK):
            detail = f"{shell.file} has `codex` start {program}, which is gone"
            return Finding("alias", False, detail, "agent-relay-codex alias remove")
        named.append(str(shell.file))
    if not named:
        return Finding("alias", None, "`codex` is Codex itself")
    return Finding("alias", True, f"`codex` starts codex-relay: {', '.join(named)}")


def check_plugin(home: Home, config: dict[str, Any] | None) -> Finding:
    """Whether Codex has the plugin, switched on and of this version."""
    if config is None:
        return Finding("plugin", None, "not looked at: config.toml cannot be read")
    source = _table(config, "marketplaces", MARKETPLACE).get("source")
    entry = _table(config, "plugins", PLUGIN_ID)
    version = installed_version(home.codex_home)
    if source is None and not entry and version is None:
        return Finding("plugin", None, f"not installed ({INSTALL}): no skills")
    detail, fix = _plugin_fault(home, config, version)
    if detail:
        return Finding("plugin", False, detail, fix)
    return Finding("plugin", True, f"{PLUGIN_ID} {version}")


def _plugin_fault(home: Home, config: dict[str, Any], version: str | None) -> tuple[str, str]:
    source = _table(config, "marketplaces", MARKETPLACE).get("source")
    entry = _table(config, "plugins", PLUGIN_ID)
    if source is not None and not Path(str(source)).is_dir():
        return f"its marketplace {source} is gone, which fails every `codex plugin`", INSTALL
    if source is None or not entry or version is None:
        return "Codex knows only a part of it", INSTALL
    if version != __version__:
        return f"Codex has version {version}, this is {__version__}", INSTALL
    started_with = _command_of_tools(home, version)
    if shutil.which(started_with) is None:
        return f"it starts its tools with {started_with}, which is gone", INSTALL
    switches = {f'plugins."{PLUGIN_ID}".enabled': entry.get("enabled")}
    switches["features.plugins"] = _table(config, "features").get("plugins")
    off = [name for name, value in switches.items() if value is False]
    where = home.codex_home / "config.toml"
    return (f"it is switched off: {off[0]} = false in {where}", "remove that line") if off else ("", "")


def _command_of_tools(home: Home, version: str) -> str:
    """The program with which Codex starts the plugin's MCP server."""
    try:
        described = json.loads((cache(home.codex_home) / version / ".mcp.json").read_bytes())
        return str(described["mcpServers"][MCP_SERVER]["command"])
    except (OSError, ValueError, KeyError, TypeError):
        return "nothing it says"


def _table(config: dict[str, Any], *names: str) -> dict[str, Any]:
    value: Any = config
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def check_state(home: Home) -> Finding:
    """Whether sessions can keep their state."""
    nearest = next(each for each in (home.state, *home.state.parents) if each.exists())
    if not nearest.is_dir():
        return Finding(
            "state", False, f"{nearest} is a file where a directory must be", f"move {nearest} away"
        )
    if not os.access(nearest, os.W_OK | os.X_OK):
        fix = f"chown -R $(id -u) {shlex.quote(str(nearest))}"
        return Finding("state", False, f"{nearest} cannot be written", fix)
    return Finding("state", True, str(home.state))


def check_runs(home: Home) -> Finding:
    """Whether sessions that were killed have left something."""
    runs = home.state / "runs"
    if not os.access(runs, os.R_OK | os.X_OK):
        return Finding("runs", None, "no session has run here yet")
    stale = stale_runs(runs)
    if stale:
        detail = f"{len(stale)} of sessions that were killed: {stale[0]}"
        return Finding("runs", False, detail, "start codex-relay once, which removes them, or rm -r them")
    return Finding("runs", True, "nothing is left of sessions that have ended")
