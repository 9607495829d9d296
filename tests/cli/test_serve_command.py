"""``trio-relay serve`` as a process with an empty home."""

import stat
from pathlib import Path

import pytest

from support.commands import call, clean_environment, run_command, serving_relay


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_needs_nothing_and_keeps_its_data_to_itself(tmp_path: Path) -> None:
    with serving_relay(env=clean_environment(tmp_path), cwd=tmp_path) as relay:
        directory = tmp_path / ".local" / "share" / "trio-relay"
        assert (mode(directory), mode(directory / "relay.db")) == (0o700, 0o600)
        assert f"database  {directory / 'relay.db'}" in relay.greeting
        assert call("status", env={"AGENT_RELAY_URL": relay.url}).exit_code == 0
        assert relay.stop() == 0


def test_the_greeting_says_where_it_is_and_what_to_do_next(tmp_path: Path) -> None:
    with serving_relay(env=clean_environment(tmp_path), cwd=tmp_path) as relay:
        assert f"  export AGENT_RELAY_URL={relay.url}\n" in relay.greeting
        assert "trio-relay demo" in relay.greeting


def test_what_was_accepted_is_there_after_a_restart(tmp_path: Path) -> None:
    env = clean_environment(tmp_path)
    for count in (1, 2):
        with serving_relay("--db", "room.db", env=env, cwd=tmp_path) as relay:
            here = {"AGENT_RELAY_URL": relay.url}
            assert call("send", "tag:x", f"message {count}", "--from", "me", env=here).exit_code == 0
            assert f"messages    {count}\n" in call("status", env=here).stdout
            assert relay.stop() == 0


def test_a_second_server_on_the_same_file_is_refused(tmp_path: Path) -> None:
    env = clean_environment(tmp_path, DB_PATH="room.db")
    with serving_relay(env=env, cwd=tmp_path):
        second = run_command("serve", "--port", "0", env=env, cwd=tmp_path)
    assert (second.returncode, second.stdout) == (3, "")
    assert second.stderr.startswith("trio-relay: another trio-relay")
    assert second.stderr.count("\n") == 1


def test_a_token_from_a_file_is_needed_by_every_call(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    with serving_relay("--token-file", "token", env=clean_environment(tmp_path), cwd=tmp_path) as relay:
        here = {"AGENT_RELAY_URL": relay.url}
        refused = call("agents", env=here)
        assert refused.exit_code == 3
        assert call("agents", env={**here, "AGENT_RELAY_TOKEN": "wrong"}).exit_code == 3
        assert call("agents", env={**here, "AGENT_RELAY_TOKEN": "s3cret"}).exit_code == 0
        assert relay.stop() == 0
    assert "s3cret" not in (tmp_path / "serve.log").read_text()


@pytest.mark.parametrize("content", [b"", b" \n", b"one\ntwo\n", b"\xff\xfe", None])
def test_a_token_file_that_holds_no_token_is_refused_without_its_content(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    result = call("serve", "--port", "0", "--db", str(tmp_path / "x.db"), "--token-file", str(file))
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "two" not in result.stderr


def test_other_machines_are_not_let_in_by_accident(tmp_path: Path) -> None:
    result = call("serve", "--host", "0.0.0.0", "--db", str(tmp_path / "x.db"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "AGENT_RELAY_TOKEN" in result.stderr


def test_an_address_in_use_is_one_line(tmp_path: Path) -> None:
    env = clean_environment(tmp_path)
    with serving_relay("--db", "one.db", env=env, cwd=tmp_path) as relay:
        port = relay.url.rpartition(":")[2]
        second = run_command("serve", "--port", port, "--db", "two.db", env=env, cwd=tmp_path)
    assert second.returncode in {1, 4}
    assert second.stderr.splitlines()[-1].startswith("trio-relay: ")
    assert "Traceback" not in second.stderr
    assert port in second.stderr
