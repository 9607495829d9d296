"""Profiles by name, with or without a file; and an agent starts whatever is wrong with them."""

import json
from pathlib import Path

import pytest
import structlog

from support.commands import call
from trio_relay.core.approval import Approval
from trio_relay.core.profiles import parse_profiles
from trio_relay.settings import AgentSettings, SidecarSettings
from trio_relay.settings.profiles import find_profile, shipped_profiles
from trio_relay.sidecar.state_file import State
from trio_relay.sidecar.whoami import Identity, identify

SHIPPED = ["backend-developer", "frontend-developer", "ops", "release-manager", "reviewer", "test-writer"]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    file = tmp_path / "mine.json"
    file.write_text('{"ops": {"label": "own"}, "night": {"tags": ["night"], "approval": "guarded"}}')
    return file


def who(profile: str | None, file: Path | None = None) -> Identity:
    settings = AgentSettings(profile=profile, profiles_file=None if file is None else str(file))
    sidecar = SidecarSettings()
    return identify(settings, sidecar, State(), host="box", cwd="/src/shop", instance_id="i-1")


def test_yours_are_listed_before_the_shipped_ones_of_other_names(mine: Path) -> None:
    env = {"AGENT_RELAY_PROFILES_FILE": str(mine)}
    listed = json.loads(call("profile", "list", "--json", env=env).stdout)
    assert [each["name"] for each in listed] == ["ops", "night", *(n for n in SHIPPED if n != "ops")]
    assert listed[0] == {"name": "ops", "file": str(mine), "label": "own"}
    lines = call("profile", "list", env=env).stdout.splitlines()
    assert lines[1].split() == ["night", "yours", "night"]
    assert lines[2].split()[:2] == ["backend-developer", "shipped"]


def test_what_is_shown_can_be_kept_as_a_file(tmp_path: Path) -> None:
    for name in SHIPPED:
        shown = call("profile", "show", name, "--json", env={"HOME": str(tmp_path)})
        assert parse_profiles(shown.stdout, "shown")[name] == shipped_profiles()[name][0]


def test_a_profile_is_shown_in_words(mine: Path) -> None:
    shown = call("profile", "show", "night", env={"AGENT_RELAY_PROFILES_FILE": str(mine)}).stdout
    assert shown.splitlines()[0] == f"night, of {mine}"
    assert "approval      guarded: asks a person" in shown
    assert "--ask-for-approval on-request --sandbox workspace-write" in shown


def test_an_unknown_profile_is_refused_with_those_there_are(mine: Path) -> None:
    refused = call("profile", "show", "day", env={"AGENT_RELAY_PROFILES_FILE": str(mine)})
    assert refused.exit_code == 3
    assert refused.stderr.startswith(
        f"trio-relay: profile 'day' is neither in {mine} (which has: night, ops) nor among"
    )


def test_a_check_names_every_fault_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text('{\n  "ops": {"lable": "x",\n    "tags": [1]}\n}')
    checked = call("profile", "check", str(file))
    assert checked.exit_code == 2
    assert checked.stdout.splitlines() == [
        f"{file}:2:11: profile 'ops': 'lable' is no field of a profile: did you mean label?",
        f"{file}:3:14: profile 'ops': tags: expected a name",
    ]
    assert checked.stderr == f"trio-relay: {file}: 2 faults\n"
    document = json.loads(call("profile", "check", str(file), "--json").stdout)
    assert document["faults"][1] == {
        "line": 3,
        "column": 14,
        "profile": "ops",
        "message": "tags: expected a name",
    }


def test_a_good_file_is_called_good(mine: Path) -> None:
    checked = call("profile", "check", env={"AGENT_RELAY_PROFILES_FILE": str(mine)})
    assert (checked.exit_code, checked.stdout) == (0, f"{mine} is good: night, ops\n")


@pytest.mark.parametrize("command", [("list",), ("check",), ("show", "ops")])
def test_a_broken_file_is_said_by_every_command(tmp_path: Path, command: tuple[str, ...]) -> None:
    file = tmp_path / "p.json"
    file.write_text('{\n "ops": {,}}')
    result = call("profile", *command, env={"AGENT_RELAY_PROFILES_FILE": str(file)})
    assert "line 2" in result.output or ":2:10:" in result.output
    assert result.exit_code == (0 if command[0] == "show" else 2)


def test_a_shipped_profile_needs_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    me = who("reviewer")
    assert me.approval is Approval.READ_ONLY
    assert (me.approval_policy, me.sandbox) == ("never", "read-only")
    assert me.resolved.tags == ("codex", "codex-live", "shop", "review")
    assert me.meta["profile"] == "reviewer"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"\xff\xfe", "not UTF-8 text"),
        (b'{\n "x": }', "p.json, line 2, column 7: not valid JSON"),
        (b'{"night": {}}', "profile 'x' is neither in"),
    ],
)
def test_an_agent_starts_whatever_is_wrong_with_its_profile(
    tmp_path: Path, content: bytes | None, says: str
) -> None:
    file = tmp_path / "p.json"
    if content is not None:
        file.write_bytes(content)
    with structlog.testing.capture_logs() as logs:
        me = who("x", file)
    assert me.approval is Approval.OPEN
    assert me.resolved.capabilities == ("chat",)
    problems = [str(line["problem"]) for line in logs if line["event"] == "profile"]
    assert any(says in problem for problem in problems)
    assert all(str(file) in problem for problem in problems)
    assert "profile" not in me.meta


def test_a_shipped_profile_stands_in_where_yours_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text("oops")
    named = find_profile(AgentSettings(profile="ops", profiles_file=str(file)))
    assert named.profile == shipped_profiles()["ops"][0]
    assert len(named.problems) == 1
