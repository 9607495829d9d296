"""Tokens, tickets, explanations and canaries from the command line, against a real relay."""

import json
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result

from support.commands import ServingRelay, call, clean_environment, run_command, serving_relay


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingRelay]:
    """A relay with a token."""
    home = tmp_path_factory.mktemp("guarded")
    with serving_relay(env=clean_environment(home, AGENT_RELAY_TOKEN="shared-secret"), cwd=home) as serving:
        yield serving


@pytest.fixture
def owner(guarded: ServingRelay) -> dict[str, str]:
    return {"AGENT_RELAY_URL": guarded.url, "AGENT_RELAY_TOKEN": "shared-secret"}


def ok(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_bound_token_speaks_for_its_agent_only_until_it_is_revoked(owner: dict[str, str]) -> None:
    minted = json.loads(ok(call("tokens", "mint", "--agent", "bob", "--name", "bobs", "--json", env=owner)))
    bob = owner | {"AGENT_RELAY_TOKEN": minted["token"]}
    ok(call("send", "tag:x", "mine", "--from", "bob", env=bob))
    refused = call("send", "tag:x", "forged", "--from", "alice", env=bob)
    assert (refused.exit_code, "bound to 'bob'" in refused.stderr) == (3, True)
    assert "forged" not in refused.stderr
    listed = ok(call("tokens", "list", env=owner))
    assert "bobs" in listed
    assert minted["token"] not in listed
    ok(call("tokens", "revoke", str(minted["id"]), env=owner))
    assert call("agents", env=bob).exit_code == 3
    assert ok(call("tokens", "list", env=owner)) == "No token counts.\n"
    assert "revoked" in ok(call("tokens", "list", "--all", env=owner))


def test_another_machine_joins_with_one_pasted_line_once(
    owner: dict[str, str], guarded: ServingRelay, tmp_path: Path
) -> None:
    line = ok(call("invite", "--agent", "carol", env=owner)).strip()
    program, *arguments = shlex.split(line)
    assert program == "trio-relay"
    there = clean_environment(tmp_path, AGENT_RELAY_URL=guarded.url)
    assert run_command("agents", env=there, cwd=tmp_path).returncode == 3
    assert run_command(*arguments, env=there, cwd=tmp_path).returncode == 0
    (kept,) = tmp_path.rglob("credentials.json")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert run_command("agents", env=there, cwd=tmp_path).returncode == 0
    again = run_command(*arguments, env=there, cwd=tmp_path)
    assert (again.returncode, "used" in again.stderr) == (3, True)
    assert run_command("join", guarded.url, "--forget", env=there, cwd=tmp_path).returncode == 0
    assert not kept.exists()


def test_a_damaged_credentials_file_is_named_and_left_alone(tmp_path: Path) -> None:
    there = clean_environment(tmp_path, AGENT_RELAY_URL="http://127.0.0.1:9")
    file = tmp_path / ".config" / "trio-relay" / "credentials.json"
    file.parent.mkdir(parents=True)
    file.write_text("{oops")
    result = run_command("agents", env=there, cwd=tmp_path)
    assert result.returncode == 1
    assert str(file) in result.stderr
    assert file.read_text() == "{oops"


def test_explain_says_why_a_message_is_not_there_yet(owner: dict[str, str]) -> None:
    sent = json.loads(ok(call("send", "tag:nobody", "x", "--from", "ci", "--json", env=owner)))["message"]
    told = ok(call("explain", str(sent["id"]), env=owner))
    assert told.startswith(f"Message {sent['id']}: Parked: nobody answers to 'tag:nobody' yet.")
    assert "accepted" in told
    missing = call("explain", "999999", env=owner)
    assert (missing.exit_code, missing.stderr) == (3, "trio-relay: there is no message 999999\n")


def test_prove_names_the_reason_when_the_way_is_not_whole(owner: dict[str, str]) -> None:
    ok(call("send", "tag:y", "opens the mailbox", "--from", "here", env=owner))
    ok(call("send", "tag:y", "opens the mailbox", "--from", "there", env=owner))
    result = call("prove", "here", "there", "--timeout", "0.2", env=owner)
    assert result.exit_code == 5
    assert "✗ here → there" in result.stdout
    assert "the agent is offline" in result.stdout
    assert "→ here" not in result.stdout, "a mailbox has no program for the way back"
