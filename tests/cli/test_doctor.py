"""`trio-relay doctor` on broken set-ups: it names the fault and what mends it, each time, and nothing else."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.canned_http import http_server
from support.codex import codex_program
from support.codex_setup import VERSIONS, everything_in, home_in
from support.commands import ServingRelay, call, clean_environment, serving_relay
from trio_relay import __version__
from trio_relay.codex.setup.alias import shell_of
from trio_relay.codex.setup.config_entries import MARKETPLACE, PLUGIN_ID
from trio_relay.codex.setup.install import Home, Wishes, plan_install
from trio_relay.codex.setup.plugin import cache, marketplace

_CODEX = '#!/bin/sh\necho "codex-cli 0.169.0"\ncase $* in *app-server*) exit 9;; esac\n'
_ENTRIES = f"""
[marketplaces.{MARKETPLACE}]
source = "SOURCE"

[plugins."{PLUGIN_ID}"]
enabled = true
"""


@dataclass
class Setup:
    """A home in which everything is well, until a test breaks it."""

    path: Path
    home: Home
    env: dict[str, str]

    @property
    def codex(self) -> Path:
        return self.path / "programs/codex"

    @property
    def config(self) -> Path:
        return self.home.codex_home / "config.toml"

    def doctor(self, *options: str) -> dict[str, dict[str, Any]]:
        """What the doctor finds, by name."""
        done = call("doctor", "--json", *options, env=self.env)
        said = json.loads(done.stdout)
        found = {one["name"]: one for one in said["checks"]}
        assert len(found) == len(said["checks"])
        assert (done.exit_code == 0) is said["ok"] is all(one["ok"] is not False for one in found.values())
        return found


@pytest.fixture
def setup(tmp_path: Path, relay: ServingRelay, monkeypatch: pytest.MonkeyPatch) -> Setup:
    path = tmp_path / "home"
    home = home_in(path)
    programs = path / "programs"
    programs.mkdir()
    (programs / "codex").write_text(_CODEX)
    (programs / "codex").chmod(0o755)
    plan_install(home, Wishes(alias=shell_of("bash", home=path))).take()
    for name, content in marketplace(home.python, {}, hooks=False).items():
        for root in (home.marketplace, cache(home.codex_home) / __version__):
            file = root / name.removeprefix("plugins/agent-relay/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    (home.codex_home / "config.toml").write_text(
        "# mine\n" + _ENTRIES.replace("SOURCE", str(home.marketplace))
    )
    for name in os.environ:
        if name.startswith(("AGENT_RELAY_", "CODEX_", "XDG_")):
            monkeypatch.delenv(name)
    env = clean_environment(path, AGENT_RELAY_URL=relay.url, PATH=f"{home.bin}:{programs}:/usr/bin:/bin")
    return Setup(path, home, env)


def profiles(setup: Setup, text: str) -> None:
    file = setup.path / "profiles.json"
    file.write_text(text)
    setup.env |= {"AGENT_RELAY_PROFILES_FILE": str(file), "AGENT_RELAY_PROFILE": "nobody"}


def another(name: str) -> Callable[[Setup], None]:
    def put_first(setup: Setup) -> None:
        other = setup.path / "other" / name
        other.parent.mkdir()
        other.write_text("#!/bin/sh\n")
        other.chmod(0o755)
        setup.env["PATH"] = f"{other.parent}:{setup.env['PATH']}"

    return put_first


def a_program_is_missing(setup: Setup) -> None:
    (setup.home.bin / "agent-relay").unlink()


def a_shim_without_its_program(setup: Setup) -> None:
    shim = setup.home.bin / "agent-relay"
    shim.write_text(shim.read_text().replace(str(setup.home.scripts), "/gone"))


def an_alias_without_its_program(setup: Setup) -> None:
    file = setup.path / ".bashrc"
    file.write_text(file.read_text().replace(str(setup.home.bin), "/gone"))


def an_older_plugin(setup: Setup) -> None:
    (cache(setup.home.codex_home) / __version__).rename(cache(setup.home.codex_home) / "0.0.1")


def a_plugin_of_another_environment(setup: Setup) -> None:
    described = cache(setup.home.codex_home) / __version__ / ".mcp.json"
    described.write_text(described.read_text().replace(setup.home.python, "/gone/python"))


def killed_session(setup: Setup) -> None:
    (setup.home.state / "runs/20260101-000000-killed").mkdir(parents=True)
    (setup.home.state / "runs/20260101-000000-killed/lock").touch()


def damaged_credentials(setup: Setup) -> None:
    file = setup.path / ".config/trio-relay/credentials.json"
    file.parent.mkdir(parents=True)
    file.write_text("[")


def added(text: str) -> Callable[[Setup], object]:
    return lambda setup: setup.config.write_text(text + setup.config.read_text())


def replaced(old: str, new: str) -> Callable[[Setup], object]:
    return lambda setup: setup.config.write_text(setup.config.read_text().replace(old, new))


def codex_says(text: str) -> Callable[[Setup], object]:
    return lambda setup: setup.codex.write_text(f"#!/bin/sh\n{text}\n")


def with_env(**more: str) -> Callable[[Setup], object]:
    return lambda setup: setup.env.update(more)


def a_file_for_a_directory(setup: Setup) -> None:
    setup.home.state.parent.mkdir(parents=True, exist_ok=True)
    setup.home.state.write_text("")


#: How it is broken: what does it, the check that finds it, and words of the fault and of the fix.
BROKEN: Mapping[str, tuple[Callable[[Setup], object], str, str, str]] = {
    "no codex": (
        lambda setup: setup.codex.unlink(),
        "codex",
        "no `codex` on PATH",
        "npm install -g @openai/codex",
    ),
    "an old codex": (codex_says("echo codex-cli 0.99.0"), "codex", "0.99.0 is too old", "npm install"),
    "a codex that fails": (codex_says("echo boom >&2; exit 3"), "codex", "boom", "npm install"),
    "config.toml is no TOML": (added("model = = 1\n"), "config", "line 1", "mend"),
    "CODEX_HOME that is not there": (
        with_env(CODEX_HOME="/nowhere"),
        "config",
        "/nowhere",
        "mkdir -p /nowhere",
    ),
    "programs not on PATH": (
        lambda setup: setup.env.update(PATH=f"{setup.codex.parent}:/usr/bin:/bin"),
        "programs",
        "is not on PATH",
        'export PATH="',
    ),
    "another codex-relay before ours": (another("codex-relay"), "programs", "other/codex-relay", "in PATH"),
    "another agent-relay before ours": (another("agent-relay"), "programs", "other/agent-relay", "in PATH"),
    "a program is missing": (
        a_program_is_missing,
        "programs",
        "`agent-relay` is not on PATH",
        "install codex",
    ),
    "a shim without its program": (
        a_shim_without_its_program,
        "programs",
        "/gone/agent-relay",
        "install codex",
    ),
    "an alias without its program": (
        an_alias_without_its_program,
        "alias",
        "/gone/codex-relay",
        "alias remove",
    ),
    "an older plugin": (an_older_plugin, "plugin", "0.0.1", "install codex"),
    "a marketplace that is gone": (
        lambda setup: shutil.rmtree(setup.home.marketplace),
        "plugin",
        "is gone",
        "install codex",
    ),
    "a plugin whose environment is gone": (
        a_plugin_of_another_environment,
        "plugin",
        "/gone/python",
        "install codex",
    ),
    "half a plugin": (
        replaced(f'[plugins."{PLUGIN_ID}"]', "[other]"),
        "plugin",
        "only a part",
        "install codex",
    ),
    "a plugin switched off": (replaced("= true", "= false"), "plugin", "enabled = false", "remove that line"),
    "plugins switched off": (
        added("[features]\nplugins = false\n"),
        "plugin",
        "features.plugins",
        "remove that line",
    ),
    "a file for a directory": (a_file_for_a_directory, "state", "is a file", "move"),
    "a session that was killed": (killed_session, "runs", "killed", "start codex-relay once"),
    "a setting that cannot be used": (
        with_env(AGENT_RELAY_CODEX_RECONNECT_MAX_MS="soon"),
        "settings",
        "AGENT_RELAY_CODEX_RECONNECT_MAX_MS",
        "correct or unset",
    ),
    "a profile that is not there": (
        lambda setup: profiles(setup, "{}"),
        "profile",
        "nobody",
        "profile list",
    ),
    "profiles that are no JSON": (lambda setup: profiles(setup, "{,}"), "profile", "line 1", "profile"),
    "damaged credentials": (damaged_credentials, "token", "damaged", "join"),
    "no relay": (with_env(AGENT_RELAY_URL="http://127.0.0.1:1"), "relay", "127.0.0.1:1", "trio-relay serve"),
    "no URL": (with_env(AGENT_RELAY_URL="relay.example"), "relay", "relay.example", "AGENT_RELAY_URL"),
    "no token for a header": (with_env(AGENT_RELAY_TOKEN="a\nb"), "token", "header", "AGENT_RELAY_TOKEN"),
}


def test_where_all_is_well_nothing_is_broken(setup: Setup) -> None:
    before = everything_in(setup.path)
    found = setup.doctor()
    assert [name for name, one in found.items() if one["ok"] is False] == [
        "replies"
    ]  # this Codex has no app-server
    assert [name for name, one in found.items() if one["ok"] is None] == [
        "runs",
        "claude",
        "cc-plugin",
        "profile",
    ]
    assert everything_in(setup.path) == before


@pytest.mark.parametrize("has_home", [False, True])
def test_codex_is_asked_in_a_home_that_is_removed_where_it_has_none(setup: Setup, *, has_home: bool) -> None:
    if not has_home:
        shutil.rmtree(setup.home.codex_home)
    asked_in = setup.path / "asked-in"
    setup.codex.write_text(
        _CODEX.replace(
            "case",
            f'home=${{CODEX_HOME:-$HOME/.codex}}\ncase $* in *app-server*) mkdir -p "$home"; echo 1 > "$home/auth"; '
            f'echo "$home" > {asked_in};; esac\ncase',
        )
    )
    found = setup.doctor()
    assert found["replies"]["ok"] is False  # this Codex has no app-server
    home = Path(asked_in.read_text().strip())
    assert (home == setup.home.codex_home) is home.exists() is setup.home.codex_home.exists() is has_home


@pytest.mark.parametrize(("break_it", "name", "fault", "fix"), BROKEN.values(), ids=list(BROKEN))
def test_a_fault_is_named_with_its_fix(
    setup: Setup, break_it: Callable[[Setup], object], name: str, fault: str, fix: str
) -> None:
    break_it(setup)
    found = setup.doctor()
    assert {one for one, finding in found.items() if finding["ok"] is False} - {"replies"} == {name}
    assert fault in found[name]["detail"]
    assert fix in found[name]["fix"]


def test_a_token_that_is_refused_is_named(setup: Setup, tmp_path: Path) -> None:
    env = clean_environment(tmp_path, AGENT_RELAY_TOKEN="the right one")
    with serving_relay(env=env, cwd=tmp_path) as guarded:
        setup.env |= {"AGENT_RELAY_URL": guarded.url, "AGENT_RELAY_TOKEN": "the wrong one"}
        found = setup.doctor()
    assert found["relay"]["ok"]
    assert found["token"]["ok"] is False
    assert "AGENT_RELAY_TOKEN" in found["token"]["fix"]
    assert found["replies"]["ok"] is None
    assert "the wrong one" not in json.dumps(found)


def test_a_relay_of_another_version_is_named(setup: Setup) -> None:
    answers = {
        "/healthz": {"status": "ok", "version": "9.9.9"},
        "/api/messages/cursor": {"latestId": 0, "latestSeq": 0},
    }
    with http_server(answers) as url:
        found = setup.doctor("--relay-url", url)
    assert found["relay"]["ok"] is False
    assert "9.9.9" in found["relay"]["detail"]
    assert "upgrade" in found["relay"]["fix"]
    assert found["token"]["ok"]


def test_a_person_reads_a_line_each(setup: Setup) -> None:
    setup.env["AGENT_RELAY_URL"] = "http://127.0.0.1:1"
    lines = call("doctor", env=setup.env).stdout.splitlines()
    assert f"✓ plugin    {PLUGIN_ID} {__version__}" in lines
    fault = next(at for at, line in enumerate(lines) if line.startswith("✗ relay"))
    assert lines[fault + 1].strip().startswith("fix: `trio-relay serve`")
    assert lines[-1] == "1 broken."


@pytest.mark.codex
@pytest.mark.parametrize("version", VERSIONS)
def test_the_real_codex_calls_a_tool_of_the_relay(setup: Setup, version: str | None) -> None:
    setup.codex.unlink()
    setup.codex.symlink_to(codex_program(version))
    setup.env["PATH"] += f":{os.environ['PATH']}"
    found = setup.doctor()
    assert found["replies"]["ok"], found["replies"]
    assert [name for name, one in found.items() if one["ok"] is False] == []


@pytest.mark.codex
def test_a_relay_without_tools_is_named(setup: Setup) -> None:
    setup.codex.unlink()
    setup.codex.symlink_to(codex_program())
    setup.env["PATH"] += f":{os.environ['PATH']}"
    version = {"status": "ok", "version": __version__}
    with http_server({"/healthz": version, "/api/messages/cursor": {"latestId": 0, "latestSeq": 0}}) as url:
        found = setup.doctor("--relay-url", url)
    assert found["replies"]["ok"] is False
    assert "AUTO_REPLY" in found["replies"]["fix"]
